"""Small evidence is scored by few threads."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any

from modelselect.evidence.evidence import Evidence

SMALL_EVIDENCE = 5_000_000
"""Numbers in a feature matrix up to which one thread is fast enough: 2,000 rows of 2,048 dimensions."""


@contextlib.contextmanager
def calm_threads(evidence: Evidence) -> Iterator[None]:
    """One thread for the linear algebra of small evidence: several spin while they wait for each other.

    On a machine with nothing else to do that gains little; on a busy one it costs a hundredfold.
    """
    features = evidence.features
    if features is not None and features.size > SMALL_EVIDENCE:
        yield
        return
    with _thread_pools(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@functools.lru_cache(maxsize=1)
def _thread_pools(modules: int) -> Any:
    """The libraries that have threads of their own, looked for anew only when more modules have been imported.

    To look for them takes longer than to score small evidence.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
