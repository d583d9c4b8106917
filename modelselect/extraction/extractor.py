"""Candidate and probe in, evidence out: features and source probabilities in one forward pass."""

from __future__ import annotations

import abc
import contextlib
import functools
import importlib.metadata
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from modelselect.backbone import device_of, in_evaluation_mode
from modelselect.errors import CandidateError, InvalidInputError, OutOfMemoryError
from modelselect.spool import InputSpool

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Backbone, Outputs, Preprocessing
    from modelselect.evidence import Evidence
    from modelselect.probe import Probe

DEFAULT_BATCH_SIZE = 64
"""Rows in one forward pass, until memory says otherwise; on a processor fewer, where rows are large."""

NUMERIC_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "numpy", "pillow", "modelselect-automl")
"""What changes features when its version changes: part of every evidence's identity."""

SCORE_LIBRARIES = (*NUMERIC_LIBRARIES, "scipy", "scikit-learn")
"""What changes scores when its version changes."""

ALL_LIBRARIES = (*SCORE_LIBRARIES, "gensim", "networkx", "datasets", "huggingface_hub")
"""What is written down of an installation on a leaderboard."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""What `precision` may be."""

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
        batch_size: int | None = None,
        precision: str = "float32",
        compile: bool = False,
        spool: InputSpool | None = None,
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


class TorchExtractor(Extractor):
    """The forward pass over a torch device; subclasses say which, and how batches get there and back.

    Attributes:
        in_flight: batches that are under way at once: 2 where a device computes by itself while the next are sent.
    """

    in_flight: ClassVar[int] = 1

    def __init__(self) -> None:
        self._fitting: dict[str, int] = {}  # batch size that fitted, by candidate, where the wanted one did not

    def extract(
        self,
        backbone: Backbone,
        probe: Probe,
        fields: frozenset[str],
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        precision: str = "float32",
        compile: bool = False,
        spool: InputSpool | None = None,
        sink: Sink | None = None,
        progress: BatchProgress | None = None,
    ) -> Evidence:
        import torch

        from modelselect.evidence import Evidence

        under_way: deque[_Rows] = deque()
        widths: dict[str, int] = {}
        begun = done = 0
        with contextlib.ExitStack() as stack:
            inputs = stack.enter_context((spool or InputSpool(None)).opened(probe, backbone.preprocessing))
            sink = sink or _Memory(len(inputs))
            stack.enter_context(torch.inference_mode())
            stack.enter_context(self.session(backbone.module, device))
            stack.enter_context(arithmetic(precision, device))
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

    def suitable_batch_size(self, row: torch.Tensor) -> int:
        """Rows in one forward pass, where the caller leaves it open; `row` is a batch of one, prepared."""
        return DEFAULT_BATCH_SIZE

    def on_device(self, rows: torch.Tensor, preprocessing: Preprocessing, device: str) -> torch.Tensor:
        """Prepared rows as the module takes them, on the device."""
        import torch

        batch = preprocessing.finish(self.to_device(rows, device))
        if batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return batch

    def to_device(self, rows: torch.Tensor, device: str) -> torch.Tensor:
        return rows.to(device)

    def from_device(self, tensors: Mapping[str, torch.Tensor]) -> _Rows:
        """A function that waits for these tensors and gives them as arrays."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return lambda: arrays

    def reader(self, backbone: Backbone, compile: bool) -> Callable[[torch.Tensor], Outputs]:
        """What turns a batch into features and logits."""
        import torch

        def read(batch: torch.Tensor) -> Outputs:
            return backbone.read(backbone.module, batch)

        return torch.compile(read) if compile else read

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


_Rows = Callable[[], Mapping[str, "NDArray[np.float32]"]]


class _Memory:
    """Keeps rows in memory, in arrays that are allocated once."""

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
    """Features and source probabilities, float32, of so many rows."""
    features, logits = outputs
    for name, given in (("features", features), ("logits", logits)):
        if given is None:
            continue
        if given.dim() != 2 or len(given) != rows:
            raise CandidateError(
                f"{name} of {rows} rows have shape {tuple(given.shape)}; expected ({rows}, dimensions)"
            )
        if given.is_complex():
            raise CandidateError(f"{name} are complex numbers; expected real ones")
    tensors = {"features": features.float()}
    if "source_probabilities" in fields and logits is not None and logits.shape[1] > 1:
        tensors["source_probabilities"] = logits.double().softmax(1).float()
    return tensors


def _check_widths(widths: dict[str, int], arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Every batch has to have the fields of the first, and be as wide; its widths are noted."""
    if widths and widths.keys() != arrays.keys():
        raise CandidateError(
            f"its first batch gives {' and '.join(sorted(widths))}, and another one {' and '.join(sorted(arrays))}; "
            "expected the same of every row"
        )
    for name, rows in arrays.items():
        if widths.setdefault(name, rows.shape[1]) != rows.shape[1]:
            raise CandidateError(
                f"{name} have {widths[name]} dimensions in one batch and {rows.shape[1]} in another; expected the same "
                "for every row"
            )


def arithmetic(precision: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Autocast where less than float32 is asked for: matrix products and convolutions in it, the rest in float32."""
    import torch

    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.split(":")[0], dtype=getattr(torch, precision))


def check_precision(precision: str, device: str) -> None:
    """Raises InvalidInputError if the precision is unknown, or would be emulated on this device."""
    import torch

    if precision not in PRECISIONS:
        raise InvalidInputError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return
    kind = device.split(":")[0]
    if kind == "cpu" and not (precision == "bfloat16" and _has_bfloat16_instructions()):
        raise InvalidInputError(
            f"precision {precision!r} would only be emulated on this processor, slower than float32. Use "
            "precision='float32', or another device."
        )
    if kind == "cuda" and precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InvalidInputError("this GPU has no bfloat16. Use precision='float16' or 'float32'.")


def _has_bfloat16_instructions() -> bool:
    import torch

    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 cannot be asked
    return bool(capabilities.get("avx512_bf16") or capabilities.get("bf16"))


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
