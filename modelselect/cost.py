"""What a candidate costs on this device, as measured; limits on that; and which candidates are worth their cost."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from modelselect.candidates import Candidate
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.extraction import TorchExtractor, arithmetic, is_out_of_memory
from modelselect.machine import processor, usable_cores

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Backbone
    from modelselect.extraction import Extractor
    from modelselect.probe import Probe

LATENCY_SECONDS = 0.5
THROUGHPUT_SECONDS = 0.5
"""How long each is measured, but for the runs that it takes at least."""

WARM_UP = 2
LATENCY_RUNS = 5
THROUGHPUT_RUNS = 2
"""Runs that are not counted; runs that are, at least."""

EXAMPLE_ROWS = 8
"""Rows of the probe that costs are measured with: texts differ in length."""

CALIBRATION_SECONDS = 0.5
"""How long the calibrating network runs."""

DECODED_ROWS = 32
"""Rows of the probe that are decoded to tell how long all take."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one candidate takes on this device, from a prepared row to its features.

    Attributes:
        latency_ms: milliseconds for one row, the median of many runs.
        throughput: rows a second, in batches of `batch_size`.
        memory_bytes: for one row. On CUDA the peak of what torch allocated. Elsewhere parameters and buffers, and the
            most bytes of tensors that lived at once; what a library takes inside an operation is not seen.
        batch_size: rows in a batch: what suits the device, or less where that does not fit.
    """

    latency_ms: float
    throughput: float
    memory_bytes: int
    batch_size: int


def measure(
    backbone: Backbone,
    probe: Probe,
    extractor: Extractor,
    *,
    device: str,
    batch_size: int | None = None,
    precision: str = "float32",
    compile: bool = False,
) -> Measured:
    """Times a candidate on a device that nothing else should be at work on.

    Arguments are those of `Extractor.extract`; the probe lends some rows, which are prepared before the clock starts.

    Raises:
        CandidateError: its extractor does not run it with torch, or a forward pass fails.
        OutOfMemoryError: not even one row fits.
    """
    import torch

    if not isinstance(extractor, TorchExtractor):
        raise CandidateError(f"the extractor {extractor.name!r} does not run it with torch, so that it cannot be timed")
    preprocessing = backbone.preprocessing
    rows = torch.stack([preprocessing.prepare(probe.item(i)) for i in range(min(EXAMPLE_ROWS, len(probe)))])
    baseline = torch.cuda.memory_allocated(device) if torch.device(device).type == "cuda" else 0
    try:
        with (
            torch.inference_mode(),
            extractor.session(backbone.module, device),
            arithmetic(precision, device),
        ):
            read = extractor.reader(backbone, compile)

            def run(prepared: torch.Tensor) -> None:
                outputs = read(extractor.on_device(prepared, preprocessing, device))
                given = {"features": outputs.features, "logits": outputs.logits}
                extractor.from_device({name: tensor for name, tensor in given.items() if tensor is not None})()

            for _ in range(WARM_UP):
                run(rows[:1])
            memory = _peak_memory(backbone.module, lambda: run(rows[:1]), device, baseline)
            singles = itertools.cycle([rows[i : i + 1] for i in range(len(rows))])
            latency = _median_seconds(lambda: run(next(singles)), LATENCY_SECONDS, LATENCY_RUNS)
            size = batch_size or extractor.suitable_batch_size(rows[:1])
            throughput, size = _throughput(run, rows, size)
    except CandidateError:
        raise
    except Exception as error:
        raise CandidateError(f"timing its forward pass raised {type(error).__name__}: {error}") from error
    return Measured(1000 * latency, throughput, memory, size)


def measured_on(device: str) -> dict[str, Any]:
    """What timings depend on besides the candidate: part of their key in the store."""
    import torch

    if torch.device(device).type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "processor": processor()}
    return {
        "device": device,
        "processor": processor(),
        "threads": min(torch.get_num_threads(), usable_cores()),
    }


def _median_seconds(run: Callable[[], None], seconds: float, runs: int) -> float:
    taken: list[float] = []
    while len(taken) < runs or sum(taken) < seconds:
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def _throughput(run: Callable[[torch.Tensor], None], rows: torch.Tensor, size: int) -> tuple[float, int]:
    """Rows a second, and how many rows are in a batch."""
    import torch

    while True:
        try:
            batch = rows.repeat(-(-size // len(rows)), *(1 for _ in rows.shape[1:]))[:size]
            run(batch)
            return size / _median_seconds(partial(run, batch), THROUGHPUT_SECONDS, THROUGHPUT_RUNS), size
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _peak_memory(module: torch.nn.Module, run: Callable[[], None], device: str, baseline: int) -> int:
    """Bytes, weights included."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device)) - baseline
    weights = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in module.state_dict().values()}
    return int(sum(weights.values())) + _peak_of_new_tensors(run)


