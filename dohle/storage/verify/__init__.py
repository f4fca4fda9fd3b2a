"""Verification: whether a folder's files are what the format says, down to every batch; nothing is changed."""
