"""From a candidate and a probe to evidence: features and source probabilities in one forward pass."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError, ModelSelectError, blamed
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.inputs import InputCache
from modelselect.probe.probe import Probe

_LOGGER = logging.getLogger(__name__)

BatchProgress = Callable[[int, int], None]
"""Called with the number of finished rows and the number of all rows."""


class Extractor(abc.ABC):
    """Runs a backbone over a probe on one kind of device.

    Subclass it (or `TorchExtractor`, for a device of torch), and register an instance with
    `modelselect_register_extractors`.

    Attributes:
        name: unique among extractors.
        on_request: whether it runs only candidates of a run that names it (`select(extractor=...)`). The keys of other
            runs do not know of it, so that they keep their results when it is installed.
    """

    name: ClassVar[str]
    on_request: ClassVar[bool] = False

    @property
    def library(self) -> str:
        """Name and version of the library that computes, if it is not torch: a part of the key of every number."""
        return ""

    @abc.abstractmethod
    def supports(self, backbone: Backbone, device: str) -> bool:
        """True if this extractor can run the backbone on the device (`"cpu"`, `"cuda:1"`, ...)."""

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
        """Evidence with `features` (N, D) float32, the probe's `labels`, and the other requested fields.

        Args:
            backbone: in evaluation mode; it is left unchanged.
            probe: N rows.
            fields: requested evidence fields; extractors provide `features` and `source_probabilities`.
            device: as given to `supports`.
            batch_size: the first batch size, halved when memory runs out; None for one that suits device and candidate.
            precision: of the arithmetic, one of `PRECISIONS`; the returned features are always float32.
            compile: whether to compile the module first: this takes some seconds and makes the forward pass faster.
            spool: where prepared inputs are shared between candidates; None prepares them for this call only.
            sink: takes the rows batch by batch; None for arrays in memory.
            progress: called after every batch.

        Raises:
            OutOfMemoryError: not even a single row fits.
            CandidateError: the forward pass raises, or returns something other than (B, D) features.
            EvidenceError: features are not finite.
        """


class Sink(Protocol):
    """Takes an extractor's rows batch by batch, and returns all of them at the end."""

    def append(self, **rows: NDArray[np.float32]) -> None:
        """Adds the next rows, (B, ...) for each evidence field."""
        ...

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        """All rows of each field that was appended."""
        ...


def choose_extractor(
    extractors: Mapping[str, Extractor], backbone: Backbone, device: str, named: str | None = None
) -> Extractor:
    """The extractor of this name or, without a name, the first that supports the backbone on the device.

    One that fails when it is asked supports nothing, which the log says.

    Raises:
        CandidateError: it does not support the backbone on the device, or none does.
        PluginError: the extractor of this name fails when it is asked.
    """
    for extractor in extractors.values():
        if extractor.name == named or (named is None and not extractor.on_request):
            try:
                with blamed(f"the extractor {extractor.name!r} failed: {{}}".format):
                    if extractor.supports(backbone, device):
                        return extractor
            except ModelSelectError as error:
                if named is not None:
                    raise
                _LOGGER.warning("%s; the next extractor is asked", error)
    if named is not None:
        raise CandidateError(
            f"the extractor {named!r} does not run this candidate on {device!r}. Leave out extractor= (--extractor)."
        )
    raise CandidateError(
        f"no extractor runs this candidate on {device!r}; registered: {', '.join(extractors) or 'none'}. "
        "Choose another device, or install a plugin for this device."
    )
