"""A ranking as a page, as charts, as a figure and as a model card; and what a plugin's section is made of."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
