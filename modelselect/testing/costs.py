"""What an estimator costs, next to one Gram matrix of the same features."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelselect.errors import InvalidInputError, ScoreWarning
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.testing.evidence import evidence_fields
from modelselect.utils.text import in_bytes

SHAPES = ((500, 128, 5), (1000, 512, 10), (2500, 768, 50))
"""Rows, dimensions and classes of the evidence; the last has the rows of the default probe and a usual width."""

_REPEATS = 3
_LONG = 1.0  # seconds; what takes longer is measured once


@dataclass(frozen=True)
class EstimatorCost:
    """What one score costs on evidence of one shape.

    Attributes:
        rows, dimensions, classes: the shape.
        seconds: of one score, with everything that it computes.
        again: seconds of a second score on the same evidence: what it adds where other estimators have already computed
            the shared statistics.
        peak_bytes: the largest memory that Python and NumPy held at one time for one score, without the evidence. What
            torch holds does not count.
        gram_seconds: of `X.T @ X` with the same features in float64.
        gram_bytes: the size of that matrix.
    """

    rows: int
    dimensions: int
    classes: int
    seconds: float
    again: float
    peak_bytes: int
    gram_seconds: float
    gram_bytes: int

    @property
    def grams(self) -> float:
        """`seconds`, as a multiple of one Gram matrix."""
        return self.seconds / self.gram_seconds

    @property
    def grams_again(self) -> float:
        """`again`, as a multiple of one Gram matrix."""
        return self.again / self.gram_seconds

    @property
    def gram_sizes(self) -> float:
        """`peak_bytes`, as a multiple of the size of one Gram matrix."""
        return self.peak_bytes / self.gram_bytes


@dataclass(frozen=True)
class EstimatorCosts:
    """The costs of one estimator, one for each shape. Printed, it is a table.

    Attributes:
        estimator: its `repr`.
        costs: in the order of the shapes.
    """

    estimator: str
    costs: tuple[EstimatorCost, ...]

    def __iter__(self) -> Iterator[EstimatorCost]:
        return iter(self.costs)

    def __str__(self) -> str:
        heads = ("rows x dims, classes", "seconds", "in Grams", "again", "in Grams", "peak", "in Grams")
        lines = [
            (
                f"{cost.rows:,} x {cost.dimensions:,}, {cost.classes}",
                f"{cost.seconds:.4f}",
                f"{cost.grams:.1f}",
                f"{cost.again:.4f}",
                f"{cost.grams_again:.1f}",
                in_bytes(cost.peak_bytes),
                f"{cost.gram_sizes:.1f}",
            )
            for cost in self.costs
        ]
        widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
        table = ["  ".join(map(str.rjust, line, widths)) for line in (heads, *lines)]
        return "\n".join([f"{self.estimator}, next to one Gram matrix of the same features", *table])


def estimator_costs(estimator: Estimator, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> EstimatorCosts:
    """Measures the time and the memory of one score, in seconds, bytes and Gram matrices of the same features.

    A Gram matrix (`X.T @ X`) is what most methods need at least, and all estimators share one. A ratio to it says more
    than seconds, which depend on the machine and on what else runs there. Of three measurements the least counts.

    Args:
        estimator: the instance to be measured.
        shapes: rows, dimensions and classes of the evidence; see `SHAPES` for the default.

    Raises:
        InvalidInputError: a shape has no rows or dimensions, or fewer rows than classes; or the estimator needs a
            `history`, which this evidence does not have.
        ModelSelectError: the estimator has no score for one of the shapes.

    >>> from modelselect.host import get_host
    >>> (cost,) = estimator_costs(get_host().estimator("centroid"), [(200, 32, 4)])
    >>> cost.rows, cost.gram_bytes, cost.seconds > 0
    (200, 8192, True)
    """
    if "history" in estimator.requires:
        raise InvalidInputError(f"{estimator.name} needs a history, but the evidence of this report has none")
    return EstimatorCosts(repr(estimator), tuple(_cost(estimator, *shape) for shape in shapes))


def _cost(estimator: Estimator, rows: int, dimensions: int, classes: int) -> EstimatorCost:
    if not (rows >= classes >= 1 and dimensions >= 1):
        raise InvalidInputError(
            f"the shape is {(rows, dimensions, classes)}; expected rows, dimensions and classes, all at least 1 and no "
            "more classes than rows"
        )
    counts = tuple(len(part) for part in np.array_split(np.arange(rows), classes))
    fields = evidence_fields(counts, dimensions)

    def score(evidence: Evidence) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScoreWarning)
            evaluate(estimator, evidence)

    features = fields["features"]
    gram_seconds = _least_seconds(lambda: lambda: features.T @ features)

    def fresh() -> Callable[[], object]:
        evidence = Evidence.of(**fields)
        return lambda: score(evidence)

    seconds = _least_seconds(fresh)
    shared = Evidence.of(**fields).restrict(estimator.reads)
    score(shared)
    again = _least_seconds(lambda: lambda: score(shared))
    run = fresh()
    tracemalloc.start()
    try:
        run()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return EstimatorCost(
        rows, dimensions, classes, seconds, again, peak_bytes, gram_seconds, dimensions * dimensions * features.itemsize
    )


def _least_seconds(prepare: Callable[[], Callable[[], object]]) -> float:
    """The least time of a few runs; each gets a preparation of its own, which is not measured.

    A run before them is not measured either: it imports libraries and starts threads.
    """
    prepare()()
    least = float("inf")
    for _ in range(_REPEATS):
        run = prepare()
        begun = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - begun)
        if least > _LONG:
            break
    return least
