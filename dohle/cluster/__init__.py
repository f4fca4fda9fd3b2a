"""The cluster: what assembles a node out of its parts, runs it as a process, and runs several on one machine."""
