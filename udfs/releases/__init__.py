"""The release log: which version scores which record."""
