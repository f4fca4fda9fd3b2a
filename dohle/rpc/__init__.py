"""The network over gRPC: services by their descriptors, options, streams, servers, and the probe of a silent peer."""
