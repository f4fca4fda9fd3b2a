"""Drives `dohle.groups`: what a broker coordinates is loaded from its partitions of `__consumer_offsets`, and written
there. The rules are there, the I/O is here.
"""
