"""The simulated world: whole clusters in one process and in virtual time, replayed from a seed, and broken on purpose."""
