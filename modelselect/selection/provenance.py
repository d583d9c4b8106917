"""The provenance of a leaderboard: data, estimators, settings, budget, versions, plugins, time."""

from __future__ import annotations

import datetime
import inspect
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.history.view import HistoryView
from modelselect.selection.state import State
from modelselect.utils.versions import ALL_LIBRARIES, numeric_versions


@dataclass(frozen=True)
class Begun:
    """When a run began.

    Attributes:
        at: date and time.
        clock: the seconds of `time.perf_counter`.
    """

    at: datetime.datetime
    clock: float

    @classmethod
    def now(cls) -> Begun:
        return cls(datetime.datetime.now(datetime.UTC), time.perf_counter())


def provenance(request: Request, state: State, begun: Begun, budget: Mapping[str, Any] | None) -> dict[str, Any]:
    """The provenance of a leaderboard, as plain data.

    Args:
        request: what was asked for.
        state: after the last stage.
        begun: when the run began.
        budget: what was done with the budget; None without one.
    """
    context, chosen = state.context, request.chosen
    return {
        "task": _task(request),
        "dataset": context.probe.provenance,
        "source": None if request.source is None else request.source.provenance,
        "fingerprint": context.probe.fingerprint,
        "ranked_by": [estimator.name for estimator in chosen],
        "estimators": {
            e.name: {
                "key": e.key,
                "parameters": e.parameters,
                "about": _first_line(e),
                "citation": e.citation,
                "seconds": _mean_seconds(e, state),
            }
            for e in request.methods
        },
        "settings": _settings(request, state),
        "choice": state.chosen,
        "recall": state.recalled,
        "layers": state.layers,
        "history": None if context.recall is None else _history(context.recall.view),
        "budget": budget,
        "rounds": [dict(stage) for stage in state.rounds.stages] if request.settings.rounds and state.rounds else None,
        "fine_tuning": state.bound,
        "versions": {"python": platform.python_version(), **numeric_versions(ALL_LIBRARIES)},
        "plugins": {p.name: f"{p.distribution} {p.version}" for p in request.host.found if not p.faults},
        "started": begun.at.isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - begun.clock,
        "from_store": sum(result.reused for result in state.results.values() if isinstance(result, ScoringResult)),
    }


def _mean_seconds(estimator: Estimator, state: State) -> float | None:
    """The time of an estimator for one candidate, without the forward pass; None if it has no score."""
    found = [r.estimator_seconds.get(estimator.name) for r in state.results.values() if isinstance(r, ScoringResult)]
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) / len(known) if known else None


def _task(request: Request) -> dict[str, Any]:
    """What was predicted, and how candidates were judged."""
    task, guessing = request.task, request.task.metric.guessing
    wholes = request.probe.wholes
    targets = request.probe.targets if wholes is None else wholes.targets
    return {
        "name": task.name,
        "asked": request.settings.task,
        "targets": request.probe.target_kind,
        "unit": request.probe.unit,
        "metric": task.metric.name,
        "metrics": [metric.name for metric in task.metrics],
        "measures": [[metric.title, metric.in_percent] for metric in task.metrics],
        "chance": None if guessing is None or targets is None else guessing(targets),
    }


def _first_line(estimator: Estimator) -> str:
    """The first line of the docstring of its class."""
    return (inspect.getdoc(type(estimator)) or "").partition("\n")[0]


def _history(view: HistoryView) -> dict[str, Any]:
    """What the run knew of other datasets: the ranking depends on it."""
    return {
        "digest": view.digest,
        "recipe": view.leading_recipe,
        "datasets": len(view.datasets),
        "results": len(view.results),
    }


def _settings(request: Request, state: State) -> dict[str, Any]:
    """The settings as they were used."""
    settings, context = request.settings, state.context
    return {
        "top_k": settings.top_k,
        "tune": settings.tune,
        "probe_size": len(context.probe),
        "requested_probe_size": settings.probe_size,
        "fine_tuning": state.fine_tuning,
        "device": request.device,
        "executor": request.runner.name,
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "compile": settings.compile,
        "extractor": settings.extractor,
        "prompts": list(settings.prompts),
        "trust_remote_code": settings.trust_remote_code,
        "seed": settings.seed,
        "probe_seed": context.probe.seed,
        "resamples": context.resamples,
        "costs": settings.measures_costs,
        "limits": asdict(request.limits),
    }
