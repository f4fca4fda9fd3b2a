"""The controller: the Raft quorum that owns the cluster's metadata, and what the active one of it decides."""
