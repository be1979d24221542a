"""Counts of what a job saw, and the reference that they are compared with."""
