"""The machine: processes, jars and the log."""
