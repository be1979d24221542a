"""Two model versions on the same history: which is better, where, by how much, and how sure that is."""
