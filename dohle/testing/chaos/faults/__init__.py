"""Faults that need no root: of processes, links, files, limits and members, and of a cluster's leaders."""
