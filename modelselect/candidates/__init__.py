"""What could be chosen: `Candidate`, the `Zoo` it comes from, and the `Backbone` it is once loaded."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
