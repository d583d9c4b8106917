"""How fast features are extracted: compared with a plain loop, with decoding for every model, and with the store.

    python benchmarks/extraction.py [bare] [published] [store] [memory] [--images 2000] [--repeats 3] [--models GLOB]

Real networks and real JPEGs; the shared material is in the folder `MODELSELECT_SHARED`, by default `../shared`. The
variants run alternately, and medians are printed, since other programs may use the machine.

- `bare`: extraction, from files to features, compared with a loop of the same model over tensors in memory, in batches
  of the same size. The first candidate with a preprocessing decodes; later ones find its inputs.
- `published`: `select()` over all models, compared with a new `DataLoader` for each model, which decodes everything
  again, and the same estimator, as in the published code.
- `store`: a second `select()` compared with the first; and one candidate's evidence from the store compared with
  extraction.
- `memory`: features of 50,000 rows by 2,048 dimensions, streamed to the store: the peak memory.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import modelselect as ms
from modelselect.archi2vec import count_macs
from modelselect.candidates.backbone import Backbone
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.request import Request
from modelselect.evaluation.settings import Settings
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import get_host
from modelselect.store import store as store_module
from modelselect.store.store import Store
from modelselect.utils.system import usable_cores

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
MODELS = SHARED / "lab" / "models"
MIN_MACS = 25_000_000  # 50 MFLOPs
FIELDS = frozenset({"features", "source_probabilities"})
PUBLISHED_BATCH = 64
LARGE = 50_000, 2_048

COLUMNS = (
    "MMACs",
    "decode[ms]",
    "compute[ms]",
    "batch",
    "bare[img/s]",
    "first",
    "following",
    "first[%]",
    "following[%]",
)

console = Console(width=150)


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    begun = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun


def dataset_of(folder: Path, images: int) -> Path:
    """JPEGs from all datasets, `images` in total, with each dataset as a class."""
    found = {path.name: sorted(path.glob("train/*/*.jpg")) for path in sorted((SHARED / "lab" / "datasets").iterdir())}
    names = [name for name, files in found.items() for _ in files]
    files = [file for listed in found.values() for file in listed]
    for index in np.linspace(0, len(files) - 1, images).astype(int):
        target = folder / names[index] / f"{index}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[index], target)
    return folder


def loaded(pattern: str) -> Iterator[Backbone]:
    for candidate in ms.search(f"dir:{MODELS}/*"):
        if fnmatch.fnmatch(Path(candidate.name).name, pattern):
            yield get_host().zoo(candidate.zoo).load(candidate, trust_remote_code=True)


# --- bare ------------------------------------------------------------------------------------------------------------


def bare(dataset: Path, pattern: str, repeats: int) -> None:
    probe = ms.Probe.of(dataset, size=None)
    extractor = get_host().extractor("cpu")
    table = Table("model", *COLUMNS)
    for backbone in loaded(pattern):
        example = backbone.preprocessing.prepare(probe.item(0))
        macs = count_macs(backbone.module, example=backbone.preprocessing.finish(example[None])) or 0
        if macs < MIN_MACS:
            continue
        size = extractor.suitable_batch_size(example[None])  # type: ignore[attr-defined]
        backbone.module.to(memory_format=torch.channels_last)
        rows = InputCache(None, limit=10**12).prepared(probe, backbone.preprocessing)[:]
        batches = [
            backbone.preprocessing.finish(rows[i : i + size].clone()).contiguous(memory_format=torch.channels_last)
            if rows.dim() == 4
            else backbone.preprocessing.finish(rows[i : i + size].clone())
            for i in range(0, len(rows), size)
        ]
        del rows
        times: dict[str, list[float]] = {"bare": [], "first": [], "following": [], "decode": []}
        loop(backbone, batches[:4])
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as folder, InputCache.temporary(Path(folder)) as spool:
                times["bare"].append(seconds(loop, backbone, batches))
                for which in ("first", "following"):
                    times[which].append(seconds(extract, extractor, backbone, probe, spool))
            times["decode"].append(seconds(decode, backbone, probe))
        of = {name: median(found) / len(probe) for name, found in times.items()}
        shares = {
            name: median(b / t for b, t in zip(times["bare"], times[name], strict=True))
            for name in ("first", "following")
        }
        console.print(f"{Path(backbone.candidate.name).name}: done", style="dim")
        table.add_row(
            Path(backbone.candidate.name).name,
            f"{macs / 1e6:.0f}",
            f"{1e3 * of['decode']:.2f}",
            f"{1e3 * of['bare']:.2f}",
            str(size),
            *(f"{1 / of[name]:.1f}" for name in ("bare", "first", "following")),
            *(f"{100 * share:.0f}" for share in shares.values()),
        )
    console.print(
        f"\nAgainst a bare loop over tensors in memory: {len(probe)} JPEGs, {torch.get_num_threads()} threads"
    )
    console.print(table)


def loop(backbone: Backbone, batches: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for batch in batches:
            backbone.read(backbone.module, batch)


def extract(extractor: Extractor, backbone: Backbone, probe: ms.Probe, spool: InputCache) -> None:
    extractor.extract(backbone, probe, FIELDS, spool=spool)


def decode(backbone: Backbone, probe: ms.Probe) -> None:
    """Decodes all rows on all cores, and does nothing else."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        for _ in threads.map(lambda index: backbone.preprocessing.prepare(probe.item(index)), range(len(probe))):
            pass


# --- published -------------------------------------------------------------------------------------------------------


