"""What breaks a cluster of real processes and needs root, Linux, Java or librdkafka; the rest is dohle.testing.chaos.

`python tests/jepsen-lite` is its command.
"""
