"""Which pre-trained model should I fine-tune on my data? `select()` ranks candidates without fine-tuning them."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# The function and its module share a name: this import makes `modelselect.agreement` the function, always.
from modelselect.agreement import agreement as agreement  # noqa: E402
from modelselect.utils.versions import __version__ as __version__  # noqa: E402
