"""The rows of the transfer history, as plain data."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import InvalidInputError
from modelselect.host.defaults import CLASSIFICATION

ACCURACY = "accuracy"
"""The metric of measured results: accuracy after fine-tuning, from 0 to 1. Other metrics are estimators' names."""

TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "results": ("id", "candidate", "dataset", "metric", "value", "settings", "provenance", "recorded"),
        "candidates": ("id", "key", "value", "recorded"),
        "datasets": ("id", "key", "value", "recorded"),
        "graphs": ("id", "graph"),
        "proxies": ("dataset", "proxy", "features", "recorded"),
    }
)
"""The tables that are merged, exported and published, with their columns."""

TASK = "task"
"""The setting of a result that holds its task, where that is not classification."""

FINE_TUNING = "fine_tuning"
"""The setting of a result that holds the recipe of fine-tuning."""

_NO_PART_OF_A_RECIPE = frozenset({"epochs", "precision", "patience", "validation"})


@dataclass(frozen=True, slots=True)
class Result:
    """How one candidate did on one dataset, by one metric.

    Attributes:
        candidate: `zoo:name`, without the revision: that is one of the settings.
        dataset: the probe's fingerprint, or the name of a public dataset such as `hub:food101`.
        metric: `accuracy` (measured, from 0 to 1), or the name of the estimator whose score this is, or a piece of
            evidence, with a colon in its name: `evidence:probe`.
        value: higher is better.
        settings: what else the value depends on: JSON.
        provenance: where the value comes from: JSON. No part of the result's id.
        recorded: the time in UTC, as ISO 8601; if empty, the time at which the result is added.
    """

    candidate: str
    dataset: str
    metric: str
    value: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    recorded: str = ""

    @property
    def id(self) -> str:
        """Digest of everything but provenance and time, so that equal results have equal ids.

        >>> Result("timm:a", "b", "accuracy", 0.5).id == Result("timm:a", "b", "accuracy", 0.5, recorded="2026").id
        True
        """
        said = [self.candidate, self.dataset, self.metric, float(self.value), self.settings]
        return hashlib.sha256(canonical_json(said).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Added:
    """How many of the given results were added.

    Attributes:
        new: results that the history did not have.
        known: results that the history had already.
        rejected: number of results that were not added, by reason.
    """

    new: int = 0
    known: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Added) -> Added:
        rejected = Counter(self.rejected) + Counter(other.rejected)
        return Added(self.new + other.new, self.known + other.known, dict(rejected))

    def __str__(self) -> str:
        left_out = "".join(f", {count:,} rejected ({reason})" for reason, count in sorted(self.rejected.items()))
        return f"{self.new:,} new results, {self.known:,} known already{left_out}"


def metric_of(task: str, metric: str) -> str:
    """The name under which a history keeps a metric of a task: other tasks than classification stand before it.

    >>> metric_of("classification", "logme"), metric_of("regression", "logme")
    ('logme', 'regression:logme')
    """
    return metric if task == CLASSIFICATION else f"{task}:{metric}"


def of_task(result: Result, task: str) -> Result | None:
    """The result with the name that its metric has in a run of the task; None if it is of another task."""
    own = result.settings.get(TASK, CLASSIFICATION)
    if own != task:
        return None
    return result if task == CLASSIFICATION else replace(result, metric=result.metric.removeprefix(f"{task}:"))


