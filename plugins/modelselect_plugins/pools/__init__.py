"""Pools of candidates under one name."""
