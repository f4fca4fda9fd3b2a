"""The network over gRPC: services by their descriptors, options, streams, servers, and the probe of a silent peer."""

import os

# gRPC's core writes to standard error by itself, also what is no error; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
