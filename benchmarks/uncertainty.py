"""How well the standard errors of `select(..., resamples=...)` predict the score on another probe.

    python benchmarks/uncertainty.py [--datasets dtd10,clothing10] [--seeds 3] [--resamples 30] [--cache FOLDER]

A quarter of a dataset's rows is the probe. The other three quarters are three more probes of the same size. Two scores
of one model differ by a normal deviation of sqrt(2) standard errors if the standard error is correct. So the difference
should be within this deviation for 68% of the probes, and within twice the deviation for 95%. One thread; the shared
material is in the folder `MODELSELECT_SHARED`, by default `../shared`.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import modelselect as ms
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.estimators.resampling import replicate, resample
from modelselect.extraction.extractor import choose_extractor
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import get_host
from modelselect.store.store import Store
from modelselect.utils.versions import numeric_versions

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))

DATASETS = ("dtd10", "signdigits10", "clothing10", "caltech24")
MODELS = (
    "conv4_relation_miniimagenet",
    "darknet_tiny_in1k",
    "effnet_micro_cifar100",
    "mcunet_80_vww",
    "mini_xception_fer2013",
    "mobilenetv1_025_128_in1k",
    "mobilenetv1_025_96_vww",
    "resnet20_cifar10",
    "resnet56_cifar10",
    "resnet8_wide_cifar10",
    "shufflenetv2_05_backbone",
    "simpnet_slim_svhn",
)
ESTIMATORS = ("logme", "knn", "linear_probe", "ncti")
PARTS = 4

Components = Mapping[str, float]


def evidence_of(dataset: str, store: Store) -> list[ms.Evidence]:
    """Every model's features of all training rows, from the store if they are there."""
    host = get_host()
    probe = ms.Probe.of(str(SHARED / "lab" / "datasets" / dataset), size=None)
    found = []
    with InputCache.temporary(store.path / "spool") as spool:
        for name in MODELS:
            key = store.key("calibration", model=name, probe=probe.fingerprint, versions=numeric_versions())
            if (entry := store.get(key)) is None:
                (candidate,) = ms.search(f"dir:{SHARED / 'lab' / 'models' / name}")
                backbone = host.zoo(candidate.zoo).load(candidate, trust_remote_code=True)
                extractor = choose_extractor(host.extractors, backbone, "cpu")
                extracted = extractor.extract(backbone, probe, frozenset({"features"}), spool=spool)
                assert extracted.features is not None
                store.put(key, {"features": extracted.features})
                entry = store.get(key)
                assert entry is not None
            found.append(ms.Evidence.of(features=entry.arrays["features"], labels=probe.labels))
    return found


def parts_of(labels: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) the part of each row, with every class spread evenly."""
    part = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        part[rows] = (np.arange(len(rows)) + rng.integers(PARTS)) % PARTS
    return part


def deviations(
    estimator: Estimator, pool: Sequence[ms.Evidence], part: NDArray[np.int64], resamples: int, seed: int
) -> list[float]:
    """How far each model's score on another part is from that on the first, in deviations that its error predicts."""

    def scores(number: int) -> list[Components]:
        return [evaluate(estimator, evidence.take(np.flatnonzero(part == number))) for evidence in pool]

    first = scores(0)
    probes = [evidence.take(np.flatnonzero(part == 0)) for evidence in pool]
    resampled = [[evaluate(estimator, resample(p, number, seed)) for number in range(resamples)] for p in probes]
    replicates = [replicate(score, again) for score, again in zip(first, resampled, strict=True)]
    totals = np.array([estimator.combine(each) for each in zip(*replicates, strict=True)])
    predicted = 2**0.5 * totals.std(axis=0, ddof=1)
    score = np.array(estimator.combine(first))
    gaps = [np.array(estimator.combine(scores(other))) - score for other in range(1, PARTS)]
    return np.concatenate([gap[predicted > 0] / predicted[predicted > 0] for gap in gaps]).tolist()  # type: ignore[no-any-return]


def report(found: Mapping[str, Sequence[float]], console: Console) -> None:
    columns = ("estimator", "pairs of probes", "within 1", "within 2", "found / predicted")
    table = Table(*columns, title="differences between probes, in predicted deviations (68% and 95% are expected)")
    for name, values in found.items():
        sizes = np.abs(values)
        shares = [f"{(sizes <= limit).mean():.0%}" for limit in (1, 2)]
        table.add_row(name, str(len(sizes)), *shares, f"{np.sqrt(np.square(sizes).mean()):.2f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--estimators", default=",".join(ESTIMATORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=30)
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, list[float]] = {name: [] for name in options.estimators.split(",")}
    seconds = dict.fromkeys(found, 0.0)
    with threadpool_limits(1):
        for dataset in options.datasets.split(","):
            pool = evidence_of(dataset, Store(options.cache))
            assert pool[0].labels is not None
            for seed in range(options.seeds):
                part = parts_of(pool[0].labels, np.random.default_rng(seed))
                for name in found:
                    begun = time.process_time()
                    found[name] += deviations(get_host().estimator(name), pool, part, options.resamples, seed)
                    seconds[name] += time.process_time() - begun
    console = Console(width=120)
    report(found, console)
    console.print(", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()))


if __name__ == "__main__":
    main()
