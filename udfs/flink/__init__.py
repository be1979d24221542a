"""What Flink calls in the Python workers."""
