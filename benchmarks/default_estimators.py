"""Which estimators should `select()` use by default? Measures their agreement with fine-tuning.

    python benchmarks/default_estimators.py [--measure]

Three kinds of evidence, printed as tables:

1. The twelve embedded networks, fine-tuned on small real datasets (the demo's digits, and datasets of the shared
   material). `--measure` fine-tunes them again, a minute or less for each dataset and seed on one core, and writes
   `embedded_accuracies.json`. Otherwise the accuracies are read from this file. Every registered estimator that applies
   is run on probes of several sizes.
2. Scores and accuracies of ten ImageNet networks on eight datasets, published with TLlib.
3. The agreement reported in the papers of NCTI and ITM, with static baselines on the same tables.

The shared material is in the folder `MODELSELECT_SHARED`, by default `../shared`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import weightedtau

import modelselect as ms
from modelselect.estimators.ranks import mean_rank, normalised_ranks
from modelselect.host.host import get_host
from modelselect.verification import verify
from modelselect_plugins.estimators.ensemble import learn_weights
from modelselect_plugins.zoos.embedded import EmbeddedZoo
from modelselect_plugins.zoos.embedded.demo import FINE_TUNING, demo_dataset, truth

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
ACCURACIES = Path(__file__).with_name("embedded_accuracies.json")
COMMAND = "python benchmarks/default_estimators.py --measure"

DEMO = "digits5to9"
LAB = ("mnist10", "signdigits10", "cifar10jpeg", "neu6", "trashnet6", "flowers5_lowres", "caltech24")
TRAINING_ROWS = 100  # few, so that the pre-training decides
HOLDOUT = 0.75  # share of the dataset's training rows; its test rows are not used
SEEDS = (0, 1)

PROBES = {"25 rows": 25, "45 rows": 45, "100 rows": TRAINING_ROWS, "held-out rows": None}
"""Sizes of the probes: fewer rows than the networks' 32 to 64 dimensions, about as many, and more."""

BASELINES = ("parameters", "source_accuracy")
MEMBERS_AT_MOST = 3
SHOWN = 10

Vector = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, Vector]]
"""By dataset and estimator, (n,) scores of the candidates; NaN if there is none."""

Pools = Mapping[str, Scores]
"""By size of the probe."""

Methods = Mapping[str, Callable[[Mapping[str, Vector]], Vector]]
"""From all estimators' scores of one dataset to one score for each candidate, by name."""

Figure = Callable[[Vector, Vector], float]


def probes(size: int = TRAINING_ROWS) -> Iterator[tuple[str, ms.Probe]]:
    """Each dataset's name and some of its rows, by default those for fine-tuning; `holdout` has the others."""
    yield DEMO, ms.Probe.of(demo_dataset(), size=size, holdout=HOLDOUT)
    for name in LAB:
        yield name, ms.Probe.of(SHARED / "lab" / "datasets" / name, size=size, holdout=HOLDOUT)


def measure() -> None:
    """Fine-tunes every embedded network on every dataset, and saves the accuracies after each dataset."""
    import torch

    torch.set_num_threads(1)
    zoo = EmbeddedZoo()
    shipped = truth()["candidates"]
    datasets: dict[str, Any] = {}
    for dataset, probe in probes():
        assert probe.holdout is not None
        accuracies: dict[str, list[float]] = {}
        for candidate in zoo.search("*"):
            if dataset == DEMO:
                accuracies[candidate.name] = shipped[candidate.name]["accuracies"]
                continue
            backbone = zoo.load(candidate)
            accuracies[candidate.name] = [
                round(verify(backbone, probe, probe.holdout, FINE_TUNING, seed=seed).accuracy, 4) for seed in SEEDS
            ]
            print(dataset, candidate.name, accuracies[candidate.name], flush=True)
        datasets[dataset] = {
            "fingerprint": probe.fingerprint,
            "classes": probe.n_classes,
            "training_rows": len(probe),
            "holdout_rows": len(probe.holdout),
            "accuracies": accuracies,
        }
        document = {"command": COMMAND, "settings": asdict(FINE_TUNING), "seeds": list(SEEDS), "datasets": datasets}
        ACCURACIES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


