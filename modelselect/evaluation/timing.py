"""What a candidate costs on this device: latency, throughput, memory, and the speed of the machine."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.architectures.trace import count_macs
from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.evaluation.results import CostMeasurement
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.devices import Compute, arithmetic, is_out_of_memory
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.torch_extractor import TorchExtractor
from modelselect.probe.probe import Probe
from modelselect.utils.system import processor, usable_cores

if TYPE_CHECKING:
    import torch

LATENCY_SECONDS = 0.5
THROUGHPUT_SECONDS = 0.5
"""How long each is measured; longer if the fewest runs take longer."""

WARM_UP = 2
LATENCY_RUNS = 5
THROUGHPUT_RUNS = 2
"""Runs before the clock counts, and the fewest runs that count."""

EXAMPLE_ROWS = 8
"""Rows of the probe for measuring costs: texts differ in length."""

CALIBRATION_WIDTH = 256
"""Width of the random features that estimators score for calibration: that of a small network."""

CALIBRATION_SECONDS = 0.5
"""How long the calibrating network runs."""

DECODED_ROWS = 32
"""Rows of the probe that are decoded to estimate the time for all."""


def measure(backbone: Backbone, probe: Probe, extractor: Extractor, compute: Compute) -> CostMeasurement:
    """Times a candidate; nothing else should use the device meanwhile.

    Some rows of the probe are the input. They are prepared before the clock starts.

    Raises:
        CandidateError: the extractor does not use torch, or a forward pass fails.
        OutOfMemoryError: not even one row fits.
    """
    import torch

    if not (isinstance(extractor, TorchExtractor) and extractor.runs_torch):
        raise CandidateError(
            f"costs cannot be measured: the extractor {extractor.name!r} does not use torch. Leave out costs= "
            "(--costs) and max_latency_ms= (--max-latency-ms)."
        )
    preprocessing, device = backbone.preprocessing, compute.device
    rows = torch.stack([preprocessing.prepare(probe.item(i)) for i in range(min(EXAMPLE_ROWS, len(probe)))])
    baseline = torch.cuda.memory_allocated(device) if torch.device(device).type == "cuda" else 0
    try:
        with (
            torch.inference_mode(),
            extractor.session(backbone.module, device),
            arithmetic(compute.precision, device),
        ):
            read = extractor.reader(backbone, compute.compile)

            def run(prepared: torch.Tensor) -> None:
                outputs = read(extractor.on_device(prepared, preprocessing, device))
                given = {"features": outputs.features, "logits": outputs.logits}
                extractor.from_device({name: tensor for name, tensor in given.items() if tensor is not None})()

            for _ in range(WARM_UP):
                run(rows[:1])
            memory = _peak_memory(backbone.module, lambda: run(rows[:1]), device, baseline)
            singles = itertools.cycle([rows[i : i + 1] for i in range(len(rows))])
            latency = _median_seconds(lambda: run(next(singles)), LATENCY_SECONDS, LATENCY_RUNS)
            size = compute.batch_size or extractor.suitable_batch_size(rows[:1])
            throughput, size = _throughput(run, rows, size)
    except CandidateError:
        raise
    except Exception as error:
        raise CandidateError(f"timing the forward pass raised {type(error).__name__}: {error}") from error
    return CostMeasurement(1000 * latency, throughput, memory, size)


def score_seconds(estimators: Sequence[Estimator], rows: int, classes: int) -> float:
    """Seconds in which these estimators score one candidate, measured on random features.

    They score twice, and the first time does not count: what an estimator imports is imported then.

    Args:
        estimators: the estimators. One that cannot score random features counts as long as it tries.
        rows: number of rows of the probe.
        classes: number of classes of the probe.
    """
    rng = np.random.default_rng(0)
    rows, classes = max(rows, 2 * classes), max(classes, 2)
    given: dict[str, Any] = {
        "features": rng.normal(size=(rows, CALIBRATION_WIDTH)).astype(np.float32),
        "labels": np.arange(rows) % classes,
        "source_probabilities": np.full((rows, 4), 0.25, np.float32),
    }

    def once() -> float:
        begun, evidence = time.perf_counter(), Evidence.of(**given)
        for estimator in estimators:
            with contextlib.suppress(Exception), warnings.catch_warnings():  # it says so when it scores a candidate
                warnings.simplefilter("ignore")
                evaluate(estimator, evidence)
        return time.perf_counter() - begun

    once()
    return once()


def measured_on(device: str) -> dict[str, Any]:
    """What timings depend on, apart from the candidate: part of their key in the store."""
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
    """Rows per second, and the number of rows in a batch."""
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
    """The largest total, in bytes, of tensors that operations made and that lived at the same time."""
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
                    living.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))  # type: ignore[no-untyped-call]  # noqa: SLF001 (none is public)
            for key, (weak, _) in list(living.items()):
                if weak.expired():  # type: ignore[no-untyped-call]
                    del living[key]
            peak = max(peak, sum(count for _, count in living.values()))
            return made

    with Counting():  # type: ignore[no-untyped-call]
        run()
    return peak


def macs_per_second(device: str) -> float:
    """Multiply-accumulates per second, measured now with the convolutions of image backbones: dense, 1x1, depthwise."""
    import torch

    with contextlib.suppress(RuntimeError):
        device = device if torch.device(device).type in ("cpu", "cuda") else "cpu"
    size = (3, 112, 112)
    network = _calibrating_network().eval()
    work = 8 * (count_macs(network, size) or 0)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.zeros(8, *size, device=device).contiguous(memory_format=torch.channels_last)
    runs = 0
    with torch.inference_mode():
        network(batch).cpu()  # the first run is slow
        begun = time.perf_counter()
        while (passed := time.perf_counter() - begun) < CALIBRATION_SECONDS:
            network(batch).cpu()
            runs += 1
    return runs * work / passed


def decode_seconds(probe: Probe) -> float:
    """The time to read and decode the probe once, estimated from some of its rows."""
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
