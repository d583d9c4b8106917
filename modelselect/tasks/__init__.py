"""Tasks: what is to be predicted, which estimators apply, and how fine-tuning is judged; the base class of tasks."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
