"""What can be selected: `Candidate`, the `Zoo` that lists it, and the `Backbone` that loading it gives."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
