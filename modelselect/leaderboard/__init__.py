"""The ranked answer of a run, which can be shown, saved, reported, plotted and published."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
