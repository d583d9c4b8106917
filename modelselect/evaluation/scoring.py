"""The work on one candidate, as executors run it: evidence, every estimator on it, and fine-tuning."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from modelselect.errors import Failure, NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.evaluation.locks import PROCESS_LOCK
from modelselect.evaluation.results import ScoringResult
from modelselect.evidence.evidence import Evidence

RESAMPLES_KEPT_EVERY = 5.0
"""Seconds of work on resamples that a killed run may lose."""


def note_score(result: ScoringResult, estimator: Estimator, scored: Mapping[str, Any]) -> None:
    """Puts what one estimator said into the assessment."""
    if "failure" in scored:
        result.failures[estimator.name] = Failure(**scored["failure"])
        return
    result.components[estimator.name] = scored["components"]
    result.estimator_seconds[estimator.name] = scored["seconds"]
    result.seconds += scored["seconds"]
    if scored["warning"]:
        result.warnings[estimator.name] = scored["warning"]


def score_or_failure(estimator: Estimator, evidence: Evidence) -> dict[str, Any]:
    """`_score`, or why there is none. That a method does not apply is lasting; what else it raised may not be."""
    try:
        return timed_score(estimator, evidence)
    except Exception as error:  # an estimator of a plugin may raise anything; it costs this one score
        failure = asdict(Failure.from_exception("score", error))
        return {"failure": failure, "lasting": isinstance(error, NotApplicableError)}


def timed_score(estimator: Estimator, evidence: Evidence) -> dict[str, Any]:
    """What is remembered of one estimator on one candidate: components, seconds, and what it warned of."""
    begun = time.perf_counter()
    with PROCESS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        components = dict(evaluate(estimator, evidence))
    told = [w for w in caught if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning)]
    warned = [
        str(w.message) if issubclass(w.category, ScoreWarning) else f"{w.category.__name__}: {w.message}" for w in told
    ]
    return {
        "components": components,
        "seconds": time.perf_counter() - begun,
        "warning": " ".join(dict.fromkeys(warned)),
    }
