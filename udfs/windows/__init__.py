"""Sliding aggregates by key over batches of rows, exact and at the same cost at any length of the window."""
