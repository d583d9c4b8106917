"""Evidence in, transferability score out: `Estimator`, `score` for bare arrays, and `score_pool` for a pool of them."""

from __future__ import annotations

import abc
import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.codekey import code_key
from modelselect.errors import EvidenceError, InvalidInputError, ModelSelectError, NotApplicableError
from modelselect.evidence import FIELDS, Evidence

if TYPE_CHECKING:
    from modelselect.host import Host

Vector = NDArray[np.float64]

Cost = Literal["free", "closed form", "iterative", "quadratic"]
"""How the work grows: nothing but metadata; one decomposition; an optimisation; every pair of rows."""


TIE_DIGITS = 12
"""Decimals of a mean rank: the order in which ranks are added up must not tell two equal ones apart."""

SMALL_EVIDENCE = 5_000_000
"""Numbers in a feature matrix up to which one thread is fast enough: 2,000 rows of 2,048 dimensions."""


class Estimator(abc.ABC):
    """One published way to tell from evidence how well a candidate will transfer. **Higher is better, always.**

    Subclass it, register an instance with `modelselect_register_estimators`, and hold it to its promises with
    `modelselect.testing.check_estimator`. A constructor only stores its parameters (each under its own name), so that
    an estimator can be described, copied and given an identity in the store.

    Attributes:
        name: unique among estimators.
        requires: the evidence fields (`modelselect.evidence.FIELDS`) without which `score` cannot do.
        optional: fields that it uses where they are there. It reads no others.
        citation: the paper, as authors, title, venue and year.
        cost: see `Cost`.
        relative: True if the score only has a meaning within a pool of candidates (`combine` uses the whole pool).
        stochastic: True if the score depends on `evidence.seed`.
        version: raised whenever a change alters scores, so that remembered ones are computed anew.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]
    optional: ClassVar[frozenset[str]] = frozenset()
    citation: ClassVar[str]
    cost: ClassVar[Cost] = "closed form"
    relative: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    version: ClassVar[int] = 1

    @abc.abstractmethod
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        """The components of one candidate's score, by name; for most methods one, named like the estimator.

        Must not change the evidence's arrays. Rows without a label have been left out where `requires` has `labels`.

        Raises:
            NotApplicableError: the method has no meaning for this evidence; the message says why.
        """

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Vector:
        """One number for each candidate of the pool from the components of all, in the same order.

        The default is the component named like the estimator, or the only one.
        """
        return np.array([s[self.name] if self.name in s else _only(s) for s in scores], dtype=np.float64)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the constructor was given, by name."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    @property
    def key(self) -> str:
        """Identity of the method with its parameters: two estimators with one key give equal scores."""
        described = json.dumps(self.parameters, sort_keys=True, default=_described)
        text = f"{type(self).__module__}.{type(self).__qualname__}:{self.version}:{code_key(type(self))}:{described}"
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def reads(self) -> frozenset[str]:
        """Every evidence field that `score` looks at: required or optional."""
        return self.requires | self.optional

    @property
    def is_static(self) -> bool:
        """True for a baseline that looks at metadata alone, never at the user's data."""
        return self.reads <= {"metadata"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"


def evaluate(estimator: Estimator, evidence: Evidence) -> Mapping[str, float]:
    """The estimator's components on this evidence, checked: fields present, finite result.

    Raises:
        NotApplicableError: a required field is missing, or the estimator says that it does not apply.
        EvidenceError: the evidence cannot be scored (one class, NaN, ...), or the result is not finite.
    """
    missing = sorted(field for field in estimator.requires if not evidence.has(field))
    if missing:
        raise NotApplicableError(
            f"{estimator.name} needs {' and '.join(missing)}, which this candidate does not have"
            + _why_missing(missing)
        )
    with contextlib.nullcontext() if estimator.is_static else _calm_threads(evidence):
        components = estimator.score(evidence.restrict(estimator.reads))
    result = {name: float(value) for name, value in components.items()}
    bad = [name for name, value in result.items() if not np.isfinite(value)]
    if bad or not result:
        raise EvidenceError(
            f"{estimator.name} gave {result or 'no score'}; expected finite numbers. "
            "Report this to the estimator's author together with the evidence."
        )
    return result


@overload
def score(
    features: ArrayLike | None,
    labels: ArrayLike | None,
    estimator: str | Estimator,
    *,
    components: Literal[False] = False,
    seed: int = 0,
    **evidence: Any,
) -> float: ...


@overload
def score(
    features: ArrayLike | None,
    labels: ArrayLike | None,
    estimator: str | Estimator,
    *,
    components: Literal[True],
    seed: int = 0,
    **evidence: Any,
) -> dict[str, float]: ...


def score(
    features: ArrayLike | None,
    labels: ArrayLike | None,
    estimator: str | Estimator,
    *,
    components: bool = False,
    seed: int = 0,
    **evidence: Any,
) -> float | dict[str, float]:
    """Arrays in, number out: one estimator on the evidence of one candidate.

    Args:
        features: (N, D) of the target data.
        labels: (N,) integers; -1 is unlabelled. (N, T) floats for estimators that do regression or multi-label targets.
        estimator: a name (`modelselect estimators` lists them) or an instance with parameters of your own.
        components: return every component by name instead of the one score.
        seed: for stochastic estimators.
        **evidence: further fields: `source_probabilities` (N, S), `source_features` (M, D), `source_labels` (M,),
            `proxy_features` (N, P), `metadata`, ...

    Raises:
        NotApplicableError: the method is relative to a pool (use `score_pool`, or `components=True`), or needs a field
            that was not given.
        EvidenceError: the arrays cannot be scored; the message says why.
        UnknownNameError: no such estimator.

    >>> import numpy as np, modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + 3 * labels[:, None]
    >>> bool(ms.score(features, labels, "logme") > ms.score(features, rng.permutation(labels), "logme"))
    True
    """
    method = find_estimator(estimator)
    result = dict(evaluate(method, Evidence.of(features=features, labels=labels, seed=seed, **evidence)))
    if components:
        return result
    if method.relative:
        raise NotApplicableError(
            f"{method.name} is relative to a pool of candidates, so one candidate alone has no score. Give the whole "
            "pool to score_pool(), or ask for components=True."
        )
    return float(method.combine([result])[0])


def score_pool(pool: Sequence[Mapping[str, Any] | Evidence], estimator: str | Estimator, *, seed: int = 0) -> Vector:
    """The scores of a whole pool of candidates, in order: what methods that are relative to a pool need.

    Args:
        pool: one mapping of evidence fields for each candidate, `{"features": ..., "labels": ...}`.
        estimator: a name or an instance.
        seed: for stochastic estimators.

    >>> import numpy as np, modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> pool = [{"features": rng.normal(size=(100, 8)) + gap * labels[:, None], "labels": labels} for gap in (0, 4)]
    >>> int(ms.score_pool(pool, "ncti").argmax())
    1
    """
    method = find_estimator(estimator)
    if not pool:
        raise EvidenceError("the pool is empty; give at least one mapping of evidence fields")
    evidences = [e if isinstance(e, Evidence) else Evidence.of(seed=seed, **e) for e in pool]
    scored = []
    for index, evidence in enumerate(evidences):
        try:
            scored.append(evaluate(method, evidence))
        except ModelSelectError as error:
            error.add_note(f"in pool[{index}]")
            raise
    return np.asarray(method.combine(scored), dtype=np.float64)


def normalised_ranks(scores: ArrayLike) -> Vector:
    """(n,) from 0 for the lowest to 1 for the highest; ties share their mean, one alone gets 0.5, NaN stays NaN.

    >>> normalised_ranks([3.0, float("nan"), 7.0, 3.0]).tolist()
    [0.25, nan, 1.0, 0.25]
    """
    from scipy.stats import rankdata

    given = np.asarray(scores, dtype=np.float64)
    there = ~np.isnan(given)
    ranks = np.full(given.shape, np.nan)
    n = int(there.sum())
    ranks[there] = (rankdata(given[there]) - 1) / (n - 1) if n > 1 else 0.5
    return ranks


def mean_rank(ranks: Mapping[str, Vector], weights: Mapping[str, float] | None = None) -> Vector:
    """Borda: (n,) weighted mean of normalised ranks, over the estimators that rank a candidate; NaN where none does.

    Raises:
        InvalidInputError: a weight is negative, or no estimator has one.

    >>> mean_rank({"a": np.array([0.0, 1.0]), "b": np.array([1.0, np.nan])}, {"a": 3, "b": 1}).tolist()
    [0.25, 1.0]
    """
    given = dict.fromkeys(ranks, 1.0) if weights is None else {name: float(weights.get(name, 0)) for name in ranks}
    if min(given.values()) < 0 or not any(given.values()):
        raise InvalidInputError(
            f"weights are {dict(weights or {})}; expected numbers from 0, one of {', '.join(ranks)} above"
        )
    table = np.stack(list(ranks.values()))
    shares = np.array(list(given.values()))[:, None] * ~np.isnan(table)
    total = shares.sum(axis=0)
    summed = (shares * np.nan_to_num(table)).sum(axis=0)
    mean = np.full(table.shape[1], np.nan)
    np.divide(summed, total, out=mean, where=total > 0)
    return mean.round(TIE_DIGITS)


def _described(value: Any) -> Any:
    """A parameter that JSON has no word for, so that different values are described differently."""
    if isinstance(value, Estimator):
        return value.key
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype}{value.shape}{content}"
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return repr(value)


@contextlib.contextmanager
def _calm_threads(evidence: Evidence) -> Iterator[None]:
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


def find_estimator(estimator: str | Estimator) -> Estimator:
    """The registered estimator of that name; an instance is taken as it is.

    Raises:
        UnknownNameError: no such estimator.
        InvalidInputError: neither a name nor an instance.
    """
    if isinstance(estimator, Estimator):
        return estimator
    if not isinstance(estimator, str):
        raise InvalidInputError(f"estimator is {estimator!r}; expected a name, or an instance such as LogME()")
    from modelselect.host import get_host

    host: Host = get_host()
    return host.estimator(estimator)


def _only(components: Mapping[str, float]) -> float:
    if len(components) != 1:
        raise EvidenceError(
            f"an estimator of several components ({', '.join(components)}) must define combine() or name one as itself"
        )
    return next(iter(components.values()))


def _why_missing(missing: Sequence[str]) -> str:
    hints = [FIELDS[field].hint for field in missing if FIELDS[field].hint]
    return f" ({'; '.join(dict.fromkeys(hints))})" if hints else ""
