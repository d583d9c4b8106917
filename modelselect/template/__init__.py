"""A new package with a plugin of any kind, ready to be installed, tested and published."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
