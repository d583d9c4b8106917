"""Tests of tasks, metrics and objectives."""
