"""What threads of one process must not do at the same time."""

from __future__ import annotations

import threading

PROCESS_LOCK = threading.RLock()
"""Held by whoever changes what all threads of a process share, while the next candidate is loaded ahead: model
libraries patch initialisers and default dtypes when they build a module, and to catch an estimator's warnings takes
their filters. A forward pass needs none of it, and that is what loading overlaps with."""
