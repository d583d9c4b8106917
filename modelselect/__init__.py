"""Which pre-trained model should I fine-tune on my data? `select()` ranks candidates without fine-tuning them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# The function shares its module's name: imported first, so that `modelselect.agreement` is always the function.
from modelselect.agreement import Agreement, agreement
from modelselect.hookspecs import hookimpl

if TYPE_CHECKING:
    import modelselect.archi2vec as archi2vec
    import modelselect.errors as errors
    import modelselect.testing as testing
    from modelselect.backbone import Backbone
    from modelselect.benchmarking.results import Benchmark
    from modelselect.benchmarking.running import benchmark
    from modelselect.budget import Budget
    from modelselect.candidates import Candidate, Zoo
    from modelselect.estimator import Estimator, score, score_pool
    from modelselect.evidence import Evidence
    from modelselect.executor import Executor, Outcome
    from modelselect.extraction import Extractor
    from modelselect.history import History
    from modelselect.leaderboard import Leaderboard
    from modelselect.planning import Plan, plan
    from modelselect.probe import Probe
    from modelselect.selection import search, select
    from modelselect.uncertainty import standard_error
    from modelselect.verification import FineTuning

__version__ = "0.1.0"

# Loaded on first use, so that `import modelselect` costs milliseconds and never imports torch.
_HOMES = {
    "Backbone": "backbone",
    "Benchmark": "benchmarking.results",
    "benchmark": "benchmarking.running",
    "Budget": "budget",
    "Candidate": "candidates",
    "Zoo": "candidates",
    "Estimator": "estimator",
    "score": "estimator",
    "score_pool": "estimator",
    "Evidence": "evidence",
    "Executor": "executor",
    "Outcome": "executor",
    "Extractor": "extraction",
    "FineTuning": "verification",
    "History": "history",
    "Leaderboard": "leaderboard",
    "Plan": "planning",
    "plan": "planning",
    "Probe": "probe",
    "search": "selection",
    "select": "selection",
    "standard_error": "uncertainty",
}
_MODULES = {"archi2vec", "errors", "testing"}

__all__ = [
    "Agreement",
    "Backbone",
    "Benchmark",
    "Budget",
    "Candidate",
    "Estimator",
    "Evidence",
    "Executor",
    "Extractor",
    "FineTuning",
    "History",
    "Leaderboard",
    "Outcome",
    "Plan",
    "Probe",
    "Zoo",
    "agreement",
    "archi2vec",
    "benchmark",
    "errors",
    "hookimpl",
    "plan",
    "score",
    "score_pool",
    "search",
    "select",
    "standard_error",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"modelselect.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"modelselect.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'modelselect' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
