"""Persistence ratio: the size of clusters relative to the gaps between them (Gutierrez and Lobel, 2025)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import EvidenceError, InvalidInputError, NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import class_indices, labelled_rows, stratified_sample
from modelselect_plugins.estimators._shared.distances import centred, squared_distances, squared_norms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CITATION = (
    "F. Gutierrez, H. Lobel: Model Transferability Informed by Embedding's Topology, "
    "NeurIPS Workshop on Symmetry and Geometry in Neural Representations, 2025"
)


class Persistence(Estimator):
    """Minus H_tight / H_sep, from the 0-dimensional persistence diagram of the features' Vietoris-Rips filtration.

    For k classes, one expects k - 1 long gaps between the clusters, and short ones within. The ratio of short to long
    gaps is read from the persistence diagram, whose values are the edge lengths of the minimum spanning tree. The
    labels only give the number of classes.

    In short: How tight and separate the clusters of features are.

    Formula: `-H_tight / H_sep`, where `H_sep` is the mean of the k - 1 longest of the N - 1 edges of the Euclidean
    minimum spanning tree, and `H_tight` is the mean of the rest. Duplicate rows are edges of length 0 and count. The
    tree is exact. Prim's algorithm finds it in O(N) memory plus one copy of the features: 20,000 rows need minutes, not
    gigabytes.

    Args:
        max_rows: with more rows than this, samples that keep the class shares; None uses all rows, whatever the cost.
            The default is the number of rows whose distances are all held at a time.
        sample_rows: size of a sample, at most `max_rows`; the paper uses 2,048 and 512.
        repeats: number of such samples; the components are their means. None: no samples up to `max_rows`, above it
            five. A number: this many samples of any probe; if it has no more than `sample_rows` rows, each of several
            samples has half of them.

    Components: `H_sep`, `H_tight`, `H_ratio` = H_tight / H_sep, and `H_ratio_sd`, the standard deviation of H_ratio
    over the samples (0 if all rows are used).

    Limits: Undefined if every row has a class of its own (there are no gaps within classes) or all rows are equal
    (there are no gaps between classes). On target features the paper finds it unstable (mean Kendall tau 0.32 against
    0.66 for `persistence_source`): the longest edges are as often outliers as gaps between classes.

    Code and paper: Agrees with gudhi's Rips complex, including duplicates. `diagram` in the same module gives the
    persistence diagram as an array, and `plot_diagram` draws it as in the paper's figure 1.

    - All rows are used up to 5,792; above that, several samples, so that their variation is known. The paper uses one
      sample of 2,048 rows: `repeats=1`.

    Source: Gutierrez and Lobel, equation 1.

    >>> import modelselect as ms
    >>> ms.score([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1], "persistence")
    -0.25
    """

    name = "persistence"
    requires = frozenset({"features", "labels"})
    citation = _CITATION
    cost = "quadratic"
    stochastic = True
    version = 2

    def __init__(self, max_rows: int | None = 5792, sample_rows: int = 2048, repeats: int | None = None) -> None:
        self.max_rows = max_rows
        self.sample_rows = sample_rows
        self.repeats = repeats

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        return self._components(evidence.features, evidence.labels, evidence.seed)

    def _components(
        self, features: NDArray[Any], labels: NDArray[Any], seed: int, least_rows: int = 0
    ) -> dict[str, float]:
        """The components; a sample has `least_rows` rows or more."""
        if self.repeats is not None and self.repeats < 1:
            raise InvalidInputError(f"repeats is {self.repeats!r}; expected None or a whole number of 1 or more")
        indices, n_classes = class_indices(labels, self.name)
        size, repeats = self._samples(len(indices), max(n_classes + 1, least_rows))
        samples = [features]
        if size < len(indices):
            rng = np.random.default_rng(seed)
            samples = [features[stratified_sample(indices, size, rng)] for _ in range(repeats)]
        if len(samples[0]) <= n_classes:
            raise NotApplicableError(
                f"{self.name} compares edges within classes to edges between them, and each of the {len(indices)} rows "
                "has a class of its own; give at least one class a second row"
            )
        measured = []
        for sample in samples:
            persistences = diagram(sample)[:, 1]
            measured.append((persistences[: n_classes - 1].mean(), persistences[n_classes - 1 :].mean()))
        separation, tightness = np.array(measured).T
        if not separation.all():
            raise EvidenceError(
                f"{self.name}: all rows of the features are equal, so that there is no distance to measure"
            )
        ratio = tightness / separation
        return {
            "H_sep": float(separation.mean()),
            "H_tight": float(tightness.mean()),
            "H_ratio": float(ratio.mean()),
            "H_ratio_sd": float(ratio.std(ddof=1)) if len(ratio) > 1 else 0.0,
            self.name: -float(ratio.mean()),
        }

    def _samples(self, n_rows: int, least: int) -> tuple[int, int]:
        """Rows of a sample, and how many samples."""
        limit = n_rows if self.max_rows is None else self.max_rows
        if self.repeats is None and n_rows <= limit:
            return n_rows, 1
        repeats = _REPEATS if self.repeats is None else self.repeats
        size = min(self.sample_rows, limit)
        if n_rows <= size and repeats > 1:
            size = n_rows // 2
        return max(size, least), repeats


_REPEATS = 5


class PersistenceSource(Persistence):
    """The persistence ratio of the features of the *pre-training* data: a property of the model, for any target.

    A network whose source classes are tight and far apart has learned to form such clusters, and may do so again.
    Everything is as in `Persistence`, with the source's features and classes. This is the variant that works in the
    paper: mean Kendall tau 0.656 over nine datasets.

    In short: How tight clusters of its pre-training data are.

    Formula: `-H_tight / H_sep` of the source features, where k is the number of source classes.

    Components: `H_sep`, `H_tight`, `H_ratio` and `H_ratio_sd`, as in `Persistence`.

    Args:
        max_rows: as in `Persistence`.
        sample_rows: as in `Persistence`.
        repeats: as in `Persistence`.
        rows_per_class: a sample has this many rows for each source class, or more.

    Limits: Needs data like those of the pre-training, which the zoo or the user has to provide. A probe has 2,000 rows
    by default, two for each class of ImageNet, where hardly an edge is within a class: a warning says so. Give more,
    for example `source_size=10_000` (`--source-size 10000`). It gives a candidate the same score for all targets, so it
    cannot find the best one for *this* target; and candidates with different source tasks are hardly comparable.

    Code and paper: The paper does not say how many rows of ImageNet it takes.

    - All rows are used up to 5,792; above that, several samples: `repeats=1` for one.
    - A sample has ten rows for each source class or more. With 2,048 rows of ImageNet's 1,000 classes it has two:
      `rows_per_class=1`, for samples (`repeats=1`).

    Source: Gutierrez and Lobel, equation 1.

    >>> import modelselect as ms
    >>> source = {"source_features": [[0.0], [1.0], [5.0], [6.0]], "source_labels": [0, 0, 1, 1]}
    >>> ms.score(None, None, "persistence_source", **source)
    -0.25
    """

    name = "persistence_source"
    requires = frozenset({"source_features", "source_labels"})
    version = 3

    def __init__(
        self,
        max_rows: int | None = 5792,
        sample_rows: int = 2048,
        repeats: int | None = None,
        rows_per_class: int = 10,
    ) -> None:
        super().__init__(max_rows, sample_rows, repeats)
        self.rows_per_class = rows_per_class

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.source_features is not None
        assert evidence.source_labels is not None
        features, labels = labelled_rows(self.name, evidence.source_features, evidence.source_labels)
        n_rows, n_classes = len(labels), len(np.unique(labels))
        if n_classes < n_rows < _FEW_ROWS * n_classes:
            warnings.warn(
                f"the source data have {n_rows} rows of {n_classes} classes, so few of each that hardly an edge is "
                f"within a class; give {_FEW_ROWS} or more of each class: "
                f"source_size={self.rows_per_class * n_classes} (--source-size {self.rows_per_class * n_classes})",
                ScoreWarning,
                stacklevel=2,
            )
        return self._components(features, labels, evidence.seed, self.rows_per_class * n_classes)


_FEW_ROWS = 4  # of a class, below which there is a warning


def diagram(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N - 1, 2) births and deaths of the 0-dimensional persistence diagram of the rows, the most persistent first.

    The filtration is that of Vietoris and Rips: every row is a component from the start, so all births are 0, and a
    component dies at the length of the edge that joins it to another. The component that never dies is left out.

    Args:
        features: (N, D), N of 2 or more.

    Source: Gutierrez and Lobel, section 2.

    >>> diagram(np.array([[0.0], [1.0], [5.0]])).tolist()
    [[0.0, 4.0], [0.0, 1.0]]
    """
    deaths = np.sort(spanning_tree_lengths(features))[::-1]
    return np.stack([np.zeros(len(deaths)), deaths], axis=1)