# --- judging ---------------------------------------------------------------------------------------------------------


def weighted_kendall(scores: Vector, accuracies: Vector) -> float:
    """The same as in `ms.agreement`, without its other figures, because it is needed many thousand times."""
    filled = last_where_missing(scores)
    return float(weightedtau(filled, accuracies).statistic) if np.ptp(filled) > 0 else 0.0


def regret(scores: Vector, accuracies: Vector) -> float:
    """Points of accuracy lost by choosing the candidate with the best score."""
    return ms.agreement(last_where_missing(scores), accuracies).top1_regret


def last_where_missing(scores: Vector) -> Vector:
    """Puts a candidate without a score last, as on the leaderboard, so that all methods rank the same pool."""
    there = scores[~np.isnan(scores)]
    return np.where(np.isnan(scores), there.min() - 1 if len(there) else 0.0, scores)


def borda(scores: Mapping[str, Vector], members: Iterable[str]) -> Vector:
    return mean_rank({name: normalised_ranks(scores[name]) for name in members})


def judged(pools: Pools, accuracies: Mapping[str, Vector], methods: Methods, figure: Figure) -> pd.DataFrame:
    """`figure` of each method (row) for each pool and dataset (columns)."""
    return pd.DataFrame(
        {
            name: {
                (pool, d): figure(scored(by), accuracies[d])
                for pool, scores in pools.items()
                for d, by in scores.items()
            }
            for name, scored in methods.items()
        }
    ).T


def summary(pools: Pools, accuracies: Mapping[str, Vector], methods: Methods, baseline: str = "") -> pd.DataFrame:
    """For each method: mean weighted Kendall over datasets, its standard error, regret, wins; by pool.

    The figure of a dataset is the mean over the pools, which are not independent of each other.
    """
    detail = judged(pools, accuracies, methods, weighted_kendall)
    by_dataset = detail.T.groupby(level=1).mean().T
    table = pd.DataFrame({"mean": by_dataset.mean(axis=1), "s.e.": by_dataset.std(axis=1) / by_dataset.shape[1] ** 0.5})
    table["regret"] = judged(pools, accuracies, methods, regret).mean(axis=1)
    if baseline:
        won = (by_dataset > by_dataset.loc[baseline]).sum(axis=1)
        table[f"beats {baseline}"] = won.map(lambda count: f"{count} of {by_dataset.shape[1]}")
    if len(pools) > 1:
        table = table.join(detail.T.groupby(level=0, sort=False).mean().T)
    return table.sort_values("mean", ascending=False)


def alone(names: Iterable[str]) -> Methods:
    return {name: operator.itemgetter(name) for name in names}


def ensembles(members: Sequence[str]) -> Methods:
    """Plain Borda of up to three members."""
    chosen = itertools.chain.from_iterable(
        itertools.combinations(members, size) for size in range(1, MEMBERS_AT_MOST + 1)
    )
    return {" + ".join(names): functools.partial(borda, members=names) for names in chosen}


def chosen_elsewhere(detail: pd.DataFrame, size: int) -> float:
    """The value of choosing by agreement: for each dataset, the best ensemble on the *others*, judged on this one.

    Args:
        detail: weighted Kendall of ensembles, from `judged`.
        size: maximum number of members.
    """
    small = detail[detail.index.str.count(r"\+") < size].T.groupby(level=1).mean().T
    return float(np.mean([small.loc[small.drop(columns=d).mean(axis=1).idxmax(), d] for d in small]))


# --- the evidence ----------------------------------------------------------------------------------------------------


