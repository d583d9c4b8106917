"""Candidate and probe in, evidence out: features and source probabilities in one forward pass.

Decoding is the dear part of small networks, so every image is decoded and resized once per distinct preprocessing
(`InputSpool`), not once per candidate.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import CandidateError, InvalidInputError, OutOfMemoryError, StoreError
from modelselect.store import is_running

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Backbone, Preprocessing
    from modelselect.evidence import Evidence
    from modelselect.probe import Probe

DEFAULT_BATCH_SIZE = 64
"""Rows in one forward pass, until memory says otherwise."""

NUMERIC_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "numpy", "pillow", "modelselect-automl")
"""What changes features when its version changes: part of every evidence's identity."""

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
    def extract(
        self,
        backbone: Backbone,
        probe: Probe,
        fields: frozenset[str],
        *,
        device: str = "cpu",
        batch_size: int = DEFAULT_BATCH_SIZE,
        spool: InputSpool | None = None,
        progress: BatchProgress | None = None,
    ) -> Evidence:
        """Evidence with `features` (N, D) float32, the probe's `labels`, and what else `fields` asks for.

        Args:
            backbone: in evaluation mode; it comes back as it was.
            probe: N rows.
            fields: evidence fields wanted; of these it gives `features` and `source_probabilities`.
            device: as given to `supports`.
            batch_size: to begin with; halved when memory runs out.
            spool: where prepared inputs are shared between candidates; None prepares them for this call alone.
            progress: told after every batch.

        Raises:
            OutOfMemoryError: not even one row fits.
            CandidateError: the forward pass raises, or gives something that is not (B, D) features.
        """


