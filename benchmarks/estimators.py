"""How fast the estimators are: compared with their authors' code, all together, and with the linear algebra they need.

    python benchmarks/estimators.py [--only logme,ncti] [--repeats 3] [--memory]

One thread. The authors' seconds come from the shared golden material (in the folder `MODELSELECT_SHARED`, by default
`../shared`). They were measured on another machine, so each figure is a multiple of a calibration kernel (one Gram
matrix and its eigendecomposition) that is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import statistics
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import modelselect as ms
from modelselect.estimators.estimator import evaluate
from modelselect.host.host import get_host

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))

REFERENCES: Mapping[str, Sequence[str]] = {
    "dds": ["parc/DDS"],
    "etran": ["etran/LDA", "etran/Energy_feat_0.5bot"],
    "fda": ["fennec/FDA_eps1e-6"],
    "gbc": ["emab/GBC_sph_exactPCA64"],
    "h_score": ["tllib/h_score"],
    "itm": ["itm/ITM_port"] * 5,  # our score is the mean of five runs
    "knn": ["parc/kNN_k1"],
    "leep": ["logme/LEEP"],
    "lfc": ["modelspider/LFC"],
    "logme": ["logme/LogME_fixedpoint"],
    "nc_score": ["nc/NC1_papyan"],
    "nce": ["logme/NCE"],
    "ncti": ["ncti/NCTI_raw_exactPCA"],
    "pactran": ["pactran/pac_gauss_1_100"],
    "pactran_dirichlet": ["pactran/pac_dir_1"],
    "pactran_gamma": ["pactran/pac_gamma_1"],
    "parc": ["parc/PARC_32"],
    "ped": ["ped/PED_SFDA_0.6"],
    "persistence": ["pr/PR_mst"],
    "rsa": ["parc/RSA"],
    "sfda": ["sfda/SFDA"],
    "transrate": ["tllib/TransRate"],
}
"""The keys in `timings.json` for the default form of each estimator."""


class Kernel(NamedTuple):
    """Number of each operation, or seconds for each on one matrix: X'X, its eigendecomposition, its Cholesky factor."""

    gram: float
    eigh: float
    cholesky: float = 0.0

    @property
    def calibration(self) -> float:
        return self.gram + self.eigh


NEEDS: Mapping[str, Kernel] = {
    "dds": Kernel(1, 0),
    "fda": Kernel(1, 0, 1),
    "gbc": Kernel(1, 1),
    "h_score": Kernel(1, 0, 1),
    "lfc": Kernel(1, 0),
    "logme": Kernel(1, 1),
    "nc_score": Kernel(1, 0),
    "ncti": Kernel(1, 1),
    "sfda": Kernel(2, 0, 2),
    "transrate": Kernel(1, 0, 1),
}
"""The linear algebra in each formula, for estimators without any other large cost."""


