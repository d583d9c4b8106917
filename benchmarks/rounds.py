"""What rounds lose: simulated with stored features of the lab's networks and their accuracies after fine-tuning.

    python benchmarks/rounds.py [--datasets neu6,trashnet6] [--rows 240] [--pools 150] [--seed 0] [--cache-dir FOLDER]

Each network is scored by the default estimator on nested parts of the rows: an eighth, a quarter, a half, all. Then
random pools of 5 to 26 networks go through rounds by several rules, and the first place is compared with that of a run
that shows all rows to all of them: whether it is the same network, whether it is one of the first two, and how many
points of accuracy it has more after fine-tuning (`benchmarks/lab_truth.csv`). The shared material is in the folder
`MODELSELECT_SHARED`, by default `../shared`.
"""

from __future__ import annotations

import argparse
import csv
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.budget.budget import round_sizes
from modelselect.estimators.estimator import evaluate_member
from modelselect.host.host import get_host
from modelselect.host.lookup import search
from modelselect.probe.nested import nest

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
TRUTH = Path(__file__).with_name("lab_truth.csv")
ESTIMATOR = get_host().estimator("evidence")
SIZES = 5, 26

Rule = Callable[[NDArray[np.float64]], Sequence[int]]
"""From the scores of a round to the positions of those that go on."""


@dataclass
class Scored:
    """The networks of the lab on one dataset.

    Attributes:
        accuracies: after fine-tuning, per cent.
        sizes: rows of each round.
        components: by round and network.
    """

    accuracies: Sequence[float]
    sizes: Sequence[int]
    components: Sequence[Sequence[Mapping[str, float]]]

    def scores(self, round_: int, networks: Sequence[int]) -> NDArray[np.float64]:
        return np.asarray(ESTIMATOR.combine([self.components[round_][network] for network in networks]))


def better_half(least: int) -> Rule:
    return lambda scores: np.argsort(-scores)[: max(-(-len(scores) // 2), least)].tolist()


def near_first(deviations: float) -> Rule:
    return lambda scores: np.flatnonzero(scores >= scores.max() - deviations).tolist()


RULES: dict[str, Rule] = {
    "the better half, at least 3": better_half(3),
    "the better half, at least 2": better_half(2),
    "those within 1.2 deviations of the first": near_first(1.2),
    "those within 0.5 deviations of the first": near_first(0.5),
}


def scored(dataset: str, rows: int, cache_dir: str | None) -> Scored:
    with TRUTH.open() as file:
        known = {row["model"]: float(row["accuracy"]) for row in csv.DictReader(file) if row["dataset"] == dataset}
    candidates = {c.id: c for c in search(f"dir:{SHARED / 'lab' / 'models' / '*'}") if Path(c.name).name in known}
    folder = str(SHARED / "lab" / "datasets" / dataset)
    found = ms.features(
        folder,
        list(candidates.values()),
        probe_size=rows,
        trust_remote_code=True,
        cache_dir=cache_dir,
        progress=False,
    )
    labels = next(iter(found.values())).labels
    assert labels is not None
    probe = ms.Probe.of((np.zeros((len(labels), 1, 1, 3), np.uint8), labels))
    parts = nest(probe, round_sizes(len(labels), probe.n_classes))
    components = []
    for part in parts:
        components.append([])
        for candidate, evidence in found.items():
            shown = ms.Evidence.of(
                features=np.asarray(evidence.features)[part.rows],
                labels=labels[part.rows],
                metadata=dict(candidates[candidate].metadata),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that rows are few
                components[-1].append(evaluate_member(ESTIMATOR, shown)[0])
    return Scored([known[Path(candidates[c].name).name] for c in found], [len(p.rows) for p in parts], components)


def in_rounds(lab: Scored, pool: Sequence[int], rule: Rule) -> tuple[int, int]:
    """The first of the pool, and the number of rows that were passed forward."""
    alive, shown = list(pool), dict.fromkeys(pool, 0)
    for round_, rows in enumerate(lab.sizes):
        shown |= dict.fromkeys(alive, rows)
        scores = lab.scores(round_, alive)
        if len(alive) == 1 or round_ == len(lab.sizes) - 1:
            break
        alive = [alive[position] for position in rule(scores)]
    return alive[int(scores.argmax())], sum(shown.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="chestxray3,flowers5_lowres,neu6,signdigits10,trashnet6")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--pools", type=int, default=150, help="random pools of each dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache-dir", help="the folder of the store, which may hold the features already")
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in RULES}
    for dataset in given.datasets.split(","):
        lab = scored(dataset, given.rows, given.cache_dir)
        for _ in range(given.pools):
            size = int(random.integers(SIZES[0], SIZES[1] + 1))
            pool = random.choice(len(lab.accuracies), size, replace=False).tolist()
            order = [pool[position] for position in np.argsort(-lab.scores(-1, pool), kind="stable")]
            for name, rule in RULES.items():
                first, rows = in_rounds(lab, pool, rule)
                gain = lab.accuracies[first] - lab.accuracies[order[0]]
                found[name].append((first == order[0], first in order[:2], gain, rows / (size * lab.sizes[-1])))
        print(f"{dataset}: {len(lab.accuracies)} networks, rounds of {', '.join(map(str, lab.sizes))} rows", flush=True)
    print("\n| which go on | same first | first or second | points of accuracy | passes |")
    print("| --- | --: | --: | --: | --: |")
    for name, draws in found.items():
        same, near, gain, passes = np.mean(draws, axis=0)
        print(f"| {name} | {same:.0%} | {near:.0%} | {gain:+.2f} | {passes:.2f} |")


if __name__ == "__main__":
    main()
