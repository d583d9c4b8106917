"""The energy of the features, ETran's score for data without labels.

M. Gholami, M. Akbari, X. Wang, B. Kamranian, Y. Zhang: ETran: Energy-based transferability estimation, ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.evidence.linear_algebra import chunks_of


class Energy(ms.Estimator):
    """Mean negative free energy of the rows whose energy is highest: how little of the data is new to the network.

    An energy-based model gives a low energy to data like those of its training; the energy of a row is minus the log
    sum exp of its features. The score is the mean of the log sum exp over the rows where it is lowest, which are those
    that fit the network least. It needs no labels.

    In short: How little of the data is new to the network?

    Formula: mean of `log sum exp of the features` over the share of rows with the lowest values, at least one row.

    Args:
        share: the share of the rows that count, above 0 and at most 1.

    Limits: The energy is of features, not of logits, so it depends more on their scale and their width than on their
    fit: compare networks of one family.

    Code and paper: Agrees with the authors' code. Below 200 rows, their default is NaN; here it is that of one row.

    >>> rng = np.random.default_rng(0)
    >>> round(ms.score(rng.normal(size=(100, 8)), None, Energy(share=1.0)), 2)
    2.46
    """

    name = "energy"
    requires = frozenset({"features"})
    citation = (
        "M. Gholami, M. Akbari, X. Wang, B. Kamranian, Y. Zhang: ETran: Energy-based transferability estimation, "
        "ICCV 2023"
    )

    def __init__(self, share: float = 0.005) -> None:
        self.share = share

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if not 0 < self.share <= 1:
            raise InvalidInputError(f"share is {self.share!r}; expected a number above 0 and at most 1")
        features = evidence.feature_statistics.features
        energies = np.empty(len(features))
        for rows, chunk in chunks_of(features):
            largest = chunk.max(axis=1)
            energies[rows] = largest + np.log(np.exp(chunk - largest[:, None]).sum(axis=1))
        counted = max(int(len(energies) * self.share), 1)
        return {self.name: float(np.sort(np.partition(energies, counted - 1)[:counted]).mean())}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [Energy()]
