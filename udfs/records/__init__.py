"""Records: bytes to typed columns, and outcomes back to bytes."""
