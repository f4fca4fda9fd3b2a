"""Compaction: of each key of a log its last record stays. Nothing of it changes an offset, or leaves one out."""
