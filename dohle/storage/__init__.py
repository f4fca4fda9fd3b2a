"""Storage: logs on disk, their durability, and their recovery."""
