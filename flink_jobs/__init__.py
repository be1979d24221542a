"""Tailrace: declarative streaming model inference on Apache Flink (the part that runs in the client)."""
