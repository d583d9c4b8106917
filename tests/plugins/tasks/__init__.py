"""Tests of the shipped tasks."""
