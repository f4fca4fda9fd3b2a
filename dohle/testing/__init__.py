"""The simulated world: whole clusters in one process, in virtual time, replayed from a seed, broken on purpose."""
