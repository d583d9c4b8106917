"""Helpers that know nothing of model selection."""
