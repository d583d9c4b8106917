"""Scoring one candidate: every estimator on its evidence, on half of the rows and on resamples, through the store."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from modelselect.errors import Failure, InvalidScoreWarning, NotApplicableError, ScoreWarning, Stage, message_of
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.estimators.resampling import check_components, looks_at_rows, resample
from modelselect.evaluation.blame import bounded, failure_of, given_to
from modelselect.evaluation.context import FORWARD_FIELDS, EvaluationContext
from modelselect.evaluation.costs import CostMeter
from modelselect.evaluation.description import Describer
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.results import CostMeasurement, ScoringResult
from modelselect.evaluation.training_memory import TrainingMemory
from modelselect.evaluation.zero_shot import zero_shot_accuracy
from modelselect.evidence.evidence import Evidence
from modelselect.probe.nested import Nested
from modelselect.store.store import Store
from modelselect.utils.process_state import INTERPRETER_LOCK
from modelselect.utils.text import printable

RESAMPLES_KEPT_EVERY = 5.0
"""Seconds of work on resamples that a killed run may lose."""

MOST_WARNINGS = 20
"""Different warnings of one score that are kept."""

StoredScore = Mapping[str, Any]
"""What the store holds of one estimator on one candidate: `components`, `seconds`, `warning`, `invalid`; or `failure`.