class Images(torch.utils.data.Dataset[Any]):
    def __init__(self, probe: ms.Probe, backbone: Backbone) -> None:
        self.probe, self.preprocessing = probe, backbone.preprocessing

    def __len__(self) -> int:
        return len(self.probe)

    def __getitem__(self, index: int) -> Any:
        return self.preprocessing.finish(self.preprocessing.prepare(self.probe.item(index))[None])[0]


def published_way(dataset: Path, pattern: str) -> dict[str, float]:
    """Each model's LogME with its own loader, which has a worker process for every core."""
    probe = ms.Probe.of(dataset, size=None)
    scores = {}
    for backbone in loaded(pattern):
        batches = torch.utils.data.DataLoader(
            Images(probe, backbone), batch_size=PUBLISHED_BATCH, num_workers=usable_cores()
        )
        features = []
        with torch.no_grad():
            for batch in batches:
                features.append(backbone.read(backbone.module, batch).features.numpy())
        scores[backbone.candidate.id] = ms.score(np.concatenate(features), probe.labels, "logme")
    return scores


def our_way(dataset: Path, pattern: str, cache: Path) -> dict[str, float]:
    board = ms.select(
        str(dataset),
        f"dir:{MODELS}/{pattern}",
        estimators="logme",
        probe_size=None,
        cache_dir=cache,
        trust_remote_code=True,
        progress=False,
    )
    return {row.candidate.id: row.scores["logme"] for row in board.rows}


def published(dataset: Path, pattern: str, cache: Path) -> None:
    found: dict[str, dict[str, float]] = {}
    ours = seconds(lambda: found.update(ours=our_way(dataset, pattern, cache)))
    theirs = seconds(lambda: found.update(theirs=published_way(dataset, pattern)))
    apart = max(abs(found["ours"][name] - score) for name, score in found["theirs"].items())
    console.print(
        f"\nAgainst a new DataLoader for each of {len(found['ours'])} models: select() {ours:.1f} s, loaders "
        f"{theirs:.1f} s: [bold]{theirs / ours:.2f} times faster[/bold] (scores at most {apart:.1g} apart)"
    )


# --- store -----------------------------------------------------------------------------------------------------------


def from_store(dataset: Path, pattern: str, cache: Path) -> None:
    cold = seconds(our_way, dataset, pattern, cache)
    forget()
    warm = [seconds(our_way, dataset, pattern, cache) for _ in range(3)]
    console.print(
        f"\nselect() on {len(list(dataset.rglob('*.jpg')))} JPEGs: cold {cold:.1f} s, from the store {warm[0]:.2f} s "
        f"(again {min(warm):.2f} s): [bold]{cold / warm[0]:.0f} times faster[/bold], reading the dataset included"
    )
    probe = ms.Probe.of(dataset, size=None)
    store = Store(cache)
    entries = [info.key for info in store.entries() if info.kind in ("features", "extraction")]
    records = [store.get(key) for key in entries]
    extraction = sum(record.metadata.get("seconds", 0) for record in records if record is not None)
    size = sum(info.size for info in store.entries() if info.kind == "features")
    forget()
    reading = seconds(lambda: [store.get(key) for key in entries])
    console.print(
        f"Evidence of {len(probe)} rows, checksums included: extraction {extraction:.1f} s, from the store "
        f"{1e3 * reading:.0f} ms ({size / 1e6:.1f} MB): [bold]{extraction / reading:,.0f} times faster[/bold]"
    )


def forget() -> None:
    """Forgets which files were checked, as in a new process."""
    store_module._checked.clear()


# --- memory ----------------------------------------------------------------------------------------------------------


def memory(cache: Path) -> None:
    rows, dimensions = LARGE
    numbers = np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32)
    settings = Settings(
        estimators="logme", top_k=0, probe_size=None, device="cpu", cache_dir=cache, history=False, max_corrupt=0.0
    )
    network = torch.nn.Sequential(torch.nn.Linear(16, dimensions), torch.nn.ReLU())
    request = Request.of(settings, (numbers, np.arange(rows) % 10), network)
    with InputCache.temporary(cache / "spool") as spool:
        loader = Loader(request.context(spool), request.pool[0])
        _ = loader.backbone
        with peak() as taken:
            evidence = Gatherer(loader).forward(request.probe, FIELDS).arrays
    features = evidence["features"]
    console.print(
        f"\nFeatures of {features.shape[0]:,} x {features.shape[1]:,} ({features.nbytes / 1e6:.0f} MB) streamed to the "
        f"store: at most [bold]{taken[0] / 1e6:.1f} MB[/bold] of memory in addition to mapped files"
    )


@contextmanager
def peak() -> Iterator[list[int]]:
    """Peak anonymous memory of this process, minus that at the start, sampled every few milliseconds (Linux)."""

    def anonymous() -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return 1024 * int(line.split()[1])
        raise OSError("no RssAnon in /proc/self/status")

    start, most, done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], anonymous() - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["bare", "published", "store", "memory"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", default="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        dataset = dataset_of(Path(folder) / "images", arguments.images)
        for part in arguments.parts:
            cache = Path(folder) / part
            if part == "bare":
                bare(dataset, arguments.models, arguments.repeats)
            elif part == "published":
                published(dataset, arguments.models, cache)
            elif part == "store":
                from_store(dataset, arguments.models, cache)
            elif part == "memory":
                memory(cache)
            else:
                parser.error(f"{part!r} is not a part; expected bare, published, store or memory")


if __name__ == "__main__":
    main()
