"""Benchmarks for the default ranking: measured accuracies, estimators' scores and facts, as arrays.

A score of an estimator is published (CNNs 10 × 8, GLUE), or computed here by `select` and kept in a folder
(`embedded`, `lab`). The other tables hold accuracies only: there the ranking has history and facts to go by.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from default_estimators import ACCURACIES, PUBLISHED, SHARED, imagenet_baselines, probes
from numpy.typing import NDArray
from recall import PARAMETERS

import modelselect as ms
from modelselect.host.host import get_host

TRUTH = SHARED / "truth"
LAB_TRUTH = Path(__file__).with_name("lab_truth.csv")
LAB_ROWS = 240

NEEDS_MORE = {"downloads", "rsa", "dds", "fennec", "ensemble"}
"""Estimators that are not scored here: they need a proxy, a history or a hub; the ensemble is made of the others."""

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One pool of models on some datasets, with what is known of them.

    Attributes:
        name: in tables.
        models: (M,) names.
        datasets: (D,) names.
        accuracies: (M, D) per cent after fine-tuning; NaN where unknown.
        scores: (M, D) by estimator, NaN where unknown.
        facts: (M,) by name, NaN where unknown: `parameters`, `imagenet`, `dimension`, `downloads`.
        rows: of the probe.
    """

    name: str
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    accuracies: Matrix
    scores: Mapping[str, Matrix] = field(default_factory=dict)
    facts: Mapping[str, Vector] = field(default_factory=dict)
    rows: float = np.inf

    def fact(self, name: str) -> Vector:
        return self.facts.get(name, np.full(len(self.models), np.nan))


# --- with scores computed here ----------------------------------------------------------------------------------------


def embedded(name: str, cache: Path) -> Benchmark:
    """The embedded networks, fine-tuned on 100 rows of eight datasets; probes are these 100 rows."""
    known = json.loads(ACCURACIES.read_text(encoding="utf-8"))["datasets"]
    pool = ms.search("embedded:*")
    models = tuple(candidate.name for candidate in pool)
    found = {}
    for dataset, probe in probes():
        found[dataset] = _kept(cache / f"embedded-{dataset}.json", lambda p=probe: _scored(p, "embedded:*", cache))
    datasets = tuple(found)
    accuracies = [[100 * float(np.mean(known[d]["accuracies"][m])) for d in datasets] for m in models]
    return _with_scores(Benchmark(name, models, datasets, np.array(accuracies), rows=100), found)


def lab(name: str, cache: Path) -> Benchmark:
    """The lab's networks, fine-tuned on 240 rows of a dataset; probes are these rows."""
    with LAB_TRUTH.open(newline="", encoding="utf-8") as lines:
        models, datasets, accuracies = _pivot(csv.DictReader(lines))
    folders = [f"dir:{SHARED / 'lab' / 'models' / model}" for model in models]
    found = {}
    for dataset in datasets:

        def scored(dataset: str = dataset) -> dict[str, dict[str, float]]:
            folder = SHARED / "lab" / "datasets" / dataset
            probe = ms.Probe.of(folder, size=LAB_ROWS, holdout=0.2, test_as_holdout=True)
            return _scored(probe, folders, cache)

        found[dataset] = _kept(cache / f"lab-{dataset}.json", scored)
    return _with_scores(Benchmark(name, models, datasets, accuracies, rows=LAB_ROWS), found)


