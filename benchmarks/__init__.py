"""Measures what a message costs, from the call that accepts it to its arrival at a receiver."""

import os

# gRPC reads this when it is imported; else it remarks on each process that is started beside it.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
