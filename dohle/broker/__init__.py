"""Partitions as leader or follower, the streams between them, and what producers and consumers ask of a broker."""
