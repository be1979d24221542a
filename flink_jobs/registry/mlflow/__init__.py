"""Versions pushed to an MLflow server, and pulled from it."""
