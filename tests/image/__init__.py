"""Jobs in an image that `scripts/image` has built, each of whose records is accounted for."""
