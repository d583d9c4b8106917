"""Makes the tables of public facts from the published results: `python tools/public_quality.py [check]`.

The results are read from the folder `truth` of the shared material, which MODELSELECT_SHARED names. With `check`,
nothing is written. What is printed says how well the derived quality predicts results that it was not derived from, and
how reliable single pieces of evidence are on these tables.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelselect.estimators.posterior import normal_scores
from modelselect_plugins.estimators._evidence.names import NAMED, architecture_key, is_of_weights, weights_key
from modelselect_plugins.estimators._evidence.public import FOLDER

NAMES = Path(__file__).with_name("public_names.csv")
"""The candidate ids that the names in the tables stand for."""

LEAST, MOST = 0.005, 0.995
"""Accuracies outside are moved here, before they become log odds."""

PSEUDO_RESULTS = 1.0
"""Results of an average model that each architecture, and each set of weights, counts as having in addition.

The restricted likelihood of the image tables is greatest at 1 for both, of 0.1, 0.3, 1, 3, 10 and 100.
"""

FEWEST_KNOWN = 4
"""Models of a table that must be known for a correlation."""


@dataclass(frozen=True)
class Source:
    """Published results: tables of one origin, with all datasets in the same form.

    Attributes:
        name: as the shipped tables name it.
        modality: `image`, `image-text`, `text` or `audio`.
        files: in the folder `truth`.
        column: the one with the accuracies, in per cent.
    """

    name: str
    modality: str
    files: tuple[str, ...]
    column: str = "accuracy"


SOURCES = (
    Source("supervised-cnn-11x11", "image", ("supervised-cnn-11x11.csv",)),
    Source("published-10x8", "image", ("published-scores-and-accuracies-10x8.csv",), "finetuned_acc"),
    Source("foundation-10x10", "image", ("foundation-10x10.csv",)),
    Source("emms-vit-13x11", "image", ("more/emms-vit-13x11.csv",)),
    Source("fastai-timm", "image", ("more/fastai-timm.csv",)),
    Source(
        "robust-transfer-4x12",
        "image",
        ("more/robust-transfer-4x12-full.csv", "more/robust-transfer-4x12-fixed.csv"),
    ),
    Source("openclip-zeroshot", "image-text", ("more/openclip-zeroshot.csv",)),
    Source("mteb-text-classification", "text", ("more/mteb-text-classification.csv",)),
    Source("hear-audio-29x19", "audio", ("more/hear-audio-29x19.csv",)),
)


@dataclass(frozen=True)
class Model:
    """A model of a table.

    Attributes:
        weights: its key; a name of the table's own where it is not known which weights they are.
        architecture: its key; the name of the table's own where the architecture is not known either.
    """

    weights: str
    architecture: str


@dataclass(frozen=True)
class Column:
    """The results of one source on one dataset: accuracies in per cent, by model."""

    source: str
    dataset: str
    results: Mapping[Model, float]


@dataclass(frozen=True)
class Quality:
    """The derived quality of some weights, or of an architecture.

    Attributes:
        value: log odds above the average model.
        sources: names of those with results of it.
        results: their number.
    """

    value: float
    sources: tuple[str, ...]
    results: int


def truth() -> Path:
    """The folder with the published results."""
    return Path(os.environ.get("MODELSELECT_SHARED", "../shared")) / "truth"


def columns(source: Source, folder: Path) -> list[Column]:
    """The results of a source, by file and dataset."""
    ids = {(row["table"], row["model"]): row["id"] for row in _read(NAMES)}
    by_dataset: dict[tuple[str, str], dict[Model, float]] = {}
    for file in source.files:
        for row in _read(folder / file):
            try:
                accuracy = float(row[source.column])
            except ValueError:  # a dash in a row that sums up others
                continue
            model = _model(source.name, row["model"], ids.get((source.name, row["model"])))
            by_dataset.setdefault((file, row["dataset"]), {})[model] = accuracy
    return [Column(source.name, dataset, results) for (_, dataset), results in by_dataset.items()]


def derived(columns: Sequence[Column]) -> dict[str, Quality]:
    """By key, the quality in the additive model: log odds = dataset + architecture + weights + noise.

    Least squares, with a penalty for the effects of architectures and weights: see `PSEUDO_RESULTS`. The quality of
    weights is the sum of their two effects. That of an architecture is its effect alone: what is expected of weights
    without results.
    """
    found = [(place, model, value) for place, column in enumerate(columns) for model, value in column.results.items()]
    architectures = {
        name: place for place, name in enumerate(dict.fromkeys(model.architecture for _, model, _ in found))
    }
    weights = {name: place for place, name in enumerate(dict.fromkeys(model.weights for _, model, _ in found))}
    first, second = len(columns), len(columns) + len(architectures)
    design = np.zeros((len(found), second + len(weights)))
    for row, (place, model, _) in enumerate(found):
        design[row, [place, first + architectures[model.architecture], second + weights[model.weights]]] = 1
    penalty = np.diag(np.r_[np.zeros(first), np.full(len(architectures) + len(weights), PSEUDO_RESULTS)])
    odds = np.array([log_odds(value) for *_, value in found])
    effects = np.linalg.solve(design.T @ design + penalty, design.T @ odds)
    values: dict[str, float] = {}
    sources: dict[str, list[str]] = {}
    for place, model, _ in found:
        values[model.architecture] = float(effects[first + architectures[model.architecture]])
        for key in {model.architecture, model.weights}:
            sources.setdefault(key, []).append(columns[place].source)
    for _, model, _ in found:  # a key may be both; then it is that of weights
        both = first + architectures[model.architecture], second + weights[model.weights]
        values[model.weights] = float(effects[list(both)].sum())
    return {key: Quality(value, tuple(dict.fromkeys(sources[key])), len(sources[key])) for key, value in values.items()}


def log_odds(accuracy: float) -> float:
    """Of a share in per cent. A point more counts for more at 98 than at 60, whatever the dataset."""
    share = min(max(accuracy / 100, LEAST), MOST)
    return float(np.log(share / (1 - share)))


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation of the normal scores, over the models with both numbers; NaN where these are fewer than four."""
    both = np.isfinite(first) & np.isfinite(second)
    scores = [normal_scores(np.asarray(values)[both]) for values in (first, second)]
    if both.sum() < FEWEST_KNOWN or not all(values.any() for values in scores):
        return float("nan")
    return float(np.mean(scores[0] * scores[1]))