def variants() -> list[ms.Estimator]:
    """Variants other than the default, each with its own name."""
    from modelselect_plugins.estimators.etran import ETran
    from modelselect_plugins.estimators.fda import FDA
    from modelselect_plugins.estimators.h_score import HScore
    from modelselect_plugins.estimators.itm import ITM
    from modelselect_plugins.estimators.ncti import NCTI
    from modelselect_plugins.estimators.transrate import TransRate

    forms: dict[str, ms.Estimator] = {
        "etran (paper)": ETran(lda="paper"),
        "fda (r = 0.1)": FDA(regularization=0.1),
        "h_score (regularized)": HScore(regularized=True),
        "itm (no leak)": ITM(leak_labels=False),
        "ncti (paper)": NCTI(form="paper"),
        "transrate (normalized)": TransRate(normalize=True),
    }
    for name, estimator in forms.items():
        estimator.name = name  # type: ignore[misc]  # so that one leaderboard can hold them and the default
    return list(forms.values())


def embedded_scores(estimators: Sequence[ms.Estimator], size: int | None) -> Scores:
    """Scores of the embedded networks on each dataset, from `size` training rows or from all held-out rows."""
    scores: dict[str, dict[str, Vector]] = {}
    for dataset, probe in probes(size or TRAINING_ROWS):
        board = ms.select(probe if size else probe.holdout, "embedded:*", estimators=estimators, progress=False)
        rows = {row.candidate.name: row.scores for row in board.rows}
        scores[dataset] = {
            e.name: np.array([rows[c.name].get(e.name, np.nan) for c in ms.search("embedded:*")]) for e in estimators
        }
    return scores


def embedded_evidence() -> None:
    known = json.loads(ACCURACIES.read_text(encoding="utf-8"))["datasets"]
    order = [c.name for c in ms.search("embedded:*")]
    runs = {dataset: np.array([about["accuracies"][name] for name in order]) for dataset, about in known.items()}
    accuracies = {dataset: 100 * values.mean(axis=1) for dataset, values in runs.items()}
    ceiling = {d: ms.agreement(values[:, 0], values[:, 1]).weighted_kendall for d, values in runs.items()}
    spread = {d: f"{a.min():.0f} to {a.max():.0f}" for d, a in accuracies.items()}
    print("Accuracy after fine-tuning, and the weighted Kendall of one seed with another (an upper limit):\n")
    print(markdown(pd.DataFrame({"per cent": spread, "seed with seed": ceiling}).T), "\n")

    registered = [e for e in get_host().estimators.values() if e.name not in ("downloads", "rsa", "dds")]
    estimators = [*registered, *variants()]
    pools = {name: embedded_scores(estimators, size) for name, size in PROBES.items()}
    print("Estimators on probes of several sizes:\n")
    print(markdown(summary(pools, accuracies, alone(e.name for e in estimators), "parameters")), "\n")

    members = [
        e.name for e in registered if e.requires == {"features", "labels"} and e.cost in ("closed form", "quadratic")
    ]
    methods = ensembles(members)
    print(f"Plain ensembles of up to {MEMBERS_AT_MOST} cheap members that need only features and labels:\n")
    print(markdown(summary(pools, accuracies, methods, "logme").head(SHOWN)), "\n")
    detail = judged(pools, accuracies, methods, weighted_kendall)
    for size in range(1, MEMBERS_AT_MOST + 1):
        print(f"- chosen on the other datasets, up to {size}: {chosen_elsewhere(detail, size):.2f}")
    for pool, scores in pools.items():
        learned = learn_weights({d: {m: by[m] for m in members} for d, by in scores.items()}, accuracies)
        equal, weighted = (np.mean(list(a.values())) for a in (learned.plain_agreement, learned.agreement))
        print(f"- all {len(members)} of them, {pool}: {equal:.2f}; with weights learned on the others: {weighted:.2f}")
    print()


PUBLISHED = {
    "GoogleNet": "googlenet", "Inception V3": "inception_v3", "ResNet50": "resnet50", "ResNet101": "resnet101",
    "ResNet152": "resnet152", "DenseNet121": "densenet121", "DenseNet169": "densenet169",
    "Densenet201": "densenet201", "MobileNet V2": "mobilenet_v2", "MNasNet": "mnasnet1_0",
}  # fmt: skip
"""torchvision's names of the networks in the published table."""


