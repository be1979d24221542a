"""Plans made into Flink jobs, and clusters asked about them."""
