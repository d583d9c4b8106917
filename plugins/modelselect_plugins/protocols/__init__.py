"""Protocols: published experiments as data."""
