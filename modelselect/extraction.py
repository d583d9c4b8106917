"""Candidate and probe in, evidence out: features and source probabilities in one forward pass.

Decoding is the dear part of small networks, so every image is decoded and resized once per distinct preprocessing
(`InputSpool`), not once per candidate, as long as there is room for the result.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import functools
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from modelselect.backbone import device_of, in_evaluation_mode
from modelselect.errors import CandidateError, InvalidInputError, OutOfMemoryError
from modelselect.machine import is_abandoned, owned_name, usable_cores
from modelselect.store import explained

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Backbone, Preprocessing
    from modelselect.evidence import Evidence
    from modelselect.probe import Probe

DEFAULT_BATCH_SIZE = 64
"""Rows in one forward pass, until memory says otherwise."""

NUMERIC_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "numpy", "pillow", "modelselect-automl")
"""What changes features when its version changes: part of every evidence's identity."""

SCORE_LIBRARIES = (*NUMERIC_LIBRARIES, "scipy", "scikit-learn")
"""What changes scores when its version changes."""

ALL_LIBRARIES = (*SCORE_LIBRARIES, "gensim", "networkx", "datasets", "huggingface_hub")
"""What is written down of an installation on a leaderboard."""

SPOOL_LIMIT = 20_000_000_000
"""Bytes of prepared inputs on disk, at most; less where that is more than half of what is free when a run begins."""

MEMORY_LIMIT = 2_000_000_000
"""Bytes of prepared inputs in memory, where there is no folder to spool them to: at most this."""

_CHUNK = 1 << 20

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
                    sink.add(outputs.features, outputs.logits, len(rows))
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
        """The module on the device, in evaluation mode and channels-last; in its modes and back home afterwards."""
        import torch

        home = device_of(module)
        with in_evaluation_mode(module):
            try:
                with torch.inference_mode(False):  # weights copied in inference mode could never be trained again
                    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
                yield
            finally:
                with torch.inference_mode(False):
                    module.to(home)

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

    def add(self, features: torch.Tensor, logits: torch.Tensor | None, rows: int) -> None:
        for name, given in (("features", features), ("logits", logits)):
            if given is None:
                continue
            if given.dim() != 2 or len(given) != rows:
                raise CandidateError(
                    f"{name} of {rows} rows have shape {tuple(given.shape)}; expected ({rows}, dimensions)"
                )
            if given.is_complex():
                raise CandidateError(f"{name} are complex numbers; expected real ones")
        if self.rows == 0:
            self.features = np.empty((self.total, features.shape[1]), np.float32)
            if self.want_probabilities and logits is not None and logits.shape[1] > 1:
                self.probabilities = np.empty((self.total, logits.shape[1]), np.float32)
        end = self.rows + len(features)
        self.features[self.rows : end] = features.float().cpu().numpy()
        if self.probabilities is not None and logits is not None:
            self.probabilities[self.rows : end] = logits.double().softmax(1).float().cpu().numpy()
        self.rows = end


