"""Chaos: a cluster of real processes, real clients, faults drawn from a seed, and a history that a checker judges.

`dohle selftest --chaos` runs it on a user's machine, with what needs no root; tests/jepsen-lite adds worlds and faults
that do. Everything here deals with real time and real processes: nothing of it runs in the simulator.
"""