def gauss(seed: int, n: int, d: int, classes: int, source_classes: int, separation: float) -> dict[str, NDArray[Any]]:
    """Evidence fields by the recipe in `scores.json` (float64, unit noise and scale, equal classes)."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    means = rng.normal(size=(classes, d)) * separation
    mixing = rng.normal(size=(d, d)) / np.sqrt(d)
    x = means[y] + rng.normal(size=(n, d)) @ mixing + 0.7 * rng.normal(size=(n, d))
    logits = (x @ rng.normal(size=(d, source_classes))) * (2.0 / np.sqrt(d)) + 0.5 * rng.normal(
        size=(n, source_classes)
    )
    source = 0.1 + 1.5 * rng.normal(size=(300, d)) @ mixing
    reference = np.tanh(x @ (rng.normal(size=(d, 48)) / np.sqrt(d))) + 0.1 * rng.normal(size=(n, 48))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return {
        "features": x,
        "labels": y,
        "source_probabilities": exponentials / exponentials.sum(axis=1, keepdims=True),
        "source_features": source,
        "proxy_features": reference,
    }


def least_seconds(function: Callable[[], object], repeats: int) -> float:
    """The minimum over several runs, in CPU seconds; with one thread on an idle machine, the same as wall time."""
    least = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        function()
        least = min(least, time.process_time() - begun)
    return least


def kernel(features: NDArray[Any], repeats: int) -> Kernel:
    gram = features.T @ features
    return Kernel(
        least_seconds(lambda: features.T @ features, repeats),
        least_seconds(lambda: np.linalg.eigh(gram), repeats),
        least_seconds(lambda: np.linalg.cholesky(gram), repeats),
    )


def alone(estimator: ms.Estimator, fields: Mapping[str, Any], repeats: int) -> float:
    """Seconds of one estimator on evidence without shared results of others."""
    evidences = [ms.Evidence.of(**fields) for _ in range(repeats)]
    return least_seconds(lambda: evaluate(estimator, evidences.pop()), repeats)


def together(estimators: Sequence[ms.Estimator], fields: Mapping[str, Any], repeats: int) -> float:
    """Seconds of all estimators on the same evidence."""

    def run(evidence: ms.Evidence) -> None:
        for estimator in estimators:
            evaluate(estimator, evidence)

    evidences = [ms.Evidence.of(**fields) for _ in range(repeats)]
    return least_seconds(lambda: run(evidences.pop()), repeats)


def against_the_authors(estimators: Sequence[ms.Estimator], repeats: int, console: Console) -> None:
    timings = json.loads((SHARED / "golden" / "timings.json").read_text())
    theirs_kernel = Kernel(*timings["calibration"].values())
    fields = gauss(6, 5000, 1024, 50, 100, separation=0.10)
    before = kernel(fields["features"], repeats)
    seconds = {e.name: alone(e, fields, repeats) for e in estimators}
    all_together = together(estimators, fields, repeats)
    closed = [e for e in estimators if e.cost == "closed form"]
    closed_together = together(closed, fields, repeats) if closed else 0.0
    after = kernel(fields["features"], repeats)
    ours_kernel = Kernel(*map(min, before, after))

    table = Table(title="alone, 5,000 x 1,024, 50 classes, as multiples of the calibration kernel")
    for column in ("estimator", "authors", "ours", "times faster"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    ratios, authors_total = {}, 0.0
    for name, ours in seconds.items():
        authors = sum(timings["seconds"][key] for key in REFERENCES[name])
        authors_total += authors
        ratios[name] = authors / theirs_kernel.calibration / (ours / ours_kernel.calibration)
    for name in sorted(ratios, key=ratios.__getitem__):
        ours = seconds[name] / ours_kernel.calibration
        table.add_row(name, f"{ours * ratios[name]:.3f}", f"{ours:.3f}", f"{ratios[name]:.1f}")
    console.print(table)
    console.print(
        f"calibration kernel here: Gram {ours_kernel.gram:.3f} s, eigendecomposition {ours_kernel.eigh:.3f} s"
    )
    console.print(f"median: {statistics.median(ratios.values()):.1f} times faster; least: {min(ratios.values()):.1f}")
    ratio = authors_total / theirs_kernel.calibration / (all_together / ours_kernel.calibration)
    console.print(f"all {len(seconds)} on one evidence: {ratio:.1f} times faster than the sum of the authors'")
    if closed:
        slowest = max(seconds[e.name] for e in closed)
        multiple = closed_together / slowest
        console.print(
            f"the {len(closed)} in closed form, on one evidence: {multiple:.2f} times the slowest of them alone"
        )


def against_the_limit(estimators: Sequence[ms.Estimator], repeats: int, console: Console) -> None:
    fields = gauss(7, 5000, 2048, 100, 100, separation=0.10)
    here = kernel(fields["features"], repeats)
    console.print(f"here: Gram {here.gram:.2f} s, eigendecomposition {here.eigh:.2f} s, Cholesky {here.cholesky:.2f} s")
    table = Table(title="alone, 5,000 x 2,048, 100 classes, as multiples of the necessary linear algebra")
    for column in ("estimator", "Gram", "eigh", "Cholesky", "multiple"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    for estimator in estimators:
        needs = NEEDS[estimator.name]
        limit = sum(map(operator.mul, needs, here))
        table.add_row(estimator.name, *map(str, needs), f"{alone(estimator, fields, repeats) / limit:.2f}")
    console.print(table)


def memory(estimators: Sequence[ms.Estimator], console: Console, n: int = 100_000, d: int = 2048) -> None:
    """Peak memory of each estimator on memory-mapped float32 features."""
    table = Table(title=f"memory beyond the mapped file, {n:,} x {d:,} float32, 100 classes")
    for column in ("estimator", "peak GB", "seconds"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
        labels = rng.permutation(np.arange(n) % 100)
        means = 0.1 * rng.normal(size=(100, d)).astype(np.float32)
        for start in range(0, n, 10_000):
            part = slice(start, start + 10_000)
            features[part] = means[labels[part]] + rng.standard_normal((len(labels[part]), d), dtype=np.float32)
        features.flush()
        mapped = np.load(path, mmap_mode="r")
        source = rng.normal(size=(300, d))
        probabilities = np.full((n, 10), 0.1)
        reference = rng.normal(size=(n, 48))
        for estimator in estimators:
            fields = {
                "features": mapped,
                "labels": labels,
                "source_features": source,
                "source_probabilities": probabilities,
                "proxy_features": reference,
            }
            evidence = ms.Evidence.of(**fields)
            tracemalloc.start()
            begun = time.process_time()
            try:
                evaluate(estimator, evidence)
                peak = f"{tracemalloc.get_traced_memory()[1] / 1e9:.2f}"
            except ms.errors.NotApplicableError as error:
                peak = str(error)
            tracemalloc.stop()
            table.add_row(estimator.name, peak, f"{time.process_time() - begun:.0f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", help="estimators, separated by commas; default: all that have a reference"
    )
    parser.add_argument("--repeats", type=int, default=3, help="number of runs, whose minimum counts")
    parser.add_argument("--memory", action="store_true", help="measure memory on 100,000 rows instead of time")
    arguments = parser.parse_args()
    chosen = set(filter(None, arguments.only.split(",")))
    estimators = [
        e for e in get_host().estimators.values() if e.name in REFERENCES and (not chosen or e.name in chosen)
    ]
    console = Console()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ms.errors.ScoreWarning)
        if arguments.memory:
            memory([e for e in estimators if e.cost != "quadratic"], console)
        else:
            against_the_authors(estimators, arguments.repeats, console)
            against_the_limit([e for e in estimators if e.name in NEEDS], arguments.repeats, console)


if __name__ == "__main__":
    main()
