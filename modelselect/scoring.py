"""`score()`, `score_pool()` and `standard_error()`: arrays in, numbers out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from modelselect.errors import EvidenceError, InvalidInputError, ModelSelectError, NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.estimators.resampling import check_components, check_resamples, looks_at_rows, replicate, resample
from modelselect.evidence.evidence import Evidence
from modelselect.evidence.linear_algebra import Vector
from modelselect.host.lookup import find_estimator
from modelselect.utils.containers import is_sequence


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
    """The score of one candidate by one estimator, from arrays.

    Args:
        features: (N, D) of the target data.
        labels: (N,) or (N, 1) integers, strings or booleans, -1 or None for unlabelled; one-hot (N, C); or (N, T)
            floats for estimators that take such targets.
        estimator: a name (`modelselect estimators` lists them) or an instance with your own parameters.
        components: return every component by name instead of the score.
        seed: for stochastic estimators.
        **evidence: further fields: `source_probabilities` (N, S), `source_features` (M, D), `source_labels` (M,),
            `proxy_features` (N, P), `groups` (N,), `metadata`, ...

    Raises:
        NotApplicableError: the method is relative to a pool (use `score_pool`, or `components=True`), or needs a field
            that was not given.
        EvidenceError: the arrays cannot be scored; the message says why.
        UnknownNameError: no estimator has this name.

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
    """The scores of a whole pool of candidates, in order. Methods that are relative to a pool need this.

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
    if not is_sequence(pool):
        raise EvidenceError(f"the pool is {type(pool).__name__}; expected a list of mappings of evidence fields")
    if not len(pool):
        raise EvidenceError("the pool is empty; give at least one mapping of evidence fields")
    for index, each in enumerate(pool):
        if not isinstance(each, Evidence | Mapping):
            raise EvidenceError(f"pool[{index}] is {type(each).__name__}; expected a mapping of evidence fields")
    evidences = [e if isinstance(e, Evidence) else Evidence.of(seed=seed, **e) for e in pool]
    scored = []
    for index, evidence in enumerate(evidences):
        try:
            scored.append(evaluate(method, evidence))
        except ModelSelectError as error:
            error.add_note(f"in pool[{index}]")
            raise
    return np.asarray(method.combine(scored), dtype=np.float64)


def standard_error(
    features: ArrayLike | None,
    labels: ArrayLike | None,
    estimator: str | Estimator,
    *,
    resamples: int = 50,
    seed: int = 0,
    **evidence: Any,
) -> float:
    """The standard error of `score` with the same arguments: how much it varies between probes of this size.

    It does not cover how the score would change with a larger probe. A row that is the only one of its class is in
    every resample and adds nothing.

    Args:
        features: (N, D) of the probe, or None if the method needs none.
        labels: (N,) integers, -1 for unlabelled rows, which form a stratum; or (N, T) targets, not stratified.
        estimator: a name or an instance.
        resamples: number of resamples, at least 2; with 50, the result is accurate to about 10%.
        seed: of the resamples, and for stochastic estimators.
        **evidence: other evidence fields by name.

    Raises:
        InvalidInputError: fewer than two resamples.
        NotApplicableError: the method is relative to a pool, does not use the probe's rows, or needs a field that
            was not given.
        EvidenceError: the arrays, or four fifths of their rows, cannot be scored; the message says why.

    >>> import numpy as np, modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 100)
    >>> features = rng.normal(size=(200, 4)) + labels[:, None]
    >>> error = ms.standard_error(features, labels, "centroid")
    >>> bool(1 < error < 4)  # in per cent; an accuracy near 85 over 200 rows has about 2.5
    True
    """
    check_resamples(resamples)
    if not resamples:
        raise InvalidInputError("a standard error needs resamples; give at least 2, better 50 or more")
    method = find_estimator(estimator)
    if method.relative:
        raise NotApplicableError(
            f"{method.name} is relative to a pool of candidates, so one candidate alone has no standard error. Rank "
            "the pool with select(..., resamples=50)."
        )
    if not looks_at_rows(method):
        raise NotApplicableError(f"{method.name} uses no rows of the probe, so it has no standard error of sampling")
    whole = Evidence.of(features=features, labels=labels, seed=seed, **evidence)
    score = evaluate(method, whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)  # scoring all rows has warned already
        resampled = [evaluate(method, resample(whole, number, seed)) for number in range(resamples)]
    for components in resampled:
        check_components(method, components, score)
    replicates = [float(method.combine([components])[0]) for components in replicate(score, resampled)]
    return float(np.std(replicates, ddof=1))
