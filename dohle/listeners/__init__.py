"""The doors: gRPC services that translate what clients ask into what the broker offers, and nothing else."""
