"""One outcome for each record of a batch."""
