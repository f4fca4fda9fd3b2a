"""Raft as a pure state machine: it is handed messages and the time, and answers with effects.

`node.RaftNode` is the whole of it to the outside; `messages` is what nodes tell each other, `effects` what the driver
has to do. Nothing here does I/O, reads a clock or draws from a random source of its own.
"""
