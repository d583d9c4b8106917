"""A quick guard of the estimators' speed: each in turn with a bare call of LAPACK, on a small tall and wide input.

    python benchmarks/guard.py [--json FILE] [--expect]

A ratio is the CPU seconds of an estimator over those of the bare call, each the least of many runs in turn. So it
holds whatever else the machine does, but not on another processor, where it may be twice as large or half as large.
`expected_ratios.json` keeps the least ratio on each kind of processor; `--expect` adds this run's. A test fails where a
ratio is `FACTOR` times the expected one. Where the kind is not known, it fails where a ratio is `FACTOR_ELSEWHERE`
times the largest one known, and what all estimators together are above theirs.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dsytrd
from threadpoolctl import threadpool_info, threadpool_limits

import modelselect as ms
from modelselect.estimators.estimator import evaluate
from modelselect.host.host import get_host

EXPECTED = Path(__file__).with_name("expected_ratios.json")

FACTOR = 1.4
FACTOR_ELSEWHERE = 2.25

REPEATS = 5
"""Runs of each case at first. Most cases are then seen not to be slow, also on a machine that is busy."""

ATTEMPTS, MORE_REPEATS = 6, 15
"""How often a case that looks slow is measured again, and by how many more runs."""

Times = Mapping[str, float]
"""The least CPU seconds: of estimators by case (`"wide logme"`), of the bare call by shape (`"wide"`)."""

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


def slow_cases(cases: Iterable[str] = (), expected: Mapping[str, float] | None = None) -> dict[str, float]:
    """The cases that are too slow, and how many times the expected ratio they take.

    What looks slow is measured again, alone, since other cases or another process may have disturbed it. Runs are added
    to those before: an undisturbed one is enough.

    Args:
        cases: `"wide logme"`, ...; every estimator on every shape by default.
        expected: the ratios on this processor; by default those of the file.
    """
    measured = times(cases)
    slow = too_slow(ratios(measured), expected)
    for _ in range(ATTEMPTS):
        if not slow:
            break
        for case in slow:
            measured = times([case], MORE_REPEATS, measured)
        slow = too_slow(ratios(measured), expected)
    return slow


def times(cases: Iterable[str] = (), repeats: int = REPEATS, before: Times | None = None) -> Times:
    """The least times of these cases, as `slow_cases` takes them; the runs of a case are spread over all repeats.

    Args:
        cases: as for `slow_cases`.
        repeats: number of runs of each case.
        before: times of earlier runs, which count as well.
    """
    inputs = {shape: _fields(*sides) for shape, sides in SHAPES.items()}
    estimators = get_host().estimators
    chosen = list(cases) or [f"{shape} {name}" for shape in SHAPES for name in NAMES]
    found = dict(before or {})
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(repeats):
            for case in chosen:
                shape, _, name = case.partition(" ")
                evidence = ms.Evidence.of(**inputs[shape])  # type: ignore[arg-type]
                begun = time.process_time()
                evaluate(estimators[name], evidence)
                between = time.process_time()
                _bare(inputs[shape]["features"])
                ended = time.process_time()
                found[case] = min(between - begun, found.get(case, math.inf))
                found[shape] = min(ended - between, found.get(shape, math.inf))
    return found


def ratios(measured: Times) -> dict[str, float]:
    """An estimator's seconds over those of the bare call, by case."""
    return {case: seconds / measured[case.partition(" ")[0]] for case, seconds in measured.items() if " " in case}


def _fields(n: int, d: int) -> dict[str, np.ndarray]:
    rng, labels = np.random.default_rng(0), np.arange(n) % CLASSES
    features = rng.normal(size=(CLASSES, d))[labels] / 4 + rng.normal(size=(n, d))
    return {
        "features": features,
        "labels": labels,
        "source_probabilities": rng.dirichlet(np.ones(50), n),
        "proxy_features": features[:, :32] + rng.normal(size=(n, 32)),
    }


def _bare(features: np.ndarray) -> None:
    """The smaller Gram matrix, and its reduction to three diagonals."""
    tall = len(features) >= features.shape[1]
    gram = dsyrk(1.0, features.T, trans=not tall, lower=1)
    dsytrd(gram, lower=1, lwork=64 * len(gram))


def processor() -> str:
    """The kind of processor: its maker, family and model, as far as Linux says them, and the kernels of OpenBLAS."""
    kernels = sorted(
        {str(library.get("architecture")) for library in threadpool_info() if library["user_api"] == "blas"}
    )
    said = dict[str, str]()
    if (file := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in file.read_text(encoding="utf-8").splitlines()]
        said = {name.strip(): value.strip() for name, _, value in lines}
    kind = [said[name] for name in ("vendor_id", "cpu family", "model") if name in said] or [platform.machine()]
    return " ".join([*kind, *kernels])


def all_expected() -> dict[str, dict[str, float]]:
    """The least ratios, by kind of processor and by case."""
    ratios: dict[str, dict[str, float]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return ratios


def too_slow(measured: Mapping[str, float], expected: Mapping[str, float] | None = None) -> dict[str, float]:
    """The cases of these ratios that are too slow, and how many times the expected ratio they take.

    On an unknown processor, LAPACK may be faster relative to the rest. Most ratios are then above the known ones: each
    is first divided by the median of all, if that is above one.

    Args:
        measured: the ratios.
        expected: as for `slow_cases`.
    """
    known, factor, shared = all_expected(), FACTOR, 1.0
    expected = known.get(processor()) if expected is None else expected
    if expected is None:
        expected = {case: max(of[case] for of in known.values()) for case in measured}
        factor = FACTOR_ELSEWHERE
        shared = max(1.0, statistics.median(ratio / expected[case] for case, ratio in measured.items()))
    above = {case: ratio / expected[case] / shared for case, ratio in measured.items()}
    return {case: times for case, times in above.items() if times > factor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    parser.add_argument("--expect", action="store_true", help="keep the ratios of this run where they are the least")
    arguments = parser.parse_args()
    measured = times(repeats=MORE_REPEATS)
    for case in ratios(measured):  # alone, as what looks slow is measured again: its memory is then at hand
        measured = times([case], MORE_REPEATS, measured)
    found = ratios(measured)
    print(json.dumps(found, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.expect:
        known = all_expected() if EXPECTED.exists() else {}
        here = known.get(processor(), {})
        known[processor()] = {case: round(min(ratio, here.get(case, ratio)), 3) for case, ratio in found.items()}
        EXPECTED.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    for case, above in too_slow(found).items() if EXPECTED.exists() else ():
        print(f"{case}: {above:.1f} times the expected ratio")


if __name__ == "__main__":
    main()
