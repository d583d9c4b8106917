"""What a GPU does with modelselect, in one command of less than eight minutes.

    python benchmarks/gpu.py [tests extraction decoding estimators training] [--minutes 7.5] [--output gpu.json]

Networks have random weights, so that nothing is downloaded. Figures are seconds of the wall clock, since a GPU computes
while the processor waits; each is the fastest of the repeats, in turn with what it is compared with. The JSON is
written after each part. A part that would begin after the minutes are over is skipped, and the JSON says so. Without a
CUDA device the command says so, and ends; `--device cpu --tiny` tries every part on a processor.

- `tests`: the tests that need CUDA.
- `extraction`: rows a second of ResNet-50, ViT-B/16 and ConvNeXt, from inputs that are prepared already, and those of a
  bare loop over batches in pinned memory: in float32, bfloat16 and (bare loop only) TensorFloat-32, compiled or not.
- `decoding`: rows a second from JPEG files, without and with prepared inputs: whether decoding bounds the run.
- `estimators`: scores of features on the device, and those of the processor: how far apart, and seconds.
- `training`: rows a second of fine-tuning, and those of a bare loop with accelerate.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.estimators.estimator import evaluate
from modelselect.extraction.devices import arithmetic
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import get_host
from modelselect.utils.versions import numeric_versions
from modelselect.verification import FineTuning, verify
from modelselect_plugins.zoos._timm.models import timm_backbone

FIELDS = frozenset({"features"})
CLASSES = 10


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    networks: tuple[str, ...] = ("resnet50", "vit_base_patch16_224", "convnext_tiny")
    rows: int = 2048
    batch: int = 128
    files: int = 512
    picture: tuple[int, int] = (500, 375)
    features: tuple[int, int] = (20_000, 1024)
    estimators: tuple[str, ...] = ("logme", "h_score", "nc_score", "knn", "transrate", "sfda")
    training_rows: int = 512
    repeats: int = 3
    compiled: bool = True


TINY = Size(("test_resnet",), 12, 4, 12, (60, 40), (200, 16), ("logme", "knn"), 24, 1, False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a little of everything, to try the command")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.parts) - set(PARTS)):
        parser.error(f"{unknown[0]!r} is not a part; expected {', '.join(PARTS)}")
    begun = time.monotonic()
    report: dict[str, Any] = {"device": _described(given.device), "versions": numeric_versions()}
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        report["skipped"] = "torch finds no CUDA device; --device cpu --tiny tries the command without one"
        print(report["skipped"])
        _write(given.output, report)
        return
    warnings.simplefilter("ignore")
    for part in given.parts or PARTS:
        if time.monotonic() - begun > 60 * given.minutes:
            report[part] = {"skipped": f"{given.minutes:g} minutes are over"}
        else:
            started = time.monotonic()
            try:
                report[part] = PARTS[part](given.device, TINY if given.tiny else Size())
            except Exception as error:  # the other parts are worth having
                report[part] = {"failed": f"{type(error).__name__}: {error}"}
            report[part]["seconds"] = round(time.monotonic() - started, 1)
        print(part, json.dumps(report[part], indent=1), flush=True)
        _write(given.output, report)


def tests(device: str, size: Size) -> dict[str, Any]:
    """The tests with the mark `cuda`."""
    if not device.startswith("cuda"):
        return {"skipped": "no CUDA device"}
    root = Path(__file__).parents[1]
    marked = [str(path) for path in root.glob("tests/**/test_*.py") if "pytest.mark.cuda" in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", *sorted(marked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=root, check=False)
    return {"exit_code": done.returncode, "last_lines": done.stdout.splitlines()[-5:]}


def extraction(device: str, size: Size) -> dict[str, Any]:
    """Rows a second by network and arithmetic, ours and of a bare loop."""
    return {case: rates for name in size.networks for case, rates in _extracted(name, device, size)}


def _extracted(name: str, device: str, size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    extractor: Any = get_host().extractor(device.partition(":")[0])
    backbone, probe = _network(name), _pictures(size.rows)
    with tempfile.TemporaryDirectory() as folder, InputCache.temporary(Path(folder)) as spool:
        prepared = spool.prepared(probe, backbone.preprocessing)

        def ours(precision: str, compiled: bool) -> None:
            extractor.extract(
                backbone, probe, FIELDS, device=device, batch_size=size.batch, precision=precision, compile=compiled,
                spool=spool,
            )  # fmt: skip

        def bare(precision: str, compiled: bool) -> None:
            with extractor.session(backbone.module, device), arithmetic(precision, device):
                _bare_loop(backbone, prepared, device, size.batch, compiled)

        def quick() -> None:
            with extractor.session(backbone.module, device), _tensor_float():
                _bare_loop(backbone, prepared, device, size.batch, False)

        for precision, compiled in itertools.product(("float32", "bfloat16"), (False, True)[: 1 + size.compiled]):
            works = {"ours": partial(ours, precision, compiled), "bare": partial(bare, precision, compiled)}
            rates = _rates(len(probe), device, size.repeats, works)
            yield f"{name} {precision}{' compiled' if compiled else ''}", rates
        if device.startswith("cuda"):
            yield f"{name} TensorFloat-32", _rates(len(probe), device, size.repeats, {"bare": quick})


def decoding(device: str, size: Size) -> dict[str, Any]:
    """Rows a second from files, with the first candidate and with the next one of the same preprocessing."""
    extractor, backbone = get_host().extractor(device.partition(":")[0]), _network(size.networks[0])
    with tempfile.TemporaryDirectory() as folder:
        rng, images = np.random.default_rng(0), Path(folder) / "images"
        for row in range(size.files):
            path = images / str(row % 2) / f"{row}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            small.resize(size.picture, Image.Resampling.BICUBIC).save(path, quality=90)
        probe = ms.Probe.of(images, size=None)
        with InputCache.temporary(Path(folder) / "spool") as spool:

            def ours() -> Any:
                return extractor.extract(backbone, probe, FIELDS, device=device, batch_size=size.batch, spool=spool)

            if size.repeats > 1:  # the first pass on a device is slow by itself
                extractor.extract(backbone, _pictures(size.batch), FIELDS, device=device, batch_size=size.batch)
            decoded = _seconds(device, ours)
            prepared = min(_seconds(device, ours) for _ in range(size.repeats))
    return {
        "rows a second, decoded": round(len(probe) / decoded, 1),
        "rows a second, prepared": round(len(probe) / prepared, 1),
        "bound by decoding": decoded > 1.25 * prepared,
    }


def estimators(device: str, size: Size) -> dict[str, Any]:
    """Scores of a tensor on the device and of the same array."""
    rng, (rows, dimension) = np.random.default_rng(0), size.features
    labels = np.arange(rows) % CLASSES
    features = (rng.normal(size=(CLASSES, dimension))[labels] / 4 + rng.normal(size=(rows, dimension))).astype(
        "float32"
    )
    there = torch.from_numpy(features).to(device)
    found: dict[str, Any] = {}
    for name in size.estimators:
        estimator, scores, seconds = get_host().estimator(name), {}, {}
        for where, given in (("device", there), ("processor", features)):

            def score(given: Any = given, where: str = where) -> None:
                scores[where] = evaluate(estimator, ms.Evidence.of(features=given, labels=labels))  # noqa: B023

            seconds[where] = _seconds(device, score)
        apart = max(abs(scores["device"][part] - value) for part, value in scores["processor"].items())
        found[name] = {"seconds": {where: round(each, 3) for where, each in seconds.items()}, "apart": apart}
    return found


def training(device: str, size: Size) -> dict[str, Any]:
    """Rows a second of fine-tuning all weights, and of a bare loop with accelerate, from prepared inputs."""
    name, probe = size.networks[0], _pictures(size.training_rows)
    backbone, batch = _network(name), min(32, size.training_rows // 2)
    with tempfile.TemporaryDirectory() as folder, InputCache.temporary(Path(folder)) as spool:
        prepared = spool.prepared(probe, backbone.preprocessing)

        def epochs(count: int) -> float:
            recipe = FineTuning(epochs=count, batch_size=batch)
            return _seconds(device, lambda: verify(backbone, probe, probe, recipe, device=device, spool=spool))

        first, both = epochs(1), epochs(3)
        bare = _bare_training(name, backbone, prepared, probe.labels, device, batch)
    taken = max((both - first) / 2, 1e-9)  # of one epoch, without what is done once
    memory = torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else None
    return {
        "ours": round(len(probe) / taken, 1),
        "bare": round(len(probe) / bare, 1),
        "ratio": round(bare / taken, 3),
        "bytes": memory,
    }


PARTS: dict[str, Callable[[str, Size], dict[str, Any]]] = {
    "tests": tests,
    "extraction": extraction,
    "decoding": decoding,
    "estimators": estimators,
    "training": training,
}


def _network(name: str) -> Backbone:
    torch.manual_seed(0)
    return timm_backbone(ms.Candidate("timm", name), timm.create_model(name, pretrained=False), f"random {name}")


def _pictures(rows: int) -> ms.Probe:
    """Rows of noise with classes, as large as the networks take them."""
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, 224, 224, 3), dtype=np.uint8)
    return ms.Probe.of((pixels, [row % 2 for row in range(rows)]), size=None)


def _bare_loop(backbone: Backbone, prepared: Any, device: str, batch: int, compiled: bool) -> torch.Tensor:
    def read(rows: torch.Tensor) -> torch.Tensor:
        return backbone.read(backbone.module, rows).features

    forward = torch.compile(read) if compiled else read
    features = []
    with torch.inference_mode():
        for start in range(0, len(prepared), batch):
            rows = prepared[start : start + batch]
            if device.startswith("cuda"):
                rows = rows.pin_memory().to(device, non_blocking=True)
            rows = backbone.preprocessing.finish(rows).contiguous(memory_format=torch.channels_last)
            features.append(forward(rows))
        return torch.cat(features).float().cpu()


def _bare_training(name: str, backbone: Backbone, prepared: Any, labels: Any, device: str, batch: int) -> float:
    """Seconds of the second of two epochs."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device == "cpu")
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters(), lr=1e-4))
    targets = torch.as_tensor(np.asarray(labels), dtype=torch.int64).to(accelerator.device)

    def epoch() -> None:
        network.train()
        for places in torch.randperm(len(targets)).split(batch):
            rows = backbone.preprocessing.finish(prepared[places].to(accelerator.device))
            loss = torch.nn.functional.cross_entropy(network(rows), targets[places.to(accelerator.device)])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()

    epoch()
    return _seconds(device, epoch)


def _rates(rows: int, device: str, repeats: int, works: Mapping[str, Callable[[], None]]) -> dict[str, Any]:
    """Rows a second of each, their ratio, and the memory of the device; the first run of each is not counted."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    if repeats > 1:
        for work in works.values():
            work()
    seconds = {name: float("inf") for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            seconds[name] = min(seconds[name], _seconds(device, work))
    found: dict[str, Any] = {name: round(rows / taken, 1) for name, taken in seconds.items()}
    if len(seconds) == 2:
        found["ratio"] = round(seconds["bare"] / seconds["ours"], 3)
    if device.startswith("cuda"):
        found["bytes"] = torch.cuda.max_memory_allocated(device)
    return found


def _seconds(device: str, work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


@contextmanager
def _tensor_float() -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield  # the session puts back what was set before


def _described(device: str) -> str:
    if device.startswith("cuda") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    return f"{device} ({platform.processor() or platform.machine()})"


def _write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
