"""A broker and a Flink cluster on this machine."""
