"""Exports versions as ONNX graphs."""
