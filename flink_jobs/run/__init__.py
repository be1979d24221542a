"""Makes Flink jobs of plans, and asks clusters about them."""
