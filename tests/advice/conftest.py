"""What all cases may name."""

from __future__ import annotations

from tests.advice.typed import places

__all__ = ["places"]
