"""Which functions take which of the keywords in `Settings`, with their types, for type checkers and signatures."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from types import MappingProxyType
from typing import Any, TypedDict, TypeVar

from modelselect.budget.budget import Budget
from modelselect.candidates.candidate import Candidate
from modelselect.evaluation.settings import EstimatorChoice, HistoryChoice, Settings
from modelselect.executor import Executor
from modelselect.verification.recipe import FineTuning

Function = TypeVar("Function", bound=Callable[..., Any])


class ForwardKeywords(TypedDict, total=False):
    """The keywords of everything that runs candidates: where, and how exactly."""

    device: str
    cache_dir: str | os.PathLike[str] | None
    trust_remote_code: bool
    seed: int
    batch_size: int | None
    precision: str
    compile: bool
    extractor: str | None
    progress: bool


class DataKeywords(TypedDict, total=False):
    """The keywords that say which rows candidates are shown."""

    probe_size: int | None
    input: str | tuple[str, str] | None
    label: str | tuple[str, ...] | None
    task: str
    split: str | None
    max_corrupt: float
    max_pixels: int | None
    source: Any
    source_size: int | str | None


class FeatureKeywords(DataKeywords, ForwardKeywords, total=False):
    """The keywords of `select()` that `features()` takes."""


class RunKeywords(ForwardKeywords, total=False):
    """The keywords of everything that runs candidates by an executor."""

    executor: str | Executor
    executor_options: Mapping[str, Any] | Sequence[str] | None
    ray_address: str | None
    task_timeout: str | float | None


class BenchmarkKeywords(DataKeywords, RunKeywords, total=False):
    """The keywords that `select()`, `plan()` and `benchmark()` share. A test holds them to the fields of `Settings`."""

    estimators: EstimatorChoice
    proxy: str | Candidate | None
    train_proxy: bool
    fine_tuning: FineTuning | None
    epochs: int | None
    trials: int | None
    patience: int | None


class Keywords(BenchmarkKeywords, total=False):
    """All keywords of `select()` and `plan()`."""

    layers: str | None
    prompt: str | Sequence[str] | None
    top_k: int
    tune: int
    verify: str
    resamples: int
    recall: int | None
    history: HistoryChoice
    limit: int | None
    max_download: str | float | None
    max_time: str | float | None
    confirm: Callable[[str], bool] | None
    budget: Budget | str | int | None
    rounds: bool
    confidence: float
    costs: bool
    max_parameters: int | None
    max_latency_ms: float | None
    license: str | Sequence[str] | None
    min_context_length: int | None
    language: str | Sequence[str] | None
    max_training_memory: str | float | None
    track: Any


NOT_IN_BENCHMARK: Mapping[str, str] = MappingProxyType(
    {
        "layers": "known accuracies are those of whole networks; name layers as ?layer=2 in candidates",
        "prompt": "it compares estimators by fine-tuned accuracies; select() shows what is reached without training",
        "top_k": "verify= fine-tunes every candidate, and without it none is fine-tuned",
        "tune": "verify= fine-tunes every candidate, and without it none is fine-tuned",
        "resamples": "the table draws its own resamples; give their number to Benchmark.table(resamples=...)",
        "recall": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "history": "your history may hold the results to be predicted; estimators get a history made from the truth",
        "limit": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "max_download": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "max_time": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "confirm": "no bounds are checked",
        "budget": "every candidate is scored on all rows of the probe; give a smaller probe_size instead",
        "rounds": "every candidate is scored on all rows of the probe; give a smaller probe_size instead",
        "confidence": "there is no budget that could end early",
        "costs": "benchmark() compares estimators, not candidates; measure costs with select()",
        "max_parameters": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "max_latency_ms": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "license": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "min_context_length": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "language": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "max_training_memory": "every candidate with a known accuracy is scored; give fewer candidates instead",
        "track": "a benchmark is no run of one dataset; write its table with Benchmark.table()",
    }
)
"""The settings that `benchmark()` does not take, and what to do instead. Its `verify` is a keyword of its own."""


def settings_in(keywords: type) -> list[Field[Any]]:
    """The fields of `Settings` that are among these keywords, in the order of `Settings`."""
    return [each for each in fields(Settings) if each.name in keywords.__annotations__]


def with_signature(keywords: type) -> Callable[[Function], Function]:
    """Shows in the signature of a function every keyword that its `**settings` take, with type and default."""

    def decorated(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        named = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
            for each in settings_in(keywords)
        ]
        function.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
        return function

    return decorated
