"""Executors: where candidates are processed."""
