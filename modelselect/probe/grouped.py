"""Rows that are parts of a whole, such as words of a sentence; the wholes are what models read and are trained on."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.probe.labels import GivenLabels, Labels
from modelselect.probe.rows import Rows
from modelselect.probe.sampling import rarest


class GroupedRows(Rows):
    """Rows of which several belong to one whole: a whole is never split between training and held-out rows.

    Args:
        modality: of every input.
        labels: of all rows.
        unit: what a row is.
        groups: (N,) the number of each row's whole, ascending.
    """

    concurrent = False
    groups: NDArray[np.int64]

    def __init__(self, modality: str, labels: Labels | GivenLabels, unit: str, groups: NDArray[np.int64]) -> None:
        super().__init__(modality, labels)
        self.unit = unit
        self.groups = groups

    @abc.abstractmethod
    def whole(self, group: int) -> Any:
        """A whole, as a model gets it."""

    @abc.abstractmethod
    def whole_targets(self, groups: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """(G, ...) the class of each part of these wholes, an index into `labels.names`; -1 for what does not count."""


@dataclass(frozen=True)
class Wholes:
    """The wholes that the rows of a probe are parts of.

    Attributes:
        rows: of the dataset.
        groups: (G,) the numbers of the wholes.
        targets: (G, ...) the class of each part; -1 for what does not count.
        fingerprint: of the rows that they come from.
    """

    rows: GroupedRows
    groups: NDArray[np.int64]
    targets: NDArray[np.int32]
    fingerprint: str

    @classmethod
    def of(cls, rows: GroupedRows, positions: NDArray[np.int64], names: tuple[str, ...], fingerprint: str) -> Wholes:
        """The wholes of some of the rows.

        Args:
            rows: of the dataset.
            positions: of the rows of a probe.
            names: of the probe's classes.
            fingerprint: of the probe.
        """
        groups = np.unique(rows.groups[positions])
        place = {name: index for index, name in enumerate(names)}
        known = np.array([*(place.get(name, -1) for name in rows.labels.names), -1], np.int32)
        return cls(rows, groups, known[rows.whole_targets(groups)], f"{fingerprint} whole")

    def __len__(self) -> int:
        return len(self.targets)

    def item(self, index: int) -> Any:
        """A whole, decoded."""
        return self.rows.whole(int(self.groups[index]))

    def strata(self, classes: int) -> NDArray[np.int64]:
        """(G,) the rarest class in each whole, so that wholes can be split by it; -1 for one without a class."""
        flat = self.targets.reshape(len(self), -1)
        return rarest(np.stack([(flat == label).any(1) for label in range(classes)], axis=1))
