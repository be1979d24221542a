"""Decides by a log of releases which version scores which record."""
