"""Runs a broker and a Flink cluster on this machine."""
