"""Candidate and probe in, evidence out: features and source probabilities in one forward pass."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.inputs import InputCache
from modelselect.probe.probe import Probe

BatchProgress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""


class Extractor(abc.ABC):
    """Runs a backbone over a probe on one kind of device.

    Subclass it (`TorchExtractor` where the device is one of torch's), and register an instance with
    `modelselect_register_extractors`.

    Attributes:
        name: unique among extractors.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def supports(self, backbone: Backbone, device: str) -> bool:
        """True if it can run this backbone on this device (`"cpu"`, `"cuda:1"`, ...)."""

    @abc.abstractmethod
    def extract(  # noqa: PLR0913 (the contract of plugins)
        self,
        backbone: Backbone,
        probe: Probe,
        fields: frozenset[str],
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        precision: str = "float32",
        compile: bool = False,
        spool: InputCache | None = None,
        sink: Sink | None = None,
        progress: BatchProgress | None = None,
    ) -> Evidence:
        """Evidence with `features` (N, D) float32, the probe's `labels`, and what else `fields` asks for.

        Args:
            backbone: in evaluation mode; it comes back as it was.
            probe: N rows.
            fields: evidence fields wanted; of these it gives `features` and `source_probabilities`.
            device: as given to `supports`.
            batch_size: to begin with, halved when memory runs out; None: what suits device and candidate.
            precision: of the arithmetic, one of `PRECISIONS`; features are float32 in any case.
            compile: whether to compile the module first: some seconds, for a faster forward pass.
            spool: where prepared inputs are shared between candidates; None prepares them for this call alone.
            sink: where the rows go batch by batch; None: arrays in memory.
            progress: told after every batch.

        Raises:
            OutOfMemoryError: not even one row fits.
            CandidateError: the forward pass raises, or gives something that is not (B, D) features.
            EvidenceError: features are not finite.
        """


class Sink(Protocol):
    """Where an extractor's rows go, batch by batch, and where they can be read once all are there."""

    def append(self, **rows: NDArray[np.float32]) -> None:
        """The next rows, (B, ...) for each evidence field."""
        ...

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        """All rows of each field that was appended."""
        ...


def choose_extractor(extractors: dict[str, Extractor], backbone: Backbone, device: str) -> Extractor:
    """The first extractor that supports the backbone on the device."""
    for extractor in extractors.values():
        if extractor.supports(backbone, device):
            return extractor
    raise CandidateError(
        f"no extractor runs it on {device!r}; registered: {', '.join(extractors) or 'none'}. "
        "Choose another device or install a plugin for this one."
    )
