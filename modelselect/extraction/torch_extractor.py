"""An extractor for torch modules: finds a batch size that fits, and checks features as they arrive."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone, Outputs, Preprocessing
from modelselect.candidates.modules import alone_with, device_of, in_evaluation_mode
from modelselect.errors import CandidateError, OutOfMemoryError
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.devices import arithmetic, first_line, is_out_of_memory
from modelselect.extraction.extractor import BatchProgress, Extractor, Sink
from modelselect.extraction.inputs import InputCache
from modelselect.probe.probe import Probe

if TYPE_CHECKING:
    import torch

DEFAULT_BATCH_SIZE = 64
"""Rows in one forward pass, unless memory runs out; fewer on a CPU if rows are large."""


_READY: ContextVar[tuple[int, int, str, str] | None] = ContextVar("_READY", default=None)
"""Extractor, module, device and precision of the `ready` context that this thread is in."""


class TorchExtractor(Extractor):
    """The forward pass on a torch device. Subclasses define the device and how batches are moved to and from it.

    Attributes:
        in_flight: batches in progress at once: 2 if the device computes while the next batch is sent.
        runs_torch: False if something else runs the layers, whose time and memory torch does not see.
    """

    in_flight: ClassVar[int] = 1
    runs_torch: ClassVar[bool] = True

    def __init__(self) -> None:
        self._fitting: dict[str, int] = {}  # by candidate, the batch size that fitted where the given one did not

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
        under_way: deque[_Rows] = deque()
        widths: dict[str, int] = {}
        begun = done = 0
        with contextlib.ExitStack() as stack:
            inputs = stack.enter_context((spool or InputCache(None)).opened(probe, backbone.preprocessing))
            sink = sink or _Memory(len(inputs))
            stack.enter_context(self.ready(backbone.module, device, precision))
            read = self.reader(backbone, compile)
            size = batch_size or self.suitable_batch_size(inputs[0:1])
            size = min(size, self._fitting.get(backbone.candidate.id, size))
            while done < len(inputs):
                if begun < len(inputs) and len(under_way) < self.in_flight:
                    rows = inputs[begun : begun + size]
                    try:
                        batch = self.on_device(rows, backbone.preprocessing, device)
                        under_way.append(self.from_device(_checked(read(batch), len(rows), fields)))
                        begun += len(rows)
                        continue
                    except Exception as error:
                        if not is_out_of_memory(error):
                            raise _as_candidate_error(error) from error
                        size = self._smaller(backbone, size, error)
                if under_way:
                    arrived = under_way.popleft()()
                    _check_widths(widths, arrived)
                    sink.append(**arrived)
                    done += len(arrived["features"])
                    if progress:
                        progress(done, len(inputs))
        arrays = sink.arrays()
        return Evidence.of(
            features=arrays["features"],
            labels=probe.labels,
            source_probabilities=arrays.get("source_probabilities"),
        )

    @contextlib.contextmanager
    def ready(self, module: torch.nn.Module, device: str, precision: str) -> Iterator[None]:
        """All that a forward pass of the module needs: inference mode, `session` and the arithmetic of this precision.

        Within another such context of the same module, it changes nothing, so that several passes can share a session.
        """
        import torch

        this = id(self), id(module), device, precision
        if _READY.get() == this:
            yield
            return
        token = _READY.set(this)
        try:
            with torch.inference_mode(), self.session(module, device), arithmetic(precision, device):
                yield
        finally:
            _READY.reset(token)

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        """The module on the device, in evaluation mode and channels-last; modes and device are restored afterwards.

        A module that may have to move is in one session at a time.
        """
        import torch

        with contextlib.nullcontext() if device == "cpu" else alone_with(module), in_evaluation_mode(module):
            home = device_of(module)
            try:
                with torch.inference_mode(False):  # weights copied in inference mode could not be trained any more
                    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
                yield
            finally:
                with torch.inference_mode(False):
                    module.to(home)

    def suitable_batch_size(self, row: torch.Tensor) -> int:
        """Rows in one forward pass, if the user gave no number; `row` is a prepared batch of one row."""
        return DEFAULT_BATCH_SIZE

    def on_device(self, rows: torch.Tensor, preprocessing: Preprocessing, device: str) -> torch.Tensor:
        """Prepared rows on the device, in the form that the module takes."""
        import torch

        batch = preprocessing.finish(self.to_device(rows, device))
        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch

    def to_device(self, rows: torch.Tensor, device: str) -> torch.Tensor:
        return rows.to(device)

    def from_device(self, tensors: Mapping[str, torch.Tensor]) -> _Rows:
        """A function that waits for these tensors and returns them as arrays."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return lambda: arrays

    def reader(self, backbone: Backbone, compile: bool) -> Callable[[torch.Tensor], Outputs]:
        """The function that turns a batch into features and logits."""
        import torch

        def read(batch: torch.Tensor) -> Outputs:
            return backbone.read(backbone.module, batch)

        return torch.compile(read) if compile else read

    def _smaller(self, backbone: Backbone, size: int, error: Exception) -> int:
        import torch

        if size == 1:
            raise OutOfMemoryError(
                f"a single row does not fit into memory ({first_line(error)}). Use a smaller input size, a smaller "
                "candidate, or a device with more memory."
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._fitting[backbone.candidate.id] = size // 2
        return size // 2


_Rows = Callable[[], Mapping[str, "NDArray[np.float32]"]]


class _Memory:
    """Keeps rows in memory, in preallocated arrays."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._filled: dict[str, int] = {}
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def append(self, **rows: NDArray[np.float32]) -> None:
        for name, batch in rows.items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._total, *batch.shape[1:]), np.float32)
            begin = self._filled.get(name, 0)
            self._arrays[name][begin : begin + len(batch)] = batch
            self._filled[name] = begin + len(batch)

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        return self._arrays


def _checked(outputs: Outputs, rows: int, fields: frozenset[str]) -> dict[str, torch.Tensor]:
    """Features and source probabilities as float32, checked to have this number of rows."""
    features, logits = outputs
    for name, given in (("features", features), ("logits", logits)):
        if given is None:
            continue
        if given.dim() != 2 or len(given) != rows:
            raise CandidateError(
                f"{name} of {rows} rows have shape {tuple(given.shape)}; expected ({rows}, dimensions)"
            )
        if given.is_complex():
            raise CandidateError(f"{name} are complex numbers; expected real numbers")
    tensors = {"features": features.float()}
    if "source_probabilities" in fields and logits is not None and logits.shape[1] > 1:
        tensors["source_probabilities"] = logits.double().softmax(1).float()
    return tensors


def _check_widths(widths: dict[str, int], arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Raises unless every batch has the fields and widths of the first; `widths` keeps those of the first."""
    if widths and widths.keys() != arrays.keys():
        raise CandidateError(
            f"the first batch has {' and '.join(sorted(widths))}, but another has {' and '.join(sorted(arrays))}; "
            "expected the same fields in every batch"
        )
    for name, rows in arrays.items():
        if widths.setdefault(name, rows.shape[1]) != rows.shape[1]:
            raise CandidateError(
                f"{name} have {widths[name]} dimensions in one batch and {rows.shape[1]} in another; expected the same "
                "for every row"
            )


def _as_candidate_error(error: Exception) -> CandidateError:
    if isinstance(error, CandidateError):
        return error
    return CandidateError(f"the forward pass raised {type(error).__name__}: {first_line(error)}")
