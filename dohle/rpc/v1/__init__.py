"""Generated from proto/dohle/v1 by tools/generate_proto.py."""