def summarised(features: ArrayLike) -> NDArray[np.float32]:
    """(2, P) mean and standard deviation over the rows of (N, P) features.

    Raises:
        InvalidInputError: features are not a matrix of finite numbers.

    >>> summarised([[0.0, 1.0], [2.0, 1.0]]).tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    try:
        matrix = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"proxy features are no numbers ({error}); expected a matrix (N, P)") from None
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise InvalidInputError(f"proxy features have shape {matrix.shape}; expected a matrix (N, P) of finite numbers")
    return np.stack([matrix.mean(axis=0), matrix.std(axis=0)]).astype(np.float32)


def impossible(result: Result) -> str | None:
    """Why a result cannot be true or cannot be kept; None if it can."""
    value, names = result.value, (result.candidate, result.dataset, result.metric)
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or not is_finite(value):
        return "value is not a finite number"
    if isinstance(result.metric, str) and result.metric == ACCURACY and not 0 <= value <= 1:
        return "accuracy outside 0 to 1"
    if not all(isinstance(name, str) for name in names):
        return "a name is no text"
    if not all(names):
        return "no candidate, dataset or metric"
    if not all(map(is_text, names)):
        return "a name holds half a surrogate pair"
    return None


def is_piece(metric: str) -> bool:
    """True of a metric that is one piece of an estimator's evidence: its name holds a colon.

    >>> is_piece("evidence:probe"), is_piece("logme")
    (True, False)
    """
    return ":" in metric


def recipe_of(settings: Mapping[str, Any]) -> str | None:
    """The recipe of fine-tuning that an accuracy was measured under; None if no recipe is known.

    Accuracies compare only under one recipe. A recipe that the user has named (`{"fine_tuning": {"recipe": "ours"}}`)
    is that name. Any other is the method and a digest of all that changes what is measured: learning rates, weight
    decay, batch size, optimizer, the search and so on, and also what later versions may add. Left out are:

    - `epochs`, `patience` and `validation`, since a budget or early stopping shortens the training from run to run;
    - `precision`, which changes the arithmetic and not the recipe.

    The order of the keys does not matter, nor does a tuple that JSON has made a list. Published results have no recipe.

    Args:
        settings: those of a `Result`.

    >>> recipe_of({"fine_tuning": {"method": "head", "epochs": 20, "head_learning_rate": 0.003}})
    'head-878068e287e4'
    >>> recipe_of({"fine_tuning": {"recipe": "the lab's"}}), recipe_of({"fine_tuned": "owner/name"})
    ("the lab's", None)
    """
    given = settings.get(FINE_TUNING)
    parts = {k: v for k, v in given.items() if k not in _NO_PART_OF_A_RECIPE} if isinstance(given, Mapping) else {}
    if not parts:
        return None
    if parts.keys() == {"recipe"} and is_name(parts["recipe"]):
        return str(parts["recipe"])
    method = parts.get("method")
    digest = hashlib.sha256(canonical_json(_with_floats(parts)).encode()).hexdigest()[:12]
    return f"{method if isinstance(method, str) and method.isidentifier() else 'recipe'}-{digest}"


def most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts in falling order, equals by name.

    >>> most_frequent_first({"b": 1, "c": 2, "a": 1})
    {'c': 2, 'a': 1, 'b': 1}
    """
    return dict(sorted(counts.items(), key=lambda named: (-named[1], named[0])))


def is_name(text: Any) -> bool:
    r"""True of a text that can be shown in one line.

    >>> is_name("adamw, 20 epochs"), is_name(" "), is_name("two\nlines")
    (True, False, False)
    """
    return isinstance(text, str) and bool(text.strip()) and text.isprintable()


def _with_floats(value: Any) -> Any:
    """The value with every number as a float, so that 0 and 0.0 are equal as text."""
    if isinstance(value, Mapping):
        return {key: _with_floats(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_floats(each) for each in value]
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and is_finite(value):
        return float(value) + 0.0  # no -0.0
    return value


def is_text(name: str) -> bool:
    r"""False of a name with half a surrogate pair, which JSON and file names may hold and SQLite cannot.

    >>> is_text("food101"), is_text("food101\ud800")
    (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_finite(value: Any) -> bool:
    """True of a finite number that a float can hold.

    >>> is_finite(0.5), is_finite(10**400)
    (True, False)
    """
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def row_of(result: Result) -> tuple[Any, ...]:
    """The row of the table `results`."""
    recorded = result.recorded or utc_now()
    said = (result.candidate, result.dataset, result.metric, float(result.value))
    return (result.id, *said, canonical_json(result.settings), canonical_json(result.provenance), recorded)


def metadata_of(subject: str, facts: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of the table `candidates` or `datasets`; None is no fact.

    Raises:
        InvalidInputError: the subject's name or a fact cannot be kept.
    """
    recorded = utc_now()
    if not isinstance(subject, str) or not isinstance(facts, Mapping):
        raise InvalidInputError(
            f"a name and its facts are {type(subject).__name__} and {type(facts).__name__}; expected a text and a "
            "mapping of facts by name"
        )
    if not is_text(subject):
        raise InvalidInputError(
            f"the name {subject!r} holds half a surrogate pair and cannot be kept; give another name"
        )
    return [(subject, key, canonical_json(value), recorded) for key, value in facts.items() if value is not None]


def canonical_json(value: Any) -> str:
    """The value as JSON in one canonical form, so that equal content has equal text.

    Raises:
        InvalidInputError: JSON cannot hold the value, or the value holds NaN or infinity.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{value!r} cannot be kept in the history ({error}); give values that JSON can hold"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def utc_now() -> str:
    """The time in UTC, as ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
