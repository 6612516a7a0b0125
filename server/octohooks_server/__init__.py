"""The Octohooks server."""

import os

# gRPC's core has a log of its own, and a line there for each handshake that fails: strangers could
# fill the disk with them. It asks for this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
