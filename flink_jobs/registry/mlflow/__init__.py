"""Pushes versions to an MLflow server, and pulls them from it."""
