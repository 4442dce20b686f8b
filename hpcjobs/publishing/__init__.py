"""Copies of results for a group: what goes together, looked through for keys, and written."""
