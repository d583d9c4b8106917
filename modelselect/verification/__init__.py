"""How good a candidate really is: fine-tuning on training rows, and accuracy with an interval on held-out rows."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
