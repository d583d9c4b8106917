"""Inputs of contrastive fine-tuning: a row is a pair of a query and a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelselect.extraction.inputs import Inputs

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pairs:
    """P pairs of prepared inputs. B of them are (2 B, ...): the queries, and then their documents.

    Attributes:
        inputs: (N, ...) prepared queries and documents.
        queries: (P,) their places in `inputs`.
        documents: (P,) theirs.
    """

    inputs: Inputs
    queries: NDArray[np.int64]
    documents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, rows: slice | torch.Tensor, /) -> torch.Tensor:
        import torch

        places = np.concatenate([each[rows if isinstance(rows, slice) else rows.numpy()] for each in self._sides])
        return self.inputs[torch.from_numpy(places)]

    @property
    def texts(self) -> NDArray[np.int64]:
        """Places of all inputs that are in a pair, ascending, each once."""
        return np.unique(np.concatenate(self._sides))

    @property
    def _sides(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.queries, self.documents


@dataclass(frozen=True)
class Embedded:
    """Features of some inputs, found by the places of these inputs.

    Attributes:
        features: (M, D).
        places: (M,) ascending.
    """

    features: torch.Tensor
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice | torch.Tensor, /) -> torch.Tensor:
        import torch

        if isinstance(rows, slice):
            return self.features[rows]
        return self.features[torch.from_numpy(np.searchsorted(self.places, rows.numpy()))]
