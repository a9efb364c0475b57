"""Metrics, targets, trust, and the one place that reads the test side."""
