"""Published experiments as data: what they run, what they measure, and the figures that were printed."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
