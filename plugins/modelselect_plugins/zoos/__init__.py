"""Zoos: sources of candidates."""
