"""What tests and benchmarks hold Dohle against: pinned packages of others, built once, and nodes of Apache Kafka."""