class TorchExtractor(Extractor):
    """The forward pass over a torch device; subclasses say which, and how batches get there."""

    def __init__(self) -> None:
        self._fitting: dict[str, int] = {}  # batch size that fitted, by candidate, where the wanted one did not

    def extract(
        self,
        backbone: Backbone,
        probe: Probe,
        fields: frozenset[str],
        *,
        device: str = "cpu",
        batch_size: int = DEFAULT_BATCH_SIZE,
        spool: InputSpool | None = None,
        progress: BatchProgress | None = None,
    ) -> Evidence:
        import torch

        from modelselect.evidence import Evidence

        inputs = (spool or InputSpool(None)).prepared(probe, backbone.preprocessing)
        size = min(batch_size, self._fitting.get(backbone.candidate.id, batch_size))
        sink = _Sink(len(inputs), want_probabilities="source_probabilities" in fields)
        module = backbone.module
        with torch.inference_mode(), self.session(module, device):
            while sink.rows < len(inputs):
                rows = inputs[sink.rows : sink.rows + size]
                try:
                    batch = backbone.preprocessing.finish(self.to_device(rows, device))
                    outputs = self.forward(backbone, batch)
                    sink.add(outputs.features, outputs.logits)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise _as_candidate_error(error) from error
                    size = self._smaller(backbone, size, error)
                    continue
                if progress:
                    progress(sink.rows, len(inputs))
        return Evidence.of(features=sink.features, labels=probe.labels, source_probabilities=sink.probabilities)

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        """The module on the device, in evaluation mode and channels-last; as it was afterwards."""
        import torch

        training = module.training
        module.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            yield
        finally:
            module.train(training).to("cpu")

    def to_device(self, rows: torch.Tensor, device: str) -> torch.Tensor:
        return rows.to(device)

    def forward(self, backbone: Backbone, batch: torch.Tensor) -> Any:
        import torch

        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return backbone.read(backbone.module, batch)

    def _smaller(self, backbone: Backbone, size: int, error: Exception) -> int:
        import torch

        if size == 1:
            raise OutOfMemoryError(
                f"one row alone does not fit into memory ({_first_line(error)}). Use a smaller input size, a smaller "
                "candidate, or a device with more memory."
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._fitting[backbone.candidate.id] = size // 2
        return size // 2


@dataclass
class _Sink:
    """Grows features and source probabilities batch by batch in arrays that are allocated once."""

    total: int
    want_probabilities: bool
    rows: int = 0
    features: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    probabilities: NDArray[np.float32] | None = None

    def add(self, features: torch.Tensor, logits: torch.Tensor | None) -> None:
        if features.dim() != 2:
            raise CandidateError(f"features have shape {tuple(features.shape)}; expected (batch, dimensions)")
        if self.rows == 0:
            self.features = np.empty((self.total, features.shape[1]), np.float32)
            if self.want_probabilities and logits is not None and logits.shape[1] > 1:
                self.probabilities = np.empty((self.total, logits.shape[1]), np.float32)
        end = self.rows + len(features)
        self.features[self.rows : end] = features.float().cpu().numpy()
        if self.probabilities is not None and logits is not None:
            self.probabilities[self.rows : end] = logits.double().softmax(1).float().cpu().numpy()
        self.rows = end


class InputSpool:
    """Prepared inputs, shared by every candidate with the same preprocessing, in a folder that ends with the run.

    Arrays are memory-mapped, so that what is prepared once is held once, also by several worker processes.

    Args:
        folder: where; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, parent: Path) -> Iterator[InputSpool]:
        """A spool under `parent` that is removed at the end; what killed runs left there is removed at the start."""
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for left in parent.iterdir():
                owner = left.name.split("-")[0]
                if owner.isdigit() and not is_running(int(owner)):
                    shutil.rmtree(left, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        except OSError as error:
            raise StoreError(
                f"cannot write to {str(parent)!r} ({error.strerror}). Name a folder that can be written with "
                "cache_dir= (--cache-dir), or with the environment variable MODELSELECT_CACHE."
            ) from error
        try:
            yield cls(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def prepared(self, probe: Probe, preprocessing: Preprocessing) -> torch.Tensor:
        """(N, ...) the probe's rows after `preprocessing.prepare`: read from the spool, or made and kept there."""
        import torch

        if self.folder is None:
            return torch.from_numpy(_prepare(probe, preprocessing, None))
        name = hashlib.sha256(f"{probe.fingerprint}\0{preprocessing.key}".encode()).hexdigest()
        path = self.folder / f"{name}.npy"
        if not path.exists():
            partial = self.folder / f"{name}.{os.getpid()}.partial"
            _prepare(probe, preprocessing, partial)
            partial.replace(path)
        # Copy-on-write: torch wants writable memory, and nobody's writes may reach the file.
        return torch.from_numpy(np.load(path, mmap_mode="c"))


def _prepare(probe: Probe, preprocessing: Preprocessing, path: Path | None) -> NDArray[Any]:
    first = preprocessing.prepare(probe.item(0))
    shape = (len(probe), *first.shape)
    dtype = first.numpy().dtype
    if path is None:
        array = np.empty(shape, dtype)
    else:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def fill(index: int) -> None:
        tensor = preprocessing.prepare(probe.item(index)) if index else first
        if tensor.shape != first.shape:
            raise CandidateError(
                f"its preprocessing gives tensors of different shapes: {tuple(first.shape)} for row 0 and "
                f"{tuple(tensor.shape)} for row {index}. Give a preprocessing that resizes to one size."
            )
        array[index] = tensor.numpy()

    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as threads:  # decoding leaves the interpreter lock
        for _ in threads.map(fill, range(len(probe))):
            pass
    if isinstance(array, np.memmap):
        array.flush()
    return array


def choose_device(device: str) -> str:
    """`"auto"` -> `"cuda"` where torch sees one, else `"cpu"`; anything else is checked and returned.

    Raises:
        InvalidInputError: torch does not know the device, or does not have it here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except Exception as error:
        raise InvalidInputError(
            f"device {device!r} cannot be used here ({_first_line(error)}). Expected 'auto', 'cpu', 'cuda' or 'cuda:N'."
        ) from None
    return device


def choose_extractor(extractors: dict[str, Extractor], backbone: Backbone, device: str) -> Extractor:
    """The first extractor that supports the backbone on the device."""
    for extractor in extractors.values():
        if extractor.supports(backbone, device):
            return extractor
    raise CandidateError(
        f"no extractor runs it on {device!r}; registered: {', '.join(extractors) or 'none'}. "
        "Choose another device or install a plugin for this one."
    )


@functools.cache
def numeric_versions() -> dict[str, str]:
    """Installed versions of what features depend on."""
    versions = {}
    for library in NUMERIC_LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    return versions


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch raises when a device, or the machine, has no memory left."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _as_candidate_error(error: Exception) -> CandidateError:
    if isinstance(error, CandidateError):
        return error
    return CandidateError(f"its forward pass raised {type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
