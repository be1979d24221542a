"""Quality of what is live, for a person to read."""
