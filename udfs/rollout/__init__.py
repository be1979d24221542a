"""How versions of a model do beside each other: counted in workers, compared and acted on per window."""