Version 0.1.0 kept no `invalid`.
"""


def score(loader: Loader) -> ScoringResult:
    """Scores one candidate under the conditions of the loader's context.

    Raises:
        RemoteCodeError: the candidate brings code that may not run.
        CandidateError: the candidate cannot be loaded or run, or a limit excludes it.
    """
    loader.check_allowed()
    begun = time.perf_counter()
    context, gatherer, meter = loader.context, Gatherer(loader), CostMeter(loader)
    meter.check_parameters()
    training = TrainingMemory(loader)
    training.check()
    costs, costs_reused = meter.costs() if context.costs else (None, True)
    ended = {} if context.underway is None else context.underway.ended.get(loader.candidate.id, {})
    estimators = [estimator for estimator in context.estimators if estimator.name not in ended]
    moving = [estimator for estimator in estimators if not estimator.is_static]
    scored, scores_reused = _scored(moving, loader, gatherer)
    rows_matter = [e for e in estimators if "components" in scored.get(e.name, {}) and looks_at_rows(e)]
    halved, halves_reused = _halved(rows_matter, loader, gatherer, context.half) if context.half else ({}, True)
    again = _resampled(rows_matter, loader, gatherer, scored)
    extractions, extraction_rows = gatherer.recorded() if context.wanted & FORWARD_FIELDS else ([], 0)
    described = Describer(loader).describe()
    metadata = {**loader.candidate.metadata}
    if described.parameters is not None:
        metadata["parameters"] = described.parameters  # counted: a zoo's number may include other things
    for estimator in estimators:
        if estimator.is_static:
            with _noted(loader, estimator):
                evidence = Evidence.of(metadata=MappingProxyType(metadata))
                scored[estimator.name] = score_or_failure(estimator, evidence)
    ok = {name: each for name, each in scored.items() if "failure" not in each}
    failures = ended | {name: Failure(**each["failure"]) for name, each in scored.items() if "failure" in each}
    if isinstance(costs, Failure):
        failures = {Stage.COSTS.value: costs, **failures}
    estimator_seconds = {name: each["seconds"] for name, each in ok.items()}
    extraction_seconds = sum(extraction["seconds"] for extraction in extractions)
    was_gathered = not (scores_reused and halves_reused and again.reused)
    return ScoringResult(
        components={name: each["components"] for name, each in ok.items()},
        resampled=again.components,
        failures=failures,
        warnings={name: each["warning"] for name, each in ok.items() if each["warning"]} | again.warnings,
        invalid=frozenset(name for name, each in ok.items() if each.get("invalid")),
        identity=loader.identity if context.wanted & FORWARD_FIELDS else "",
        feature_dim=extractions[-1]["feature_dim"] if extractions else None,
        parameters=described.parameters,
        macs=described.macs,
        graph=described.graph,
        estimator_seconds=estimator_seconds,
        extraction_seconds=extraction_seconds,
        extraction_rows=extraction_rows,
        seconds=sum(estimator_seconds.values()) + again.seconds + extraction_seconds,
        reused=costs_reused and not was_gathered,
        halved=halved,
        costs=costs if isinstance(costs, CostMeasurement) else None,
        training_memory_bytes=training.bytes_if_loadable()
        if context.costs or context.limits.max_training_memory
        else None,
        passes=gatherer.gathered.passes if was_gathered else 0,
        forward_seconds=gatherer.gathered.forward_seconds if was_gathered else 0.0,
        zero_shot_accuracy=zero_shot_accuracy(loader, gatherer) if context.wanted & FORWARD_FIELDS else None,
        elapsed_seconds=time.perf_counter() - begun,
    )


def _scored(estimators: list[Estimator], loader: Loader, gatherer: Gatherer) -> tuple[dict[str, StoredScore], bool]:
    """Every estimator on the evidence, by name, and whether the store had all of it."""
    store, keys = loader.context.store, Keys(loader)
    scored: dict[str, StoredScore] = {}
    reused = True
    for estimator in estimators:
        key = keys.score(estimator)
        if (entry := store.get(key)) is None:
            evidence = gatherer.gathered.evidence
            with _noted(loader, estimator):
                scored[estimator.name] = score_and_keep(estimator, evidence, store, key)
            reused = False
        else:
            scored[estimator.name] = entry.metadata
    return scored, reused


def _noted(loader: Loader, estimator: Estimator) -> contextlib.AbstractContextManager[None]:
    """While the estimator scores: a note for the case that this process ends."""
    underway = loader.context.underway
    return contextlib.nullcontext() if underway is None else underway.at(loader.candidate, estimator)


def _halved(
    estimators: list[Estimator], loader: Loader, gatherer: Gatherer, half: Nested
) -> tuple[dict[str, dict[str, float]], bool]:
    """Every estimator's components on half of the rows, without those that fail there; whether the store had all."""
    context = loader.context
    store, keys = context.store, Keys(loader)
    halved: dict[str, dict[str, float]] = {}
    evidence: Evidence | None = None
    for estimator in estimators:
        key = keys.score(estimator, half.probe)
        if (entry := store.get(key)) is None:
            if evidence is None:
                places = np.arange(len(half.rows)) if context.nested is None else context.nested.rows
                evidence = gatherer.gathered.evidence.take(np.searchsorted(places, half.rows))
            with _noted(loader, estimator):
                scored: StoredScore = score_and_keep(estimator, evidence, store, key)
        else:
            scored = entry.metadata
        if "components" in scored:
            halved[estimator.name] = scored["components"]
    return halved, evidence is None


@dataclass(frozen=True)
class _Resampled:
    """Every estimator on resamples of the rows.

    Attributes:
        components: the components on each resample, by estimator.
        warnings: the warnings of estimators, including those on all rows.
        seconds: the time for all of it, when it was first computed.
        reused: whether the store had all of it.
    """

    components: dict[str, list[dict[str, float]]]
    warnings: dict[str, str]
    seconds: float
    reused: bool