def quality_rows(folder: Path) -> list[tuple[object, ...]]:
    """The rows of `quality.csv`: key, modality, quality, tables, results.

    Models that no candidate can be are left out. So are architectures, unless they were fine-tuned on images: what a
    model can do without fine-tuning depends on its weights.
    """
    rows: list[tuple[object, ...]] = []
    for modality in dict.fromkeys(source.modality for source in SOURCES):
        found = derived([each for source in SOURCES if source.modality == modality for each in columns(source, folder)])
        rows += [
            (key, modality, f"{quality.value:.3f}", " ".join(quality.sources), quality.results)
            for key, quality in sorted(found.items())
            if key.startswith(tuple(f"{zoo}:" for zoo in NAMED)) and (modality == "image" or is_of_weights(key))
        ]
    return rows


def imagenet_rows(folder: Path) -> list[tuple[object, ...]]:
    """The rows of `imagenet.csv`: key and top-1 accuracy at the smallest input size of timm's table.

    The smallest size is the one in the model's configuration; larger ones are for evaluation.
    """
    smallest: dict[str, tuple[int, str]] = {}
    for row in _read(folder / "timm" / "results-imagenet.csv"):
        key = weights_key(f"timm:{row['model']}")
        found = int(row["img_size"]), row["top1"]
        smallest[key] = min(found, smallest.get(key, found))
    return [(key, f"{float(top1):.3f}") for key, (_, top1) in sorted(smallest.items())]