def plot_diagram(
    points: NDArray[np.floating[Any]], n_classes: int, path: str | os.PathLike[str] | None = None
) -> Figure:
    """A persistence diagram as the paper's figure 1 shows it; the `n_classes - 1` most persistent points stand out.

    Args:
        points: (n, 2) births and deaths, as `diagram` gives them.
        n_classes: number of classes.
        path: a file to save the figure in.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    order = np.argsort(points[:, 0] - points[:, 1], kind="stable")
    gaps, rest = points[order[: n_classes - 1]], points[order[n_classes - 1 :]]
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="birth", ylabel="death", title="Persistence diagram, dimension 0")
    highest = 1.05 * float(points.max(initial=0.0)) or 1.0
    axes.plot([0, highest], [0, highest], color="0.6", linewidth=1)
    axes.scatter(rest[:, 0], rest[:, 1], s=12, alpha=0.5, color="tab:blue", label=f"within clusters ({len(rest)})")
    axes.scatter(gaps[:, 0], gaps[:, 1], s=24, color="tab:orange", label=f"between clusters ({len(gaps)})")
    axes.set(xlim=(-0.05 * highest, highest), ylim=(-0.02 * highest, highest))
    axes.legend(loc="lower right")
    if path is not None:
        figure.savefig(path)
    return figure


_KEPT_NUMBERS = 2**25  # distances held until Prim's algorithm asks for them: 256 MiB in float64; 5,792 rows
_CLEAR = 1e-2  # squared edge, over the squared norm of the farthest row, above which float32 distinguishes edges


def spanning_tree_lengths(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N - 1,) edge lengths of the Euclidean minimum spanning tree of the rows, in no particular order.

    Matrix products only choose the edges; their lengths are computed from differences, so that duplicates are exactly 0
    apart. The products are in float32, at half the cost, unless that gives an edge which is so short beside the spread
    of the rows that rounding may have chosen it; then in float64. (Above that, edges which float32 confuses differ by
    1e-4 at most, and are so few that their sum is right to about 1e-8.)

    >>> sorted(spanning_tree_lengths(np.array([[0.0], [1.0], [1.0], [3.0]])).tolist())
    [0.0, 1.0, 2.0]
    """
    rows = centred(features)
    farthest = float(squared_norms(rows).max(initial=0.0))
    if farthest > 0:
        lengths = _lengths(features, _spanning_tree((rows / np.sqrt(farthest)).astype(np.float32)))
        if np.square(lengths).min(initial=np.inf) >= _CLEAR * farthest:
            return lengths
    return _lengths(features, _spanning_tree(rows))