def _peak_of_new_tensors(run: Callable[[], None]) -> int:
    """The most bytes that tensors made by operations took at once."""
    import torch
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    living: dict[int, tuple[StorageWeakRef, int]] = {}
    peak = 0

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal peak
            made = function(*args, **(kwargs or {}))
            for tensor in tree_leaves(made):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    living.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))  # type: ignore[no-untyped-call]
            for key, (weak, _) in list(living.items()):
                if weak.expired():  # type: ignore[no-untyped-call]
                    del living[key]
            peak = max(peak, sum(count for _, count in living.values()))
            return made

    with Counting():  # type: ignore[no-untyped-call]
        run()
    return peak


# --- limits ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost at most. One that does not pass has no rank, and its status says why.

    Attributes:
        max_parameters: number of parameters.
        max_latency_ms: milliseconds for one row on this device.
        license: globs, one of which its licence has to match; case does not matter. Empty: any licence, or none.

    >>> limits = Limits.of(max_parameters=1_000_000, license="cc-by*")
    >>> limits.parameters_exceeded(2_500_000)
    '2,500,000 parameters, 2.5 times max_parameters=1,000,000'
    >>> limits.license_refused("CC-BY-4.0"), limits.license_refused("mit")
    (None, "its licence is 'mit'; allowed: cc-by*")
    """

    max_parameters: int | None = None
    max_latency_ms: float | None = None
    license: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        max_parameters: int | None = None,
        max_latency_ms: float | None = None,
        license: str | Sequence[str] | None = None,
    ) -> Limits:
        """Checked limits.

        Raises:
            InvalidInputError: a limit is no positive number, or a licence no text.
        """
        for name, limit in (("max_parameters", max_parameters), ("max_latency_ms", max_latency_ms)):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
                raise InvalidInputError(f"{name} is {limit!r}; expected a number above 0, or None for no limit")
        globs = () if license is None else (license,) if isinstance(license, str) else tuple(license)
        if not all(isinstance(glob, str) and glob.strip() for glob in globs) or (license is not None and not globs):
            raise InvalidInputError(f"license is {license!r}; expected 'apache-2.0', 'cc-by*' or a list of such globs")
        return cls(max_parameters, max_latency_ms, tuple(glob.strip() for glob in globs))

    def __bool__(self) -> bool:
        return bool(self.max_parameters is not None or self.max_latency_ms is not None or self.license)

    def __str__(self) -> str:
        """`max_parameters=1000000, license=mit`."""
        given = {k: ",".join(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v}
        return ", ".join(f"{name}={value}" for name, value in given.items())

    def parameters_exceeded(self, parameters: int) -> str | None:
        """Why so many parameters do not pass; None where they do."""
        if self.max_parameters is None or parameters <= self.max_parameters:
            return None
        excess = _times(parameters / self.max_parameters)
        return f"{parameters:,} parameters, {excess} max_parameters={self.max_parameters:,}"

    def latency_exceeded(self, latency_ms: float) -> str | None:
        """Why that many milliseconds do not pass; None where they do."""
        if self.max_latency_ms is None or latency_ms <= self.max_latency_ms:
            return None
        excess = _times(latency_ms / self.max_latency_ms)
        return f"{latency_ms:.3g} ms for one row, {excess} max_latency_ms={self.max_latency_ms:g}"

    def license_refused(self, license: str | None) -> str | None:
        """Why a licence does not pass; None where it does."""
        if not self.license:
            return None
        allowed = ", ".join(self.license)
        if license is None:
            return f"its licence is not known; allowed: {allowed}"
        if any(fnmatch.fnmatchcase(license.lower(), glob.lower()) for glob in self.license):
            return None
        near = next((glob for glob in self.license if license.lower().startswith(glob.lower())), None)
        hint = "" if near is None else f"; did you mean '{near}*'?"
        return f"its licence is {license!r}; allowed: {allowed}{hint}"

    def foreseen(self, candidate: Candidate, parameters: int | None) -> str | None:
        """Why a candidate does not pass, by what is known without loading it; None where nothing known forbids it."""
        refused = self.license_refused(license_of(candidate))
        if refused is None and parameters is not None:
            refused = self.parameters_exceeded(parameters)
        return refused


def license_of(candidate: Candidate) -> str | None:
    """The licence that a candidate's zoo knows of."""
    known = candidate.metadata.get("license")
    return str(known) if known else None


