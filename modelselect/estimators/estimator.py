"""From evidence to a transferability score: `Estimator`, and `evaluate`, which runs and checks it."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import (
    EvidenceError,
    InvalidScoreWarning,
    NotApplicableError,
    contained,
)
from modelselect.estimators.threads import calm_threads
from modelselect.evidence.evidence import FIELDS, Evidence
from modelselect.evidence.linear_algebra import Vector
from modelselect.utils.code import code_key
from modelselect.utils.target_kinds import CLASSES

Cost = Literal["free", "closed form", "iterative", "quadratic"]
"""How the cost grows: only metadata; one decomposition; an optimisation; every pair of rows."""

MOST_COMPONENTS = 10_000
"""Components of one score. They are kept in memory and on the leaderboard for every candidate."""


LARGEST_SCORE = 1e300
"""A larger number overflows where it is compared or shown, so it is no score."""


class Estimator(abc.ABC):
    """One published method that predicts from evidence how well a candidate transfers. **Higher is always better.**

    Subclass it, register an instance with `modelselect_register_estimators`, and check its promises with
    `modelselect.testing.check_estimator`. A constructor only stores its parameters (each under its own name), so that
    an estimator can be described, copied and identified in the store.

    Attributes:
        name: unique among estimators.
        requires: names of the fields of `Evidence` that `score` needs.
        optional: fields that `score` uses if they are there. It reads no others.
        targets: the kinds of labels that `score` takes, of `modelselect.utils.target_kinds.TARGET_KINDS`, if it reads
            labels. The evidence says in `target_kind` what its labels are.
        citation: the paper, as authors, title, venue and year.
        cost: see `Cost`.
        relative: True if the score only has a meaning within a pool of candidates (`combine` uses the whole pool).
        stochastic: True if the score depends on `evidence.seed`.
        version: increased whenever a change alters scores, so that stored scores are computed again.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]
    optional: ClassVar[frozenset[str]] = frozenset()
    targets: ClassVar[frozenset[str]] = frozenset({CLASSES})
    citation: ClassVar[str]
    cost: ClassVar[Cost] = "closed form"
    relative: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    version: ClassVar[int] = 1

    @abc.abstractmethod
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        """The components of one candidate's score, by name. Most methods have one, with the name of the estimator.

        Must not change the evidence's arrays. If `requires` has `labels`, the evidence has only labelled rows.

        Raises:
            NotApplicableError: the method is not defined for this evidence; the message says why.
        """

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Vector:
        """One number for each candidate of the pool, in order, from the components of all candidates.

        By default the component with the name of the estimator, or the only component.
        """
        return np.array([s[self.name] if self.name in s else _only(s) for s in scores], dtype=np.float64)

    @property
    def parameters(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    @property
    def key(self) -> str:
        """Identity of the method with its parameters: two estimators with the same key give equal scores."""
        described = json.dumps(self.parameters, sort_keys=True, default=_described)
        text = f"{type(self).__module__}.{type(self).__qualname__}:{self.version}:{code_key(type(self))}:{described}"
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def reads(self) -> frozenset[str]:
        """Every evidence field that `score` reads, required or optional."""
        return self.requires | self.optional

    def takes(self, target_kind: str) -> bool:
        """True if the estimator is defined for labels of this kind, or reads no labels."""
        return "labels" not in self.reads or target_kind in self.targets

    @property
    def is_static(self) -> bool:
        """True for a baseline that reads only metadata, never the user's data."""
        return self.reads <= {"metadata"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"


@runtime_checkable
class Recaller(Protocol):
    """An estimator that scores a whole pool from the transfer history at once, before any candidate is loaded.

    `select(recall=...)` asks the registered estimator that `modelselect.host.defaults` names. An estimator fulfils this
    contract by having the method: there is no base class, and nothing to register.
    """

    def recall(
        self, view: Any, proxy_features: NDArray[Any] | None, seed: int = 0
    ) -> Mapping[str, Mapping[str, float]]:
        """The components of every candidate of the view's pool, by id without revision; higher is better.

        Args:
            view: a `modelselect.history.HistoryView`, about the pool and the dataset.
            proxy_features: (N, P) of the dataset, by the proxy of the view; None if there is none.
            seed: of a method that draws random numbers.

        Returns:
            For each candidate a component named like the estimator, which orders the pool, and any others, which the
            record of the run shows.

        Raises:
            NotApplicableError: the history holds nothing to go by.
        """
        ...


def evaluate(estimator: Estimator, evidence: Evidence) -> Mapping[str, float]:
    """The estimator's components on this evidence, after checks: required fields are present, results are finite.

    Raises:
        NotApplicableError: a required field is missing, or the estimator does not apply to this evidence.
        EvidenceError: the evidence cannot be scored (one class, NaN, ...), or a result is not finite.
    """
    missing = sorted(field for field in estimator.requires if not evidence.has(field))
    if missing:
        raise NotApplicableError(
            f"{estimator.name} needs {' and '.join(missing)}, which this candidate does not have"
            + _why_missing(missing)
        )
    # what overflows on the way either leaves the result as it should be, or is found in it below
    quiet = np.errstate(all="ignore")
    with contextlib.nullcontext() if estimator.is_static else calm_threads(evidence), quiet, contained():
        components = estimator.score(evidence.restrict(estimator.reads))
        pairs = list(itertools.islice(components.items(), MOST_COMPONENTS + 1))  # a mapping of others may never end
        if len(pairs) > MOST_COMPONENTS:
            raise EvidenceError(
                f"{estimator.name} returned more than {MOST_COMPONENTS:,} components; expected fewer. Report this to "
                "the estimator's author."
            )
        result = {name: float(value) for name, value in pairs}
    if wrong := [name for name in result if not (isinstance(name, str) and name.isprintable())]:
        raise EvidenceError(
            f"{estimator.name} returned a component with the name {wrong[0]!r}; expected names that are printable "
            "texts. Report this to the estimator's author."
        )
    if not result or not all(abs(value) <= LARGEST_SCORE for value in result.values()):
        raise EvidenceError(
            f"{estimator.name} returned {result or 'no score'}; expected finite numbers. Report this to the "
            "estimator's author, together with the evidence."
        )
    return result


def evaluate_member(estimator: Estimator, evidence: Evidence) -> tuple[Mapping[str, float], str]:
    """`evaluate` for a member of a composite: the components, and why the member says that its score is invalid.

    The reason is the text of the member's `InvalidScoreWarning`, which is not given to the caller's warning filters; it
    is empty if there is none. Other warnings are given.

    Raises:
        NotApplicableError, EvidenceError: as `evaluate` does.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        components = evaluate(estimator, evidence)
    reasons = []
    for warning in caught:
        if issubclass(warning.category, InvalidScoreWarning):
            reasons.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return components, " ".join(reasons)


def _described(value: Any) -> Any:
    """A description of a parameter that JSON cannot express; different values get different descriptions."""
    if isinstance(value, Estimator):
        return value.key
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype}{value.shape}{content}"
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return repr(value)


def _only(components: Mapping[str, float]) -> float:
    if len(components) != 1:
        raise EvidenceError(
            f"an estimator with several components ({', '.join(components)}) must define combine(), or give one of "
            "them its own name"
        )
    return next(iter(components.values()))


def _why_missing(missing: Sequence[str]) -> str:
    hints = [FIELDS[field].hint for field in missing if FIELDS[field].hint]
    return f" ({'; '.join(dict.fromkeys(hints))})" if hints else ""


def combined(estimator: Estimator, components: Sequence[Mapping[str, float] | None]) -> Vector:
    """(n,) scores from the components of a pool's candidates; NaN for a candidate without components.

    Raises:
        EvidenceError: the estimator did not return a finite number for each. It may also raise anything else.
    """
    column = np.full(len(components), np.nan)
    there = [index for index, given in enumerate(components) if given is not None]
    if there:
        with contained():
            combined = np.asarray(estimator.combine([given for given in components if given is not None]), np.float64)
        if combined.shape != (len(there),) or not np.isfinite(combined).all():
            raise EvidenceError(
                f"{estimator.name} combined the scores of {len(there)} candidates into {combined!r}; expected one "
                "finite number for each. Report this to the estimator's author."
            )
        column[there] = combined
    return column
