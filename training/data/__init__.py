"""Data sources, splits, and the store of prepared chips."""