def download_bytes_of(candidate: Candidate) -> int | None:
    """Bytes that loading it fetches where none of it is here yet, or else those of its weights, as its zoo knows."""
    known = candidate.metadata.get("download_bytes", candidate.metadata.get("size_bytes"))
    return None if known is None else int(known)


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio < 100 else f"{ratio:,.0f} times"


# --- who is worth it -------------------------------------------------------------------------------------------------


def pareto_front(cost: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Indices of those that nothing beats in both at once: none is cheaper and as good, or better and as cheap.

    Args:
        cost: lower is better.
        quality: higher is better.

    Returns:
        From the cheapest to the dearest. Of those that are equal in both, all.

    >>> pareto_front([1, 2, 3, 3], [0.5, 0.4, 0.9, 0.8])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(cost)), key=lambda i: (cost[i], -quality[i])):
        best = front[-1] if front else None
        if best is None or quality[i] > quality[best] or (cost[i], quality[i]) == (cost[best], quality[best]):
            front.append(i)
    return front


# --- how fast this device is -----------------------------------------------------------------------------------------


def macs_per_second(device: str) -> float:
    """Multiply-accumulates, measured now with convolutions as image backbones have them: dense, 1x1 and depthwise."""
    import torch

    from modelselect.archi2vec import count_macs

    with contextlib.suppress(RuntimeError):
        device = device if torch.device(device).type in ("cpu", "cuda") else "cpu"
    size = (3, 112, 112)
    network = _calibrating_network().eval()
    work = 8 * (count_macs(network, size) or 0)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.zeros(8, *size, device=device).contiguous(memory_format=torch.channels_last)
    runs = 0
    with torch.inference_mode():
        network(batch).cpu()  # the first is slow
        begun = time.perf_counter()
        while (passed := time.perf_counter() - begun) < CALIBRATION_SECONDS:
            network(batch).cpu()
            runs += 1
    return runs * work / passed


def decode_seconds(probe: Probe) -> float:
    """To read and decode the probe once, estimated from some of its rows."""
    rows = range(min(DECODED_ROWS, len(probe)))
    begun = time.perf_counter()
    with ThreadPoolExecutor(max(2, usable_cores())) as threads:
        for _ in threads.map(probe.item, rows):
            pass
    return (time.perf_counter() - begun) / len(rows) * len(probe)


def _calibrating_network() -> torch.nn.Module:
    from torch import nn

    def block(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
        convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())

    return nn.Sequential(
        block(3, 32, 3, stride=2),
        block(32, 96, 1),
        block(96, 96, 3, groups=96),
        block(96, 32, 1),
        block(32, 64, 3, stride=2),
        block(64, 64, 3),
        block(64, 192, 1),
        block(192, 192, 3, groups=192),
        block(192, 64, 1),
        nn.AdaptiveAvgPool2d(1),
    )
