"""Dohle and Apache Kafka side by side: the same clients, the same loads, in turn, in one run."""
