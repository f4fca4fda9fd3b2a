"""Workloads: what the clients of a chaos run do, each written once for all clients, and the SDK as one of them."""
