"""Extraction: one forward pass of a backbone over a probe."""