def _kept(path: Path, make: Callable[[], dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """What the file holds, or else what `make` gives, which the file holds from then on."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")
    kept: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def _scored(probe: ms.Probe, pool: Any, cache: Path) -> dict[str, dict[str, float]]:
    """Scores and facts of each model, by its name."""
    estimators = [e for e in get_host().estimators.values() if e.name not in NEEDS_MORE]
    board = ms.select(
        probe, pool, estimators=estimators, cache_dir=cache / "store", trust_remote_code=True, progress=False
    )
    found = {}
    for row in board.rows:
        known = {"parameters": row.parameters, "dimension": row.feature_dim}
        facts = {fact: float(value) for fact, value in known.items() if value is not None}
        found[Path(row.candidate.name).name] = {**row.scores, **facts}
    return found


def _with_scores(plain: Benchmark, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Benchmark:
    def column(dataset: str, key: str) -> Vector:
        return np.array([found[dataset].get(model, {}).get(key, np.nan) for model in plain.models])

    keys = {key for by_model in found.values() for scores in by_model.values() for key in scores}
    first = plain.datasets[0]
    facts = {key: column(first, key) for key in ("parameters", "dimension")}
    names = sorted(keys - {"parameters", "dimension"})
    scores = {name: np.column_stack([column(d, name) for d in plain.datasets]) for name in names}
    return Benchmark(plain.name, plain.models, plain.datasets, plain.accuracies, scores, facts, plain.rows)


def _pivot(rows: Iterable[Mapping[str, str]], value: str = "accuracy") -> tuple[Any, Any, Matrix]:
    """Models, datasets and (M, D) values of a long table, in the order of the table."""
    rows = list(rows)
    models = tuple(dict.fromkeys(row["model"] for row in rows))
    datasets = tuple(dict.fromkeys(row["dataset"] for row in rows))
    table = np.full((len(models), len(datasets)), np.nan)
    for row in rows:
        if row[value]:
            table[models.index(row["model"]), datasets.index(row["dataset"])] = float(row[value])
    return models, datasets, table


# --- published tables -------------------------------------------------------------------------------------------------

GLUE_PARAMETERS = {
    "bert-base-cased": 108.3e6, "bert-base-uncased": 109.5e6, "distilbert-base-cased": 65.2e6,
    "distilbert-base-uncased": 66.4e6, "distilroberta-base": 82.1e6, "roberta-base": 124.6e6,
}  # fmt: skip
VIT_PARAMETERS = {
    "deit_tiny": 5.7e6, "deit_small": 22.1e6, "deit_base": 86.6e6, "dino_small": 21.7e6, "dino_base": 85.8e6,
    "mocov3_small": 21.7e6, "pvt_tiny": 13.2e6, "pvt_small": 24.5e6, "pvt_medium": 44.2e6, "pvtv2_b2": 25.4e6,
    "pvtv2_b3": 45.2e6, "swin_t": 28.3e6, "swin_s": 49.6e6,
}  # fmt: skip
VIT_IMAGENET = {  # as their papers report it; the self-supervised ones have none
    "deit_tiny": 72.2, "deit_small": 79.8, "deit_base": 81.8, "pvt_tiny": 75.1, "pvt_small": 79.8, "pvt_medium": 81.2,
    "pvtv2_b2": 82.0, "pvtv2_b3": 83.1, "swin_t": 81.3, "swin_s": 83.0,
}  # fmt: skip
PATHOLOGY_PARAMETERS = {
    "bioptimus_h_optimus_0": 1.1e9, "histai_hibou_l": 304e6, "kaiko_midnight_12k": 1.1e9, "kaiko_vitb16": 86e6,
    "kaiko_vitb8": 86e6, "kaiko_vitl14": 304e6, "kaiko_vits16": 22e6, "kaiko_vits8": 22e6, "lunit_vits16": 22e6,
    "mahmood_uni": 303e6, "mahmood_uni2_h": 681e6, "owkin_phikon": 86e6, "owkin_phikon_v2": 304e6,
    "paige_virchow2": 632e6, "prov_gigapath": 1.1e9,
}  # fmt: skip
NAMES_IN_GLUE = {"LogME": "logme", "Logistic": "linear_probe", "kNN-5-cos": "knn", "HScoreR": "h_score"}
NAMES_IN_TABLE = {"hscore": "h_score", "leep": "leep", "logme": "logme", "nce": "nce"}
NOT_USED = {"wnli"}
"""Datasets of GLUE on which no model is better than the most frequent class."""


def cnns_10x8(name: str, _: Path) -> Benchmark:
    rows = [row for row in _rows("published-scores-and-accuracies-10x8") if row["model"] in PUBLISHED]
    models, datasets, accuracies = _pivot(rows, "finetuned_acc")
    scores = {ours: _pivot(rows, theirs)[2] for theirs, ours in NAMES_IN_TABLE.items()}
    return Benchmark(name, models, datasets, accuracies, scores, _torchvision([PUBLISHED[model] for model in models]))


def glue(name: str, _: Path) -> Benchmark:
    rows = [row for row in _rows("glue-text-6x8") if row["dataset"] not in NOT_USED]
    models, datasets, accuracies = _pivot(rows)
    scores = {}
    for estimator, lines in groupby(
        sorted(_rows("more/glue_estimator_scores"), key=itemgetter("estimator")), itemgetter("estimator")
    ):
        table = np.full(accuracies.shape, np.nan)
        for line in lines:
            if line["dataset"] not in NOT_USED:
                table[models.index(line["model"]), datasets.index(line["dataset"])] = float(line["score"])
        scores[NAMES_IN_GLUE.get(estimator, estimator)] = table
    return Benchmark(name, models, datasets, accuracies, scores, {"parameters": _looked_up(models, GLUE_PARAMETERS)})


def cnns_11x11(name: str, _: Path) -> Benchmark:
    models, datasets, accuracies = _pivot(_rows("supervised-cnn-11x11"))
    return Benchmark(name, models, datasets, accuracies, {}, _torchvision(models))


def self_supervised(name: str, _: Path) -> Benchmark:
    models, datasets, accuracies = _pivot(_rows("self-supervised-12x11"))
    accuracies[accuracies == 0] = np.nan  # 0 means missing there
    return Benchmark(name, models, datasets, accuracies)


def of_table(
    file: str, parameters: Mapping[str, float] | None = None, imagenet: Mapping[str, float] | None = None
) -> Callable[[str, Path], Benchmark]:
    """A benchmark that is one table of accuracies, and what is known of its models."""

    def load(name: str, _: Path) -> Benchmark:
        models, datasets, accuracies = _pivot(_rows(file))
        known = {"parameters": parameters or {}, "imagenet": imagenet or {}}
        facts = {fact: _looked_up(models, values) for fact, values in known.items() if values}
        return Benchmark(name, models, datasets, accuracies, {}, facts)

    return load


def _rows(file: str) -> list[dict[str, str]]:
    with (TRUTH / f"{file}.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _looked_up(models: Iterable[str], values: Mapping[str, float]) -> Vector:
    return np.array([values.get(model, np.nan) for model in models], dtype=np.float64)


def _torchvision(models: Iterable[str]) -> dict[str, Vector]:
    found = imagenet_baselines(list(models))
    return {"parameters": found["parameters"], "imagenet": found["source_accuracy"]}


LOADERS: Mapping[str, Callable[[str, Path], Benchmark]] = {
    "CNNs 10 × 8": cnns_10x8,
    "GLUE 6 × 7": glue,
    "embedded 12 × 8": embedded,
    "lab 29 × 5": lab,
    "CNNs 11 × 11": cnns_11x11,
    "ViTs 13 × 11": of_table("more/emms-vit-13x11", VIT_PARAMETERS, VIT_IMAGENET),
    "foundation 10 × 10": of_table("foundation-10x10", PARAMETERS),
    "self-supervised 12 × 13": self_supervised,
    "pathology 15 × 8": of_table("more/eva-pathology-14x8", PATHOLOGY_PARAMETERS),
    "audio 29 × 19": of_table("more/hear-audio-29x19"),
    "text 185 × 12": of_table("more/mteb-text-classification"),
}
"""By name in the tables. The first four have probe scores; the last three are frozen features with a classifier."""