class Inputs(Protocol):
    """(N, ...) prepared inputs: a tensor, or what makes one of the rows that are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | torch.Tensor, /) -> torch.Tensor: ...


class InputSpool:
    """Prepared inputs, shared by every candidate with the same preprocessing, in a folder that ends with the run.

    Arrays are memory-mapped, so that what is prepared once is held once, also by several worker processes. When there
    is no room for a new one, those that have not been used for longest go; what would not fit alone is never kept.

    Args:
        folder: where; None keeps inputs in memory, and only as long as they are used.
        limit: bytes that all arrays may take together; by default SPOOL_LIMIT, or MEMORY_LIMIT without a folder.
    """

    def __init__(self, folder: Path | None, limit: int | None = None) -> None:
        self.folder = folder
        self.limit = limit if limit is not None else MEMORY_LIMIT if folder is None else SPOOL_LIMIT

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, parent: Path) -> Iterator[InputSpool]:
        """A spool under `parent` that is removed at the end; what killed runs left there is removed at the start."""
        with explained(f"the spool in {parent}", "written"):
            parent.mkdir(parents=True, exist_ok=True)
            for left in filter(is_abandoned, parent.iterdir()):
                shutil.rmtree(left, ignore_errors=True)
            folder = parent / owned_name()
            folder.mkdir(mode=0o700)
            limit = min(SPOOL_LIMIT, shutil.disk_usage(folder).free // 2)
        try:
            yield cls(folder, limit)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def prepared(self, probe: Probe, preprocessing: Preprocessing) -> Inputs:
        """The probe's rows after `preprocessing.prepare`: read from the spool, made and kept there, or made on demand.

        Raises:
            StoreError: the folder cannot be written, or its disk is full.
            CandidateError: the preprocessing gives tensors of different shapes. (Made on demand: when a batch is asked
                for.)
        """
        if self.folder is None:
            inputs = _OnDemand(probe, preprocessing)
            return inputs if inputs.nbytes > self.limit else inputs[:]
        name = hashlib.sha256(f"{probe.fingerprint}\0{preprocessing.key}".encode()).hexdigest()
        path = self.folder / f"{name}.npy"
        kept = self._kept(path)
        if kept is not None:
            return kept
        inputs = _OnDemand(probe, preprocessing)
        return inputs if inputs.nbytes > self.limit else self._keep(path, inputs)

    def _kept(self, path: Path) -> torch.Tensor | None:
        import torch

        try:
            array = np.load(path, mmap_mode="c")  # copy-on-write: torch wants to write, and nothing may reach the file
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # used now: neither the next to go, nor abandoned
            os.utime(path)
            os.utime(path.parent)
        return torch.from_numpy(array)

    def _keep(self, path: Path, inputs: _OnDemand) -> torch.Tensor:
        """One process prepares at a time, with all cores; who waited for the same inputs finds them."""
        from filelock import FileLock

        with contextlib.ExitStack() as stack:
            with self._explained():
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(path.with_name("lock"), thread_local=False))
            kept = self._kept(path)
            if kept is None:
                self._prepare(path, inputs)
                kept = self._kept(path)
        assert kept is not None
        return kept

    def _prepare(self, path: Path, inputs: _OnDemand) -> None:
        partial = path.with_suffix(".partial")
        try:
            with self._explained():
                self._make_room(path.parent, inputs.nbytes)
                array = _reserved(partial, inputs.shape, inputs.dtype)
            inputs.write(range(len(inputs)), array)
            with self._explained():
                array.flush()
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, folder: Path, wanted: int) -> None:
        for partial in folder.glob("*.partial"):  # whoever made it had the lock, and was killed
            partial.unlink()
        kept = sorted(((path.stat(), path) for path in folder.glob("*.npy")), key=lambda pair: pair[0].st_mtime_ns)
        total = sum(stat.st_size for stat, _ in kept)
        for stat, path in kept:
            if total + wanted <= self.limit:
                break
            path.unlink()  # who has it mapped keeps it until the end of the candidate
            total -= stat.st_size

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return explained(f"the spool in {self.folder}", "written")


class _OnDemand:
    """A probe's inputs, prepared when they are asked for and not kept. Holds the first, which tells shape and dtype."""

    def __init__(self, probe: Probe, preprocessing: Preprocessing) -> None:
        self.probe, self.preprocessing = probe, preprocessing
        self.first = preprocessing.prepare(probe.item(0)).numpy()

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.first.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.first.dtype

    @property
    def nbytes(self) -> int:
        return len(self) * self.first.nbytes

    def __len__(self) -> int:
        return len(self.probe)

    def __getitem__(self, rows: slice | torch.Tensor, /) -> torch.Tensor:
        import torch

        indices = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        array = np.empty((len(indices), *self.first.shape), self.dtype)
        self.write(indices, array)
        return torch.from_numpy(array)

    def write(self, indices: Sequence[int], array: NDArray[Any]) -> None:
        """The rows of these indices into the rows of `array`, in the same order."""

        def fill(place: int, index: int) -> None:
            row = self.preprocessing.prepare(self.probe.item(index)).numpy() if index else self.first
            if row.shape != self.first.shape:
                raise CandidateError(
                    f"its preprocessing gives tensors of different shapes: {self.first.shape} for row 0 and "
                    f"{row.shape} for row {index}. Give a preprocessing that resizes to one size."
                )
            array[place] = row

        with ThreadPoolExecutor(max(2, usable_cores())) as threads:  # decoding leaves the interpreter lock
            for _ in threads.map(fill, range(len(indices)), indices):
                pass


def _reserved(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    """A new mapped array whose space on the disk is taken already.

    Otherwise its file would have holes, and a write that finds the disk full would kill the process (SIGBUS).
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        _reserve(file, array.offset, array.nbytes)
    return array


def _reserve(file: BinaryIO, start: int, size: int) -> None:
    try:
        os.posix_fallocate(file.fileno(), start, size)
    except (AttributeError, OSError) as error:  # not every operating system and not every file system can
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        file.seek(start)
        for left in range(size, 0, -_CHUNK):
            file.write(bytes(min(_CHUNK, left)))


def choose_device(device: str, extractors: Collection[str] = ()) -> str:
    """`"auto"` -> `"cuda"` where torch sees one, else `"cpu"`; anything else is checked and returned.

    Args:
        device: as the caller gave it.
        extractors: names of the registered ones. A kind of device that torch does not know passes if one is called
            like it: `"tpu:0"` where there is an extractor `tpu`. Whether it runs a backbone there, it says itself.

    Raises:
        InvalidInputError: nobody knows the device, or torch does not have it here.
    """
    import torch

    device = str(device)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError:
        if device.split(":")[0] in extractors:
            return device
    try:
        torch.empty(0, device=device)
    except Exception as error:
        raise InvalidInputError(
            f"device {device!r} cannot be used here ({_first_line(error)}). Expected 'auto', 'cpu', 'cuda', 'cuda:N', "
            f"or a device that an extractor is called after (registered: {', '.join(extractors) or 'none'})."
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
def numeric_versions(libraries: tuple[str, ...] = NUMERIC_LIBRARIES) -> dict[str, str]:
    """Installed versions of what features depend on, or of other libraries."""
    versions = {}
    for library in libraries:
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
