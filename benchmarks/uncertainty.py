"""How well the probabilities of `select(..., resamples=...)` are calibrated, on real models and real data.

    python benchmarks/uncertainty.py [--datasets dtd10,clothing10] [--seeds 3] [--resamples 30] [--cache FOLDER]

A quarter of a dataset's rows is the probe. From it follows, for each pair of models, the probability that one scores
above the other. The truth is their order on rows outside the probe: by the mean score of the other three quarters,
which are probes of the same size; and by the score of these three quarters together, a probe three times as large.
Every pair counts in both directions. One thread; the shared material is in the folder `MODELSELECT_SHARED`, by default
`../shared`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import modelselect as ms
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.estimators.resampling import probability_better, replicate, resample
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
BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

Vector = NDArray[np.float64]
Components = Mapping[str, float]


class Predicted(NamedTuple):
    """One pair: the probability that the first is better, and whether it is better (0.5 for equal scores)."""

    probability: float
    same_size: float
    larger: float


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


def predictions(
    estimator: Estimator, pool: Sequence[ms.Evidence], part: NDArray[np.int64], resamples: int, seed: int
) -> list[Predicted]:
    """Every pair of the pool, with the first part of the rows as the probe."""

    def scores(rows: NDArray[np.bool_]) -> list[Components]:
        return [evaluate(estimator, evidence.take(np.flatnonzero(rows))) for evidence in pool]

    whole = scores(part == 0)
    probes = [evidence.take(np.flatnonzero(part == 0)) for evidence in pool]
    resampled = [[evaluate(estimator, resample(p, number, seed)) for number in range(resamples)] for p in probes]
    replicates = [replicate(score, again) for score, again in zip(whole, resampled, strict=True)]
    totals = np.array([estimator.combine(each) for each in zip(*replicates, strict=True)])
    score = estimator.combine(whole)
    same_size = np.mean([estimator.combine(scores(part == other)) for other in range(1, PARTS)], axis=0)
    larger = estimator.combine(scores(part != 0))

    def better(truth: Vector, first: int, second: int) -> float:
        return 0.5 + 0.5 * float(np.sign(truth[first] - truth[second]))

    return [
        Predicted(
            probability_better(score[first] - score[second], totals[:, first] - totals[:, second]),
            better(same_size, first, second),
            better(larger, first, second),
        )
        for first, second in itertools.permutations(range(len(pool)), 2)
    ]


def calibration_error(probability: Vector, outcome: Vector) -> float:
    """Mean distance between predicted probability and observed frequency over ten bins, weighted by their share."""
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [abs((probability - outcome)[bins == index].sum()) for index in range(10)]
    return float(sum(gaps) / len(bins))


def report(found: Mapping[str, Sequence[Predicted]], console: Console) -> None:
    summary = Table("estimator", "pairs", "truth", "Brier score", "calibration error", title="calibration")
    for name, predicted in found.items():
        table = Table("predicted", "pairs", "mean", "same size", "three times", title=f"{name}: observed frequency")
        probability, same_size, larger = (np.array(column) for column in zip(*predicted, strict=True))
        for low, high in itertools.pairwise(BINS):
            inside = (probability >= low) & ((probability < high) | (high == 1.0))
            if low == 0.5:  # the other half holds the same pairs
                inside &= probability > 0.5
            if inside.any():
                shares = [f"{values[inside].mean():.3f}" for values in (probability, same_size, larger)]
                table.add_row(f"{low:g} to {high:g}", str(inside.sum()), *shares)
        console.print(table)
        for label, outcome in (("same size", same_size), ("three times", larger)):
            brier = float(np.square(probability - outcome).mean())
            error = calibration_error(probability, outcome)
            summary.add_row(name, str(len(predicted) // 2), label, f"{brier:.3f}", f"{error:.3f}")
    console.print(summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--estimators", default=",".join(ESTIMATORS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resamples", type=int, default=30)
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, list[Predicted]] = {name: [] for name in options.estimators.split(",")}
    seconds = dict.fromkeys(found, 0.0)
    with threadpool_limits(1):
        for dataset in options.datasets.split(","):
            pool = evidence_of(dataset, Store(options.cache))
            assert pool[0].labels is not None
            for seed in range(options.seeds):
                part = parts_of(pool[0].labels, np.random.default_rng(seed))
                for name in found:
                    begun = time.process_time()
                    found[name] += predictions(get_host().estimator(name), pool, part, options.resamples, seed)
                    seconds[name] += time.process_time() - begun
    console = Console(width=120)
    report(found, console)
    console.print(", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()))


if __name__ == "__main__":
    main()
