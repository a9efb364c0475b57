"""The model card: the data it records, and its page for people."""
