"""Extraction by ONNX Runtime on the CPU, for runs that ask for it: `select(extractor="onnx")`.

Each network is exported to ONNX first, in less than a second. https://onnxruntime.ai
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect import hookimpl
from modelselect.candidates.backbone import Backbone, Outputs, Preprocessing
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.devices import first_line
from modelselect.extraction.extractor import Extractor
from modelselect.probe.probe import Probe
from modelselect.probe.rows import ARRAY, IMAGE
from modelselect.utils.target_kinds import ROW
from modelselect_plugins.extractors.cpu import CpuExtractor

if TYPE_CHECKING:
    import torch

LARGEST_DIFFERENCE = 1e-4
"""Between features by ONNX Runtime and by torch, relative to the largest feature. Usual is 1e-7 to 1e-5."""

_COMPARED = 3  # rows; the export sees two
_LIBRARIES = ("onnx", "onnxruntime")
_WITHOUT = "Leave out extractor='onnx' (--extractor onnx)."


class OnnxExtractor(CpuExtractor):
    """float32, with layers fused by ONNX Runtime: the faster, the more a network is made of small layers.

    The first rows of every candidate are computed by torch as well. A candidate whose features are others then, or that
    cannot be exported, fails.
    """

    name = "onnx"
    on_request = True
    runs_torch = False

    @cached_property
    def library(self) -> str:
        try:
            return f"onnxruntime {[metadata.version(name) for name in _LIBRARIES][-1]}"
        except metadata.PackageNotFoundError as error:
            raise InvalidInputError(
                f"extractor 'onnx' needs {error.name}, which is not installed. Run: "
                "pip install 'modelselect-automl[onnx]'"
            ) from None

    def extract(
        self,
        backbone: Backbone,
        probe: Probe,
        fields: frozenset[str],
        *,
        precision: str = "float32",
        compile: bool = False,
        **settings: Any,
    ) -> Evidence:
        if precision != "float32" or compile:
            given = "compile=True (--compile)" if compile else f"precision={precision!r} (--precision)"
            raise CandidateError(f"ONNX Runtime computes in float32 and compiles by itself. Leave out {given}.")
        if probe.unit != ROW or probe.modality not in (IMAGE, ARRAY):
            raise CandidateError(f"ONNX Runtime runs networks of whole images only. {_WITHOUT}")
        return super().extract(backbone, probe, fields, **settings)

    def on_device(self, rows: torch.Tensor, preprocessing: Preprocessing, device: str) -> torch.Tensor:
        return preprocessing.finish(rows)

    def reader(self, backbone: Backbone, compile: bool) -> Callable[[torch.Tensor], Outputs]:
        exported: Callable[[torch.Tensor], Outputs] | None = None

        def read(batch: torch.Tensor) -> Outputs:
            nonlocal exported
            if exported is None:
                exported = _exported(backbone, batch)
            return exported(batch)

        return read


def _exported(backbone: Backbone, batch: torch.Tensor) -> Callable[[torch.Tensor], Outputs]:
    """The reader by ONNX Runtime, after a comparison with that by torch.

    Raises:
        CandidateError: the network cannot be exported, or its features are others.
    """
    import onnxruntime  # type: ignore[import-untyped]
    import torch

    first = batch[torch.arange(_COMPARED) % len(batch)].contiguous()
    if first.dim() != 4:
        raise CandidateError(f"ONNX Runtime runs networks of images only. {_WITHOUT}")
    expected = backbone.read(backbone.module, first)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3

    def read(rows: torch.Tensor) -> Outputs:
        arrays = session.run(None, {"rows": rows.contiguous().numpy()})
        features, *logits = map(torch.from_numpy, arrays)
        return Outputs(features, logits[0] if logits else None)

    try:
        with tempfile.TemporaryDirectory() as folder:
            network = str(Path(folder) / "network.onnx")
            _export(backbone, first[:2], network)
            session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        given = read(first)
    except Exception as error:
        raise CandidateError(f"the network cannot be exported to ONNX ({first_line(error)}). {_WITHOUT}") from error
    for own, others in zip(given, expected, strict=True):
        if own is None or others is None:
            continue
        apart = float((own - others).abs().max()) if own.shape == others.shape else np.inf
        if not apart <= LARGEST_DIFFERENCE * float(others.abs().max()):
            raise CandidateError(f"the network gives other features as ONNX than in torch. {_WITHOUT}")
    return read


def _export(backbone: Backbone, rows: torch.Tensor, path: str) -> None:
    """Writes the network as ONNX, for any number of rows."""
    import torch

    class Reading(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = backbone.module

        def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(each for each in backbone.read(self.module, batch) if each is not None)

    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every branch; the result is compared
        torch.onnx.export(
            Reading().eval(),
            (rows.clone(),),
            path,
            dynamo=False,  # the newer exporter takes 2 to 8 seconds
            input_names=["rows"],
            dynamic_axes={"rows": {0: "n"}},
        )


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [OnnxExtractor()]
