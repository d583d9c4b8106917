"""The transfer history: what is remembered of candidates on datasets, so that the next ranking need not begin anew.

`History` keeps results, what candidates and datasets are like, and what a proxy saw of each dataset, in one SQLite
file. `HistoryView` is what an estimator sees of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelselect.history.database import ACCURACY, Added, History, Result, default_path
    from modelselect.history.importers import import_csv, import_timm
    from modelselect.history.mining import mine
    from modelselect.history.view import HistoryView

# Loaded on first use, so that the command line starts without numpy.
_HOMES = {
    "ACCURACY": "database",
    "Added": "database",
    "History": "database",
    "Result": "database",
    "default_path": "database",
    "HistoryView": "view",
    "import_csv": "importers",
    "import_timm": "importers",
    "mine": "mining",
}

__all__ = [
    "ACCURACY",
    "Added",
    "History",
    "HistoryView",
    "Result",
    "default_path",
    "import_csv",
    "import_timm",
    "mine",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"modelselect.history.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'modelselect.history' has no attribute {name!r}")
