"""Loading ahead: how much memory the next candidate may take."""

from __future__ import annotations

BYTES_PER_PARAMETER = 4
"""Weights are float32 once loaded."""

AHEAD_SHARE = 0.5
"""Of the memory that is available: a candidate whose weights would take more is not loaded ahead of its turn."""
