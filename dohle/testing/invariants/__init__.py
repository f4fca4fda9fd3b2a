"""Watchers of a simulated cluster: what must always hold, what should sometimes happen, what is owed after a storm."""
