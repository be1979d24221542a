"""Drift and data quality: mergeable counts of each window, and what they say against a reference profile."""
