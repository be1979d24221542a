"""How right a model is, per window of its records' own time: with labels, and estimated without them."""
