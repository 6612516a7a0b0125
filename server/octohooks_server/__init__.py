"""The Octohooks server."""