def _spanning_tree(rows: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """(2, N - 1) the rows that each edge of the minimum spanning tree joins, by Prim's algorithm.

    It needs a row of distances each time it reaches a row. One product of matrices is many times faster than as many of
    matrix and vector, so the distances of the rows nearest to the tree, which it will reach soon, are computed together
    and kept; all at once where there is room for all. Leaves the rows in another order.
    """
    n_rows = len(rows)
    edges = np.empty((2, n_rows - 1), dtype=np.int64)
    # The rows that have not been reached yet are always the first `left` entries of these arrays, in the same order.
    number = np.arange(n_rows)
    norms = squared_norms(rows)
    nearest = np.full(n_rows, np.inf, dtype=rows.dtype)  # squared distance to the tree
    neighbour = np.zeros(n_rows, dtype=np.int64)  # the row of the tree at that distance
    if n_rows * n_rows <= _KEPT_NUMBERS:
        kept = squared_distances(rows, rows, norms, norms)
        slot = np.arange(n_rows)  # where a row's distances are kept
    else:
        kept = np.empty((min(max(_KEPT_NUMBERS // n_rows, 64), n_rows), n_rows), dtype=rows.dtype)
        slot = np.full(n_rows, -1)
    reached = n_rows - 1
    for left in range(n_rows - 1, 0, -1):
        if slot[reached] < 0:
            block = _choose_block(reached, nearest[: left + 1], slot[: left + 1], len(kept))
            distances = squared_distances(rows[block], rows[: left + 1], norms[block], norms[: left + 1])
            kept[slot[block][:, None], number[: left + 1]] = distances
        current, mine = number[reached], kept[slot[reached]]
        for array in (rows, number, norms, nearest, neighbour, slot):
            array[reached] = array[left]
        distances = mine[number[:left]]
        closer = np.flatnonzero(distances < nearest[:left])
        nearest[closer] = distances[closer]
        neighbour[closer] = current
        reached = int(nearest[:left].argmin())
        edges[:, left - 1] = neighbour[reached], number[reached]
    return edges


def _choose_block(
    reached: int, nearest: NDArray[np.floating[Any]], slot: NDArray[np.int64], n_slots: int
) -> NDArray[np.int64]:
    """The row just reached and the next nearest without distances; gives them slots, at the cost of the farthest."""
    without = np.flatnonzero(slot < 0)
    size = min(max(n_slots // 64, 1), 128, len(without))  # few relative to the slots, so that kept distances are used
    urgency = nearest[without]
    urgency[np.searchsorted(without, reached)] = -1
    block = without[np.argpartition(urgency, size - 1)[:size]]
    owners = np.flatnonzero(slot >= 0)
    surplus = len(owners) + size - n_slots
    if surplus > 0:
        farthest = owners[np.argpartition(-nearest[owners], surplus - 1)[:surplus]]
        slot[farthest] = -1
        owners = np.flatnonzero(slot >= 0)
    slot[block] = np.setdiff1d(np.arange(n_slots), slot[owners])[:size]
    return block


def _lengths(features: NDArray[np.floating[Any]], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    lengths = np.empty(edges.shape[1])
    for start in range(0, len(lengths), 1024):
        part = slice(start, start + 1024)
        difference = features[edges[0, part]].astype(np.float64) - features[edges[1, part]]
        lengths[part] = np.sqrt(squared_norms(difference))
    return lengths


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [Persistence(), PersistenceSource()]
