"""Classic groups: members wait for each other, and one of them assigns the partitions (KIP-62, 345, 394, 800, 814).

A rebalance has two phases. Members join, until all have come or the rebalance time-out has passed; the leader is then
told of all of them. Members sync, until the leader has brought the assignments: they are written down, and given out
once that is committed. Each time the generation grows, and who speaks of an old one is refused.

Only an assignment that is committed is in a record, beside who is in the group. Who waits, who has still to come, and
all time-outs are in memory, and begin anew with the next coordinator.
"""
