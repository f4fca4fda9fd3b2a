"""HTTP/2 (RFC 9113), as much of it as gRPC uses: frames, header blocks, windows, connections; what is wrong is refused.

Not here: push, priorities (read and ignored, as the RFC has it), TLS, HTTP/1 upgrades.
"""
