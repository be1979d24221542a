"""Versions exported as ONNX graphs."""
