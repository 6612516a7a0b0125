"""The resources of the clients, one module each."""
