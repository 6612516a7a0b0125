"""The command line `octohooks`."""