def write() -> None:
    """Writes both tables into the package."""
    for name, header, rows in (
        ("quality.csv", ("key", "modality", "quality", "tables", "results"), quality_rows(truth())),
        ("imagenet.csv", ("key", "top1"), imagenet_rows(truth())),
    ):
        with open(FOLDER / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def left_out(parts: Sequence[Sequence[Column]]) -> list[tuple[int, float]]:
    """For each part, the models that the others know, and how their quality predicts the results in the part.

    The prediction is the mean over the part's datasets of the correlation of normal scores; NaN where fewer than four
    models are known.
    """
    return [
        _predicted(part, derived([column for other in parts if other is not part for column in other]))
        for part in parts
    ]


def check(folder: Path) -> None:
    """Prints how well the quality predicts what was left out, and the reliability of other pieces of evidence."""
    print("Quality, one source left out: models known, correlation")
    sources = [source for source in SOURCES if source.modality == "image"]
    for source, (known, found) in zip(sources, left_out([columns(each, folder) for each in sources]), strict=True):
        print(f"  {source.name:28} {known:4} {found:6.2f}")
    print("Quality, against fine-tunings of the Hub, which it is not derived from: models known, correlation")
    known, found = _predicted(_hub_columns(folder), derived([each for s in sources for each in columns(s, folder)]))
    print(f"  {'hub-vtab-292x16':28} {known:4} {found:6.2f}")
    print("Quality, one dataset of the only source left out: models, mean correlation over datasets")
    for source in SOURCES:
        if source.modality != "image":
            parts = left_out([[column] for column in columns(source, folder)])
            print(f"  {source.name:28} {max(known for known, _ in parts):4} {np.nanmean([r for _, r in parts]):6.2f}")
    print(
        "Facts against accuracies, mean over datasets: ImageNet-1k top-1, log parameters; and datasets with each other"
    )
    facts = _timm_facts(folder)
    for source in sources:
        own = columns(source, folder)
        described = [
            _mean_correlation(own, lambda model, place=place: facts.get(model.weights, (np.nan,) * 2)[place])
            for place in (0, 1)
        ]
        print(f"  {source.name:28} {described[0]:6.2f} {described[1]:6.2f} {_agreement(own):6.2f}")
    print("Single estimators against accuracies, mean over datasets")
    for name, (found, datasets) in sorted(_estimators(folder).items(), key=lambda item: -item[1][0]):
        print(f"  {name:28} {found:6.2f} ({datasets} datasets)")


def _predicted(part: Sequence[Column], qualities: Mapping[str, Quality]) -> tuple[int, float]:
    known, found = set(), []
    for column in part:
        values = [_of(model, qualities) for model in column.results]
        known |= {model for model, value in zip(column.results, values, strict=True) if np.isfinite(value)}
        found.append(correlation(values, list(column.results.values())))
    finite = [value for value in found if np.isfinite(value)]
    return len(known), float(np.mean(finite)) if finite else float("nan")


def _of(model: Model, qualities: Mapping[str, Quality]) -> float:
    found = next((qualities[key] for key in (model.weights, model.architecture) if key in qualities), None)
    return float("nan") if found is None else found.value


def _mean_correlation(columns: Iterable[Column], fact: Callable[[Model], float]) -> float:
    found = [
        correlation([fact(model) for model in column.results], list(column.results.values())) for column in columns
    ]
    finite = [value for value in found if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _agreement(columns: Sequence[Column]) -> float:
    """Mean correlation of the normal scores of two datasets, over all pairs."""
    models = list(dict.fromkeys(model for column in columns for model in column.results))
    results = [[column.results.get(model, np.nan) for model in models] for column in columns]
    found = [correlation(a, b) for place, a in enumerate(results) for b in results[:place]]
    return float(np.nanmean(found))


def _hub_columns(folder: Path) -> list[Column]:
    by_dataset: dict[str, dict[Model, float]] = {}
    for row in _read(folder / "hub-vtab-292x16.csv"):
        model = _model("hub-vtab-292x16", row["model"], f"hub:{row['model']}")
        by_dataset.setdefault(row["dataset"], {})[model] = float(row["accuracy"])
    return [Column("hub-vtab-292x16", dataset, results) for dataset, results in by_dataset.items()]


def _timm_facts(folder: Path) -> dict[str, tuple[float, float]]:
    """By key of the weights, ImageNet-1k top-1 and the logarithm of the parameters, from timm's table."""
    facts: dict[str, tuple[float, float]] = {}
    for row in _read(folder / "timm" / "results-imagenet.csv"):
        parameters = float(row["param_count"].replace(",", ""))
        facts[weights_key(f"timm:{row['model']}")] = float(row["top1"]), float(np.log(parameters))
    return facts


def _estimators(folder: Path) -> dict[str, tuple[float, int]]:
    """By estimator, the mean correlation of published scores with accuracies, and the number of datasets."""
    accuracies: dict[tuple[str, str], float] = {}
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for row in _read(folder / "glue-text-6x8.csv"):
        accuracies[f"glue {row['dataset']}", row["model"]] = float(row["accuracy"])
    for row in _read(folder / "more" / "glue_estimator_scores.csv"):
        by_model = scores.setdefault((f"GLUE {row['estimator']}", f"glue {row['dataset']}"), {})
        by_model[row["model"]] = float(row["score"])
    for row in _read(folder / "published-scores-and-accuracies-10x8.csv"):
        if row["finetuned_acc"] != "-":
            accuracies[row["dataset"], row["model"]] = float(row["finetuned_acc"])
            for name in ("hscore", "leep", "logme", "nce"):
                scores.setdefault((f"10x8 {name}", row["dataset"]), {})[row["model"]] = float(row[name])
    found: dict[str, list[float]] = {}
    for (name, dataset), by_model in scores.items():
        results = [accuracies[dataset, model] for model in by_model]
        value = correlation(list(by_model.values()), results)
        if np.isfinite(value):
            found.setdefault(name, []).append(value)
    return {name: (float(np.mean(values)), len(values)) for name, values in found.items()}


def _model(source: str, name: str, candidate_id: str | None) -> Model:
    """A table's model. MTEB's names are those of the Hub, with two underscores in the place of the slash."""
    if candidate_id is None and source == "mteb-text-classification":
        candidate_id = f"hub:{name.replace('__', '/', 1)}"
    own = f"{source}/{name}"
    if candidate_id is None:
        return Model(own, own)
    weights, architecture = weights_key(candidate_id), architecture_key(candidate_id)
    return Model(weights if is_of_weights(weights) else own, architecture)


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        check(truth())
    else:
        write()
