"""What runs inside Flink's Python workers: decode, check, score, encode. Imports nothing from flink_jobs."""
