"""Consumer groups as a pure state machine: commands and time go in, records and replies come out.

A `GroupShard` is what one partition of `__consumer_offsets` coordinates. It does no I/O and reads no clock: whoever
drives it appends the records, gives them back by `apply`, and lets replies out once the records are committed.
"""
