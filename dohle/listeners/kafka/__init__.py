"""The door for Kafka's clients: its protocol on a port of its own, translated into what the broker offers."""
