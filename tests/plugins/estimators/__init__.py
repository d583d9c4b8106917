"""Tests of the shipped estimators."""
