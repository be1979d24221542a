"""Models: manifests, signatures, loading, formats and explanations."""
