"""Handles the machine: processes, jars and the log."""
