"""Values and rules with no I/O: ids, errors, record batches, topic configuration, metadata records, cluster image."""
