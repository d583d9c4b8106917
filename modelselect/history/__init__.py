"""The transfer history: results of candidates on datasets, kept so that the next ranking starts from them.

`History` keeps results, metadata of candidates and datasets, and the proxy's features of each dataset, in one SQLite
file. `HistoryView` is what an estimator sees of it.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
