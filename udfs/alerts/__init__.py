"""Alert records, and the webhook that they are sent to."""