def imagenet_baselines(models: Sequence[str]) -> dict[str, Vector]:
    """Parameters and ImageNet accuracy of torchvision's first weights of each model, as used in the papers."""
    metadata = [ms.search(f"torchvision:{model}.IMAGENET1K_V1")[0].metadata for model in models]
    return {name: np.array([m[name] for m in metadata], dtype=np.float64) for name in BASELINES}


def mean_rank_elsewhere(accuracies: Mapping[str, Vector]) -> dict[str, Vector]:
    """For each dataset, the candidates' mean normalised rank on the other datasets: a baseline from known results."""
    ranks = {dataset: normalised_ranks(values) for dataset, values in accuracies.items()}
    return {d: np.nanmean([r for other, r in ranks.items() if other != d], axis=0) for d in accuracies}


def published_scores_evidence() -> None:
    table = pd.read_csv(SHARED / "truth" / "published-scores-and-accuracies-10x8.csv")
    table = table[table.model.isin(PUBLISHED)]
    methods = ("hscore", "leep", "logme", "nce")
    scores: dict[str, dict[str, Vector]] = {}
    accuracies = {}
    for dataset, part in table.groupby("dataset"):
        name = str(dataset)
        accuracies[name] = part.finetuned_acc.to_numpy(dtype=np.float64)
        scores[name] = {m: part[m].to_numpy(dtype=np.float64) for m in methods}
        scores[name] |= imagenet_baselines([PUBLISHED[m] for m in part.model])
    for dataset, elsewhere in mean_rank_elsewhere(accuracies).items():
        scores[dataset]["mean rank elsewhere"] = elsewhere
    del scores["DTD"], accuracies["DTD"]  # its column of NCE is a copy of LogME's
    print("Published scores and accuracies, ten ImageNet networks (without DTD, whose NCE is a copy of LogME):\n")
    names = [*methods, *BASELINES, "mean rank elsewhere"]
    print(markdown(summary({"published": scores}, accuracies, alone(names), "parameters")), "\n")
    print("Plain ensembles of these methods:\n")
    print(markdown(summary({"published": scores}, accuracies, ensembles(methods), "logme").head(SHOWN)), "\n")


def published_agreement_evidence() -> None:
    for title, truth_name, papers in (
        ("Eleven supervised ImageNet networks (NCTI's table)", "supervised-cnn-11x11", "published-ncti-supervised"),
        ("Twelve self-supervised ResNet-50 (NCTI's table)", "self-supervised-12x11", "published-ncti-self-supervised"),
        ("Ten foundation models (ITM's table; its own weighted Kendall)", "foundation-10x10", "published-itm"),
    ):
        reported = pd.read_csv(SHARED / "truth" / f"{papers}.csv").set_index("method")["mean"].to_dict()
        truth_table = pd.read_csv(SHARED / "truth" / f"{truth_name}.csv").query("accuracy > 0")
        wide = truth_table.pivot(index="model", columns="dataset", values="accuracy")
        known = {str(d): wide[d].to_numpy(dtype=np.float64) for d in wide}
        measure = "weighted_kendall_itm" if "itm" in papers else "weighted_kendall"
        static = {"mean rank elsewhere (baseline)": mean_rank_elsewhere(known)}
        if "supervised-cnn" in truth_name:
            for name, values in imagenet_baselines(list(wide.index)).items():
                static[f"{name} (baseline)"] = dict.fromkeys(known, values)
        for name, scores in static.items():
            reported[name] = np.mean([getattr(ms.agreement(scores[d], known[d]), measure) for d in known])
        print(f"{title}: mean weighted Kendall, as reported; baselines computed here:\n")
        print(markdown(pd.DataFrame({"mean": reported}).sort_values("mean", ascending=False)), "\n")


def markdown(table: pd.DataFrame) -> str:
    lines = [["", *map(str, table.columns)], ["---"] * (1 + len(table.columns))]
    lines += [[str(n), *(v if isinstance(v, str) else f"{v:.2f}" for v in row)] for n, *row in table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="fine-tune again before judging")
    if parser.parse_args().measure:
        measure()
    embedded_evidence()
    published_scores_evidence()
    published_agreement_evidence()
