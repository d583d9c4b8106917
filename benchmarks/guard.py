"""A quick guard of the estimators' speed: each in turn with a bare call of LAPACK, on a small tall and wide input.

    python benchmarks/guard.py [--json FILE] [--expect]

`ratios()` are seconds of an estimator over those of the bare call, so that they nearly hold on any machine.
`expected_ratios.json` keeps the range of several runs; `--expect` widens it by this run's. A test fails where a ratio
is `FACTOR` times above the range, its margin, and what all estimators together are above theirs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dsytrd
from threadpoolctl import threadpool_limits

import modelselect as ms
from modelselect.estimators.estimator import evaluate
from modelselect.host.host import get_host

EXPECTED = Path(__file__).with_name("expected_ratios.json")

FACTOR = 1.5
MARGIN = 1.5  # for machines on which other parts of the processor are slower, relative to LAPACK, than where the
# ranges were measured, or busy with other programs

SHAPES = {"tall": (1500, 256), "wide": (300, 700)}
CLASSES = 10
NAMES = (
    "centroid",
    "dds",
    "etran",
    "fda",
    "gbc",
    "h_score",
    "knn",
    "leep",
    "lfc",
    "logme",
    "nc_score",
    "ncti",
    "pactran_dirichlet",
    "parc",
    "ped",
    "rsa",
    "sfda",
    "tmi",
    "transrate",
)


def ratios(cases: Iterable[str] = (), repeats: int = 7) -> dict[str, float]:
    """CPU seconds of an estimator over those of the bare call, each the least of several runs in turn.

    Args:
        cases: `"wide logme"`, ...; every estimator on every shape by default.
        repeats: number of runs.
    """
    found: dict[str, float] = {}
    estimators = get_host().estimators
    rng = np.random.default_rng(0)
    for shape, (n, d) in SHAPES.items():
        labels = np.arange(n) % CLASSES
        features = rng.normal(size=(CLASSES, d))[labels] / 4 + rng.normal(size=(n, d))
        fields = {
            "features": features,
            "labels": labels,
            "source_probabilities": rng.dirichlet(np.ones(50), n),
            "proxy_features": features[:, :32] + rng.normal(size=(n, 32)),
        }
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in NAMES:
                if cases and f"{shape} {name}" not in cases:
                    continue
                ours = bare = math.inf
                for _ in range(repeats):
                    evidence = ms.Evidence.of(**fields)  # type: ignore[arg-type]
                    begun = time.process_time()
                    evaluate(estimators[name], evidence)
                    ended = time.process_time()
                    _bare(features)
                    ours, bare = min(ours, ended - begun), min(bare, time.process_time() - ended)
                found[f"{shape} {name}"] = ours / bare
    return found


def _bare(features: np.ndarray) -> None:
    """The smaller Gram matrix, and its reduction to three diagonals."""
    tall = len(features) >= features.shape[1]
    gram = dsyrk(1.0, features.T, trans=not tall, lower=1)
    dsytrd(gram, lower=1, lwork=64 * len(gram))


def expected() -> dict[str, list[float]]:
    """The least and the greatest ratio of several runs."""
    ranges: dict[str, list[float]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return ranges


def too_slow(measured: Mapping[str, float]) -> dict[str, float]:
    """The cases above their range and its margin, and how many times.

    Where LAPACK is faster, relative to the rest, than on the machine of the ranges, most ratios are above their range:
    each is first divided by the median of all, if that is above one.
    """
    ranges = expected()
    above = {case: ratio / ranges[case][1] for case, ratio in measured.items()}
    allowed = MARGIN * max(1.0, statistics.median(above.values()))
    return {case: each / allowed for case, each in above.items() if each / allowed > FACTOR}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    parser.add_argument("--expect", action="store_true", help="widen the expected ranges by the ratios of this run")
    arguments = parser.parse_args()
    measured = ratios()
    print(json.dumps(measured, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    if arguments.expect:
        known = expected() if EXPECTED.exists() else {}
        ranges = {
            case: [round(f(ratio, *known.get(case, ())), 3) if case in known else round(ratio, 3) for f in (min, max)]
            for case, ratio in measured.items()
        }
        lines = ",\n".join(f" {json.dumps(case)}: {json.dumps(each)}" for case, each in ranges.items())
        EXPECTED.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    for case, times in too_slow(measured).items() if EXPECTED.exists() else ():
        print(f"{case}: {times:.1f} times the expected ratio")


if __name__ == "__main__":
    main()
