"""One forward pass for several candidates: layers of one model, whose features come next to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Outputs, ReaderOfSeveral
from modelselect.extraction.extractor import Sink

if TYPE_CHECKING:
    import torch


@dataclass
class Joined:
    """A reader whose features are those of several candidates, one after the other; the logits are the last one's.

    Attributes:
        read: gives the outputs of each.
        widths: dimensions of the features of each; known after the first batch.
    """

    read: ReaderOfSeveral
    widths: list[int] = field(default_factory=list)

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        import torch

        found = self.read(module, batch)
        self.widths[:] = [each.features.shape[1] for each in found]
        return Outputs(torch.cat([each.features for each in found], 1), found[-1].logits)


class Divided:
    """A sink that divides joined features among one sink for each candidate.

    Args:
        joined: the reader of the pass.
        sinks: one for each candidate, in the reader's order. Other fields than features go to the last.
    """

    def __init__(self, joined: Joined, sinks: Sequence[Sink]) -> None:
        self._joined, self._sinks = joined, sinks

    def append(self, **rows: NDArray[np.float32]) -> None:
        features = rows.pop("features")
        ends = np.cumsum(self._joined.widths)[:-1]
        for sink, part in zip(self._sinks, np.split(features, ends, axis=1), strict=True):
            sink.append(features=part)
        if rows:
            self._sinks[-1].append(**rows)

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        """The arrays of the last candidate."""
        return self._sinks[-1].arrays()
