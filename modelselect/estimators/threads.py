"""Limits threads for small evidence."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any

from modelselect.evidence.evidence import Evidence

SMALL_EVIDENCE = 5_000_000
"""Maximum size of a feature matrix for which one thread is fast enough: 2,000 rows of 2,048 dimensions."""


@contextlib.contextmanager
def calm_threads(evidence: Evidence) -> Iterator[None]:
    """Limits the linear algebra of small evidence to one thread: several threads would spin while they wait.

    On an idle machine this gains little; on a busy one, several threads can be a hundred times slower.
    """
    features = evidence.features
    if features is not None and features.size > SMALL_EVIDENCE:
        yield
        return
    with _thread_pools(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@functools.lru_cache(maxsize=1)
def _thread_pools(modules: int) -> Any:
    """The libraries with threads of their own; searched again only after more modules were imported.

    The search takes longer than scoring small evidence.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
