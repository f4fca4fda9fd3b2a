"""The network over gRPC, on HTTP/2 of our own: services by descriptors, streams, servers, a probe of silent peers."""