def _resampled(
    estimators: list[Estimator], loader: Loader, gatherer: Gatherer, scored: Mapping[str, StoredScore]
) -> _Resampled:
    """Scores every estimator on the same resamples, except those that the store has already."""
    context: EvaluationContext = loader.context
    store, keys = context.store, Keys(loader)
    kept: dict[Estimator, dict[str, Any]] = {}
    warned: dict[str, str] = {}
    reused = True
    for estimator in estimators if context.resamples else ():
        entry = store.get(keys.resamples(estimator))
        kept[estimator] = {"scores": [], "seconds": 0.0, "warning": ""} if entry is None else {**entry.metadata}
    saved = time.monotonic()
    for number in range(context.resamples):
        missing = [estimator for estimator, found in kept.items() if len(found["scores"]) <= number]
        if not missing:
            continue
        reused = False
        rows = resample(gatherer.gathered.evidence, number, context.seed)
        for estimator in missing:
            try:
                with _noted(loader, estimator):
                    again = timed_score(estimator, rows)
                check_components(estimator, again["components"], scored[estimator.name]["components"])
            except Exception as error:  # the score is valid, but its uncertainty is unknown
                del kept[estimator]
                reason = Failure.from_exception(Stage.RESAMPLE, error).reason
                before = filter(None, [scored[estimator.name]["warning"]])
                warned[estimator.name] = " ".join([*before, f"no standard error: {reason}"])
                continue
            found = kept[estimator]
            found["scores"] = [*found["scores"], again["components"]]
            found["seconds"] += again["seconds"]
            found["warning"] = found["warning"] or again["warning"]
        if number == context.resamples - 1 or time.monotonic() - saved > RESAMPLES_KEPT_EVERY:
            for estimator in (e for e in missing if e in kept):
                store.put(keys.resamples(estimator), {}, kept[estimator])
            saved = time.monotonic()
    for estimator, found in kept.items():
        if found["warning"] and not scored[estimator.name]["warning"]:
            warned[estimator.name] = f"on four fifths of the rows: {found['warning']}"
    components = {estimator.name: found["scores"][: context.resamples] for estimator, found in kept.items()}
    return _Resampled(components, warned, sum(found["seconds"] for found in kept.values()), reused)


def score_and_keep(estimator: Estimator, evidence: Evidence, store: Store, key: str) -> dict[str, Any]:
    """`score_or_failure`, kept in the store if another run would find the same."""
    scored = score_or_failure(estimator, evidence)
    if scored.get("lasting", True):
        store.put(key, {}, scored)
    return scored


def score_or_failure(estimator: Estimator, evidence: Evidence) -> dict[str, Any]:
    """`timed_score`, or why there is none. A method that does not apply is a lasting failure; others may not be."""
    try:
        return timed_score(estimator, evidence)
    except Exception as error:  # an estimator of a plugin may raise anything; only this score is lost
        return {
            "failure": asdict(failure_of(Stage.SCORE, error, estimator)),
            "lasting": isinstance(error, NotApplicableError),
        }


def _text_of(caught: list[warnings.WarningMessage]) -> str:
    """The different texts of warnings, in a line."""
    texts = []
    for warning in caught:
        text = message_of(warning.message) if isinstance(warning.message, Warning) else str(warning.message)
        texts.append(text if issubclass(warning.category, ScoreWarning) else f"{warning.category.__name__}: {text}")
    distinct = [printable(text) for text in dict.fromkeys(texts)]
    more = [f"({len(distinct) - MOST_WARNINGS} more warnings)"] if len(distinct) > MOST_WARNINGS else []
    return " ".join([*distinct[:MOST_WARNINGS], *more])


def timed_score(estimator: Estimator, evidence: Evidence) -> dict[str, Any]:
    """What the store keeps of one estimator on one candidate.

    Components, seconds, what it warned of, and whether it said that the score is invalid.
    """
    begun, process = time.perf_counter(), os.getpid()
    with INTERPRETER_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with bounded(estimator):
            components = dict(evaluate(estimator, given_to(estimator, evidence)))
    if os.getpid() != process:  # the estimator forked this process off: only its parent keeps a score
        os._exit(0)
    shown = [w for w in caught if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning)]
    return {
        "components": components,
        "seconds": time.perf_counter() - begun,
        "warning": _text_of(shown),
        "invalid": any(issubclass(w.category, InvalidScoreWarning) for w in shown),
    }
