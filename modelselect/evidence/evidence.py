"""What is known of one candidate on one probe: arrays, checked once, and the statistics that estimators share."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import EvidenceError
from modelselect.evidence.checks import (
    checked_groups,
    checked_labels,
    checked_matrix,
    checked_targets,
    freeze,
    kind_of,
    tensor_device,
)
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.statistics import FeatureStatistics
from modelselect.utils.target_kinds import CLASSES

if TYPE_CHECKING:
    import networkx as nx


class Field(NamedTuple):
    """One kind of evidence: what it is, and what to do if it is missing."""

    description: str
    hint: str = ""


FIELDS: Mapping[str, Field] = {
    "features": Field("(N, D) floats: the backbone's features of the probe"),
    "labels": Field(
        "(N,) integers, -1 for unlabelled; or (N, T) floats for numbers and sets of labels, NaN for a label that is "
        "not known",
        "give a labelled dataset",
    ),
    "groups": Field(
        "(N,) integers: the sentence or image that each row is a part of; they come with labels",
        "only words, pixels and boxes are parts of others",
    ),
    "source_probabilities": Field(
        "(N, S) floats: probabilities of the source classes, rows sum to 1",
        "a self-supervised backbone has no source classes",
    ),
    "source_features": Field(
        "(M, D) floats: features of the data it was pre-trained on",
        "give select() a labelled dataset of that kind with source= (--source)",
    ),
    "source_labels": Field(
        "(M,) integers: labels of source_features",
        "give select() a labelled dataset of that kind with source= (--source)",
    ),
    "proxy_features": Field("(N, P) floats: features of the probe by one model, the same for all candidates"),
    "architecture": Field(
        "the architecture's graph, as archi2vec traces it", "the zoo must be able to build the module"
    ),
    "history": Field("the transfer history: results of candidates on other datasets", "record a history of your runs"),
    "metadata": Field("what the zoo knows without loading: parameters, source accuracy, downloads, ..."),
}
"""Every evidence field that an estimator may require."""

ROW_FIELDS = ("features", "labels", "groups", "source_probabilities", "proxy_features")
"""The fields that have one row for each row of the probe."""


def shown_with(names: Iterable[str]) -> frozenset[str]:
    """The fields that an estimator gets if it declares these: `groups` come with `labels`, as `target_kind` does."""
    declared = frozenset(names)
    return declared | {"groups"} if "labels" in declared else declared


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of one candidate on one probe. `Evidence.of` builds and checks it; `Estimator.score` reads it.

    Arrays are read-only views of the given arrays, never copies, so memory-mapped features stay on disk. Only
    estimators that are not shipped get copies.
    The arguments of `Evidence.of` are its attributes; a missing field is None. `seed` is for stochastic estimators;
    `device` is where the shared statistics do their linear algebra. `target_kind` says what the labels are: one of
    `TARGET_KINDS`.
    """

    features: NDArray[np.floating[Any]] | None = None
    labels: NDArray[Any] | None = None
    groups: NDArray[np.int64] | None = None
    source_probabilities: NDArray[np.floating[Any]] | None = None
    source_features: NDArray[np.floating[Any]] | None = None
    source_labels: NDArray[np.int64] | None = None
    proxy_features: NDArray[np.floating[Any]] | None = None
    architecture: nx.DiGraph[Any] | None = None
    history: Any = None
    metadata: Mapping[str, Any] | None = None
    seed: int = 0
    device: str = "cpu"
    target_kind: str = CLASSES
    _memo: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(  # noqa: PLR0913 (one for each field)
        cls,
        *,
        features: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        source_probabilities: ArrayLike | None = None,
        source_features: ArrayLike | None = None,
        source_labels: ArrayLike | None = None,
        proxy_features: ArrayLike | None = None,
        architecture: nx.DiGraph[Any] | None = None,
        history: Any = None,
        metadata: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str | None = None,
        target_kind: str | None = None,
    ) -> Evidence:
        """Checked evidence from arrays, or from torch tensors.

        If `device` is None, linear algebra runs where the features are: on a CUDA device for a tensor on one. If
        `target_kind` is None, labels (N,) are classes, (N, T) of 0 and 1 are sets of labels, and others are numbers.

        Raises:
            EvidenceError: an array has the wrong shape or length, or holds NaN or infinity; the message says which.
        """
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise EvidenceError(f"seed is {seed!r}; expected an integer of 0 or more")
        if not (device is None or isinstance(device, str)):
            raise EvidenceError(
                f"device is of the type {type(device).__name__}; expected a text such as 'cuda', or None"
            )
        matrices = {
            "features": features,
            "source_probabilities": source_probabilities,
            "source_features": source_features,
            "proxy_features": proxy_features,
        }
        checked: dict[str, Any] = {n: checked_matrix(n, array) for n, array in matrices.items() if array is not None}
        targets = None
        if labels is not None:
            if target_kind is None or target_kind == CLASSES:
                targets = checked_labels("labels", labels)
            else:
                targets = checked_targets("labels", labels, target_kind)
        evidence = cls(
            **checked,
            labels=targets,
            groups=None if groups is None else checked_groups(groups),
            target_kind=kind_of(targets) if target_kind is None else target_kind,
            source_labels=None if source_labels is None else checked_labels("source_labels", source_labels),
            architecture=architecture,
            history=history,
            metadata=metadata,
            seed=seed,
            device=device or tensor_device(features),
        )
        evidence._check_lengths()
        return evidence

    @property
    def n_rows(self) -> int:
        """N, the length of any row-aligned field; 0 if there is none."""
        return next((len(a) for a in (getattr(self, name) for name in ROW_FIELDS) if a is not None), 0)

    def has(self, name: str) -> bool:
        """True if the field is there and, for labels, if at least one row is labelled."""
        if name == "labels" and self.labels is not None:
            return bool(self._is_labelled.any())
        return getattr(self, name) is not None

    def restrict(self, names: Iterable[str]) -> Evidence:
        """A view of only these fields. It shares the statistics with every other view of the same rows.

        If `labels` is among the names, `groups` are in the view, too, and unlabelled rows are left out.

        Raises:
            EvidenceError: labels are among the names but hold fewer than two classes.
        """
        wanted = shown_with(names)
        base = self.labelled if "labels" in wanted and self.labels is not None else self
        if base.labels is not None and "labels" in wanted and base.labels.ndim == 1:
            present = np.unique(base.labels)
            if len(present) < 2:
                raise EvidenceError(
                    f"labels hold one class ({present[0]}) in {base.n_rows} labelled rows; expected at least two. Give "
                    "labels of two or more classes."
                )
        left_out: dict[str, Any] = {name: None for name in FIELDS if name not in wanted}
        return replace(base, **left_out)

    def private(self, names: Iterable[str]) -> Evidence:
        """These fields, with the statistics computed so far, as read-only copies: for code that may write to them.

        NumPy keeps nobody from writing to a read-only array: `torch.from_numpy` gives a tensor that shares its memory.
        """
        left_out: dict[str, Any] = {name: None for name in FIELDS if name not in names}
        known = self._memo if "features" in names else {}
        shared = {id(each): each for each in (self.architecture, self.history, self.metadata) if each is not None}
        copies: dict[int, Any] = dict(shared)
        own = copy.deepcopy(replace(self, **left_out, _memo=dict(known)), copies)
        freeze(tuple(copies.values()))
        return own

    @property
    def labelled(self) -> Evidence:
        """The labelled rows; self if all rows are labelled.

        Not kept as an attribute: evidence that refers to itself, and its open file, would wait for the collector.
        """
        if "labelled" not in self._memo:
            if self.labels is None:
                return self
            rows = np.flatnonzero(self._is_labelled)
            if len(rows) == len(self.labels):
                return self
            self._memo["labelled"] = self.take(rows)
        result: Evidence = self._memo["labelled"]
        return result

    @property
    def _is_labelled(self) -> NDArray[np.bool_]:
        """(N,) True for rows with a known class or target."""
        assert self.labels is not None
        known: NDArray[np.bool_] = self.labels >= 0 if self.labels.ndim == 1 else ~np.isnan(self.labels).all(axis=1)
        return known

    def with_labels(self, labels: NDArray[Any], target_kind: str) -> Evidence:
        """The same rows with other labels. Statistics of the features are computed once for both.

        Args:
            labels: (N,) int64, -1 for unlabelled rows; or (N, T) float64.
            target_kind: what they are.
        """
        if self.features is not None:
            self.feature_statistics  # noqa: B018  made here, so that the two share it
        shared = {name: known for name, known in self._memo.items() if name == "features"}
        freeze((labels,))
        return replace(self, labels=labels, target_kind=target_kind, _memo=shared)

    def take(self, rows: NDArray[np.integer[Any]]) -> Evidence:
        """These rows of every row-aligned field, as read-only copies; the other fields unchanged."""
        arrays = {name: getattr(self, name) for name in ROW_FIELDS}
        kept: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
        freeze(tuple(kept.values()))
        return replace(self, **kept, _memo={})

    @property
    def feature_statistics(self) -> FeatureStatistics:
        """Statistics that need only features, each computed once for all estimators."""
        if self.features is None:
            raise EvidenceError("these statistics need features; add 'features' to the estimator's `requires`")
        if "features" not in self._memo:
            self._memo["features"] = FeatureStatistics(self.features, self.device)
        result: FeatureStatistics = self._memo["features"]
        return result

    @property
    def statistics(self) -> ClassStatistics:
        """Statistics that need features and class labels, each computed once for all estimators."""
        if self.labels is None:
            raise EvidenceError("these statistics need labels; add 'labels' to the estimator's `requires`")
        shared = self.feature_statistics
        if "classes" not in self._memo:
            self._memo["classes"] = ClassStatistics(shared, self.labels)
        result: ClassStatistics = self._memo["classes"]
        return result

    def _check_lengths(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ROW_FIELDS if getattr(self, name) is not None}
        if len(set(lengths.values())) > 1:
            described = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise EvidenceError(f"the numbers of rows differ: {described}. Each field needs one row for each sample.")
        if self.source_labels is not None and self.source_features is not None:
            m, n = len(self.source_features), len(self.source_labels)
            if m != n:
                raise EvidenceError(
                    f"source_features has {m} rows and source_labels has {n}; give one label for each row"
                )

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name in FIELDS}
        described = [f"{k}{v.shape}" if isinstance(v, np.ndarray) else k for k, v in shown.items() if v is not None]
        return f"Evidence({', '.join(described)})"
