"""How well does recall rank candidates that were never run on the target? Compared with published results.

    python benchmarks/recall.py [--only truth|lab|time] [--cache-dir FOLDER]

1. `truth`: published matrices of fine-tuning accuracies. One dataset is left out, and its ranking is predicted from the
   others; then a fifth of the models is also left out of the history. The images of these datasets are not available,
   so known facts replace the proxy's features: classes, rows, image size and kind. Architectures are traced without
   weights, from configurations of the published sizes.
2. `lab`: the whole method, on features: real models score real datasets with FDA, which makes the history; one dataset
   is left out, and only a proxy is run on it.
3. `time`: of the online stage, once the proxy's features exist, for 100, 1,000 and 10,000 candidates.

Tables are printed as Markdown: weighted Kendall / Pearson, means over the datasets left out. The three small tables of
published results come with modelselect (`truth:cnns-11x11`, ...), so `--only truth` and `--only time` need nothing
else. The large table and the lab are in the folder `MODELSELECT_SHARED`, by default `../shared`.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, weightedtau

import modelselect as ms
from modelselect import archi2vec
from modelselect.history import ACCURACY, History, HistoryView, Result
from modelselect.host.lookup import find_truth
from modelselect_plugins.estimators.fda import FDA
from modelselect_plugins.estimators.fennec import Fennec
from modelselect_plugins.estimators.kriging import Kriging

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
TRUTH, LAB = SHARED / "truth", SHARED / "lab"

HUB_TABLE = TRUTH / "hub-vtab-292x16.csv"
"""Columns dataset, model, accuracy: 292 models of the Hub on 16 datasets, of github.com/zLizy/transferability_graph at
9c22047; for each pair the test accuracy of the run with the best validation accuracy. It is not part of modelselect."""

NEW_SHARE = 0.2
LAB_ROWS = 200
LAB_FDA = FDA(regularization=0.1)  # 200 rows are fewer than most features' dimensions
PROXIES = ("embedded:resnet.textures", "embedded:mobilenet.shapes", "embedded:resnet.letters")
LAB_PROXY = "mobilenetv2_100_224_in1k"
ONLINE = (100, 1_000, 10_000)

Matrix = NDArray[np.float64]
Method = Callable[["Task"], Matrix]

VTAB = {  # classes, training rows, image size; natural, specialised or structured (Zhai et al., 2019, and the datasets)
    "caltech101": (102, 3_060, 300, 0),
    "cifar100": (100, 50_000, 32, 0),
    "clevr": (8, 70_000, 400, 2),
    "diabetic_retinopathy_detection": (5, 35_126, 1_000, 1),
    "dmlab": (6, 65_550, 400, 2),
    "dsprites": (16, 663_552, 64, 2),
    "dtd": (47, 1_880, 500, 0),
    "eurosat": (10, 21_600, 64, 1),
    "kitti": (4, 6_347, 600, 2),
    "oxford_flowers102": (102, 1_020, 600, 0),
    "oxford_iiit_pet": (37, 3_680, 400, 0),
    "patch_camelyon": (2, 262_144, 96, 1),
    "resisc45": (45, 25_200, 256, 1),
    "smallnorb": (5, 24_300, 96, 2),
    "sun397": (397, 76_128, 800, 0),
    "svhn_cropped": (10, 73_257, 32, 0),
}
USUAL = {  # of the three small tables: classes, training rows, image size, fine-grained or not
    "aircraft": (100, 6_667, 800, 1),
    "caltech101": (102, 3_060, 300, 0),
    "cars": (196, 8_144, 600, 1),
    "cifar10": (10, 50_000, 32, 0),
    "cifar100": (100, 50_000, 32, 0),
    "dtd": (47, 3_760, 500, 0),
    "eurosat": (10, 21_600, 64, 0),
    "flowers": (102, 2_040, 600, 1),
    "food": (101, 75_750, 512, 1),
    "pets": (37, 3_680, 400, 1),
    "resisc": (45, 25_200, 256, 0),
    "sun397": (397, 19_850, 800, 0),
    "voc2007": (20, 5_011, 500, 0),
}


PARAMETERS = {  # of the small tables' models, as published
    "densenet121": 7_978_856, "densenet169": 14_149_480, "densenet201": 20_013_928, "googlenet": 6_624_904,
    "inception_v3": 27_161_264, "mnasnet1_0": 4_383_312, "mobilenet_v2": 3_504_872, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet18": 11_689_512,
    "efficientnet_b0": 5_288_548, "dino_b16": 85_798_656, "mae_b16": 85_798_656, "mocov3_b16": 85_798_656,
    "simmim_b16": 85_798_656, "dino_s8": 21_670_272, "mae_l16": 303_301_632,
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One dataset to rank candidates for, and what is known about it in advance.

    Attributes:
        view: the history without this dataset, for all candidates.
        proxy: (1, P) the proxy's features of it, or what replaces them.
        truth: (M,) the candidates' results on it; NaN if unknown.
        new: (M,) True for candidates without results in the history.
    """

    view: HistoryView
    proxy: Matrix
    truth: Matrix
    new: NDArray[np.bool_]


# --- methods ----------------------------------------------------------------------------------------------------------


def fennec(component: str = "fennec", **settings: Any) -> Method:
    def scored(task: Task) -> Matrix:
        found = Fennec(**settings).recall(task.view, task.proxy)
        return np.array([found[candidate][component] for candidate in task.view.pool])

    return scored


def kriging(component: str = "kriging") -> Method:
    def scored(task: Task) -> Matrix:
        found = Kriging().recall(task.view, task.proxy)
        return np.array([found[candidate][component] for candidate in task.view.pool])

    return scored


def factorisation_alone(task: Task) -> Matrix:
    """Without a proxy: every dataset counts as the mean of the known ones."""
    memo = {key: value for key, value in task.view._memo.items() if key == "architectures"}
    return fennec("transfer")(replace(task, view=replace(task.view, proxies={}, _memo=memo)))


def fennec_on_values(task: Task) -> Matrix:
    """On values instead of ranks, as in the paper."""
    return fennec(scale="raw", metric=task.view.results[0].metric)(task)


def mean_rank(task: Task) -> Matrix:
    return _filled(_mean(_performance(task)))


def mean_accuracy(task: Task) -> Matrix:
    return _filled(_mean(_performance(task, scale="raw")))


def nearest_dataset(task: Task) -> Matrix:
    """The ranking on the dataset that is most similar to this one, by the proxy's features."""
    performance = _performance(task)
    seen = np.stack([task.view.proxies[dataset][0] for dataset in task.view.datasets])
    deviation = seen.std(axis=0)
    distances = (((seen - task.proxy.mean(axis=0)) / np.where(deviation > 0, deviation, 1)) ** 2).sum(axis=1)
    return _filled(performance[:, np.argmin(distances)])


def parameter_count(task: Task) -> Matrix:
    return _filled(task.view.sizes[_rows(task), 0])


METHODS: Mapping[str, Method] = {
    "**Kriging**": kriging(),
    "Kriging, own results alone": kriging("own"),
    "Fennec": fennec(),
    "transfer phase alone": fennec("transfer"),
    "meta phase alone": fennec("meta"),
    "meta phase alone, least squares": fennec("meta", ridge=0.0),
    "Fennec without archi2vec": fennec(architecture=False),
    "meta phase alone, without archi2vec": fennec("meta", architecture=False),
    "Fennec, alpha 0.5 for all, as in the paper": fennec(by_evidence=False),
    "Fennec on values instead of ranks": fennec_on_values,
    "factorisation alone, no proxy": factorisation_alone,
    "mean rank over the history": mean_rank,
    "mean value over the history": mean_accuracy,
    "nearest dataset": nearest_dataset,
    "parameter count": parameter_count,
}


def _performance(task: Task, scale: str = "rank") -> Matrix:
    metric = task.view.results[0].metric
    return task.view.performance(metric, scale)[_rows(task)]


def _rows(task: Task) -> list[int]:
    return [task.view.positions[candidate] for candidate in task.view.pool]


def _mean(table: Matrix) -> Matrix:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a candidate without any result
        return np.nanmean(table, axis=1)


def _filled(scores: Matrix) -> Matrix:
    """Fills in the mean where a method has no prediction, or equal values if it has none at all."""
    return np.zeros(len(scores)) if np.isnan(scores).all() else np.where(np.isnan(scores), np.nanmean(scores), scores)


# --- judging ----------------------------------------------------------------------------------------------------------


def agreement(scores: Matrix, truth: Matrix) -> tuple[float, float]:
    """Weighted Kendall and Pearson; 0 if all scores are equal."""
    there = ~np.isnan(truth)
    scores, truth = scores[there], truth[there]
    if len(scores) < 2 or np.ptp(scores) < 1e-9 * np.abs(scores).max():
        return 0.0, 0.0
    return float(weightedtau(scores, truth).statistic), float(pearsonr(scores, truth).statistic)


def judged(tasks: Sequence[Task], only_new: bool = False) -> dict[str, tuple[float, float]]:
    table = {}
    for name, method in METHODS.items():
        found = []
        for task in tasks:
            asked = task.new if only_new else np.ones(len(task.truth), bool)
            if (~np.isnan(task.truth[asked])).sum() > 2:
                found.append(agreement(method(task)[asked], task.truth[asked]))
        kendall, pearson = np.mean(found, axis=0)
        table[name] = (float(kendall), float(pearson))
    return table


def show(title: str, columns: Mapping[str, Mapping[str, tuple[float, float]]]) -> None:
    print(f"\n### {title}\n")
    print(f"| method | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    for name in METHODS:
        cells = [f"{column[name][0]:.3f} / {column[name][1]:.3f}" for column in columns.values()]
        print(f"| {name} | {' | '.join(cells)} |")


# --- published results ------------------------------------------------------------------------------------------------


def truth_tables() -> Iterator[tuple[str, Mapping[tuple[str, str], float], Mapping[str, Any], Mapping[str, str]]]:
    """Name, accuracies by (model, dataset), datasets' facts, and graphs by model."""
    if HUB_TABLE.is_file():
        rows = list(csv.DictReader(HUB_TABLE.open()))
        yield HUB_TABLE.stem, {(r["model"], r["dataset"]): float(r["accuracy"]) / 100 for r in rows}, VTAB, hub_graphs()
    else:
        print(f"The large table is left out: there is no {HUB_TABLE}.")
    for name, graphs in (
        ("cnns-11x11", cnn_graphs),
        ("self-supervised-12x13", dict),
        ("foundation-10x10", foundation_graphs),
    ):
        known = find_truth(name).accuracies
        values = {
            (model, dataset): value / 100 for dataset, by_model in known.items() for model, value in by_model.items()
        }
        yield name, values, USUAL, graphs()


def parameters() -> dict[str, int]:
    """Published parameter counts of the Hub's models."""
    if not HUB_TABLE.is_file():
        return {}
    rows = csv.DictReader((TRUTH / "hub-vtab-models.csv").open())
    return {row["model"]: int(float(row["parameters"])) for row in rows if row["parameters"]}


def truth_tasks(
    values: Mapping[tuple[str, str], float],
    datasets: Mapping[str, Sequence[int]],
    graphs: Mapping[str, str],
    sizes: Mapping[str, int],
    new_share: float,
) -> list[Task]:
    models = sorted({model for model, _ in values})
    names = sorted({dataset for _, dataset in values})
    random = np.random.default_rng(0)
    tasks = []
    for target in names:
        new = np.zeros(len(models), bool)
        new[random.permutation(len(models))[: round(new_share * len(models))]] = True
        unknown = {model for model, is_new in zip(models, new, strict=True) if is_new}
        results = tuple(
            Result(model, dataset, ACCURACY, value)
            for (model, dataset), value in values.items()
            if dataset != target and model not in unknown
        )
        seen = {name: _as_proxy(datasets[name]) for name in names}
        view = HistoryView(
            candidates=tuple(dict.fromkeys(result.candidate for result in results)),
            datasets=tuple(name for name in names if name != target),
            results=results,
            candidate_facts={model: {"parameters": sizes.get(model)} for model in models},
            dataset_facts={n: {"classes": datasets[n][0], "samples": datasets[n][1]} for n in names},
            graphs=graphs,
            proxies={name: np.stack([mean, 0 * mean]) for name, mean in seen.items() if name != target},
        )
        about = {"classes": datasets[target][0], "samples": datasets[target][1]}
        truth = np.array([values.get((model, target), np.nan) for model in models])
        tasks.append(Task(view.about({key: {} for key in models}, about), seen[target][None], truth, new))
    return tasks


def _as_proxy(facts: Sequence[int]) -> Matrix:
    """Known facts about a dataset, which replace the proxy's features of it."""
    classes, rows, size, kind = facts
    return np.array([math.log(classes), math.log(rows), math.log(size), kind])


def hub_graphs() -> dict[str, str]:
    """Graphs of the Hub's models with published kind and width; widths do not show in a graph, but depths do."""
    found = {}
    for row in csv.DictReader((TRUTH / "hub-vtab-models.csv").open()):
        if row["model_type"]:
            small = float(row["parameters"]) < 40e6
            graph = _transformers_graph(row["model_type"], int(float(row["feature_dim"])), small)
            if graph is not None:
                found[row["model"]] = graph
    return found


@functools.cache
def _transformers_graph(kind: str, width: int, small: bool) -> str | None:
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification

    settings: dict[str, Any] = {}
    if kind in ("vit", "deit", "beit", "data2vec-vision"):
        kind = "vit" if kind == "deit" else kind  # the same graph, except for DeiT's distillation token
        layers = 24 if width == 1024 else 12
        settings = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": max(1, width // 64)}
    elif kind == "swin":
        depths, heads = [2, 2, 6 if small else 18, 2], [width // 256 * n for n in (1, 2, 4, 8)]
        settings = {"embed_dim": width // 8, "depths": depths, "num_heads": heads}
    elif kind == "convnext":
        widths = [width // 8, width // 4, width // 2, width]
        settings = {"depths": [3, 3, 9 if small else 27, 3], "hidden_sizes": widths}
    try:
        with torch.device("meta"):
            module = AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **settings))
    except ValueError:  # transformers does not support this kind any more
        return None
    return archi2vec.to_json(archi2vec.trace(module, (3, 224, 224)))


def cnn_graphs() -> dict[str, str]:
    """Graphs of torchvision's networks, by the benchmark's names."""
    return {name: _timm_or_torchvision(f"torchvision:{name}.*") for name in find_truth("cnns-11x11").models}


def foundation_graphs() -> dict[str, str]:
    names = {
        "densenet121": "timm:densenet121.ra_in1k",
        "efficientnet_b0": "timm:efficientnet_b0.ra_in1k",
        "mobilenet_v2": "timm:mobilenetv2_100.ra_in1k",
        "resnet18": "timm:resnet18.a1_in1k",
        "dino_s8": "timm:vit_small_patch8_224.dino",
        "mae_l16": "timm:vit_large_patch16_224.mae",
    }
    base = dict.fromkeys(("dino_b16", "mae_b16", "mocov3_b16", "simmim_b16"), "timm:vit_base_patch16_224.mae")
    return {model: _timm_or_torchvision(expression) for model, expression in (names | base).items()}


@functools.cache
def _timm_or_torchvision(expression: str) -> str:
    return archi2vec.to_json(archi2vec.trace_candidate(ms.search(expression)[0]))


def truth() -> None:
    for name, values, datasets, graphs in truth_tables():
        sizes = parameters() if name.startswith("hub") else PARAMETERS
        warm = truth_tasks(values, datasets, graphs, sizes, 0.0)
        cold = truth_tasks(values, datasets, graphs, sizes, NEW_SHARE)
        columns = {
            "a dataset left out": judged(warm),
            "and 20% of the models: all models": judged(cold),
        }
        if len(cold[0].truth) > 20:
            columns["the new models alone"] = judged(cold, only_new=True)
        models = len({model for model, _ in values})
        show(f"{name} ({models} models, {len(graphs)} with an architecture)", columns)


# --- the lab ----------------------------------------------------------------------------------------------------------


def lab(cache_dir: Path) -> None:
    folders = sorted(path for path in (LAB / "models").iterdir() if path.is_dir())
    datasets = sorted(path.name for path in (LAB / "datasets").iterdir())
    linear = json.loads((LAB / "linear_probe.json").read_text())
    proxies = [ms.search(name)[0] for name in PROXIES]
    with tempfile.TemporaryDirectory() as scratch:
        history = History(Path(scratch) / "history.sqlite")
        seen: dict[str, dict[str, Matrix]] = {}
        for name in datasets:
            board = ms.select(
                str(LAB / "datasets" / name),
                [f"dir:{folder}" for folder in folders],
                estimators=[LAB_FDA],
                probe_size=LAB_ROWS,
                cache_dir=cache_dir,
                trust_remote_code=True,
                history=history,
                progress=False,
            )
            seen[board.provenance["fingerprint"]] = _seen(name, proxies, cache_dir)
            print(f"<!-- {name}: {len(board.ranked)} models -->", flush=True)
        view = history.view()
    for scores, title in (("FDA", "FDA scores on the dataset left out"), ("probe", "linear probes there (a proxy)")):
        columns = {}
        for proxy in (*PROXIES, LAB_PROXY):
            tasks = [_lab_task(view, target, proxy, seen, linear if scores == "probe" else None) for target in seen]
            columns[f"proxy {proxy}"] = judged(tasks)
        show(f"lab, 29 models x 10 datasets: agreement with {title}", columns)


def _seen(dataset: str, proxies: Sequence[ms.Candidate], cache_dir: Path | None) -> dict[str, Matrix]:
    """(N, P) features of a dataset by each proxy."""
    own = ms.search(f"dir:{LAB / 'models' / LAB_PROXY}")[0]
    pool = [*proxies, own]
    found = ms.features(
        str(LAB / "datasets" / dataset),
        pool,
        probe_size=LAB_ROWS,
        cache_dir=cache_dir,
        trust_remote_code=True,
        progress=False,
    )
    return {name: np.array(found[c.id].features) for name, c in zip((*PROXIES, LAB_PROXY), pool, strict=True)}


def _lab_task(
    view: HistoryView,
    target: str,
    proxy: str,
    seen: Mapping[str, Mapping[str, Matrix]],
    linear: Any | None,
) -> Task:
    others = {
        dataset: np.stack([rows[proxy].mean(axis=0), rows[proxy].std(axis=0)])
        for dataset, rows in seen.items()
        if dataset != target
    }
    facts = view.dataset_facts[target]
    about = replace(
        view,
        results=tuple(result for result in view.results if result.dataset != target),
        datasets=tuple(dataset for dataset in view.datasets if dataset != target),
        proxies=others,
    ).about({candidate: {} for candidate in view.candidates}, facts)
    about.remembered("architectures", lambda: view.architectures)  # the same for every target
    if linear is None:
        truth = {r.candidate: r.value for r in view.results if r.dataset == target}
    else:
        dataset = facts["name"].removesuffix("_lowres")  # the name in the table
        truth = {c: linear["accuracy"][Path(c).name][dataset] for c in view.candidates}
    values = np.array([truth.get(candidate, np.nan) for candidate in about.pool])
    return Task(about, seen[target][proxy], values, np.zeros(len(values), bool))


# --- time -------------------------------------------------------------------------------------------------------------


def timing() -> None:
    print("\n### Seconds of one core\n")
    print("| candidates | kriging | Fennec, online: milliseconds | Fennec, offline, once |\n| --- | --- | --- | --- |")
    random = np.random.default_rng(0)
    for count in ONLINE:
        names = [f"timm:model{i}" for i in range(count)]
        results = tuple(
            Result(name, f"data{j}", ACCURACY, float(value))
            for name, row in zip(names, random.uniform(0.1, 1, (count, 16)), strict=True)
            for j, value in enumerate(row)
        )
        view = HistoryView(
            candidates=tuple(names),
            datasets=tuple(f"data{j}" for j in range(16)),
            results=results,
            candidate_facts={name: {"parameters": 10**6 + i} for i, name in enumerate(names)},
            dataset_facts={f"data{j}": {"classes": j + 2, "samples": 1000} for j in range(16)},
            graphs={},
            proxies={f"data{j}": random.normal(size=(2, 512)).astype(np.float32) for j in range(16)},
        ).about({key: {} for key in names}, {"classes": 10, "samples": 5000})
        vectors = random.normal(size=(300, 128))
        drawn = vectors[random.integers(0, len(vectors), count)]
        view.remembered("architectures", functools.partial(np.asarray, drawn))
        begun = time.process_time()
        Kriging().recall(view, random.normal(size=(500, 512)))
        kriged = time.process_time() - begun
        estimator = Fennec()
        begun = time.perf_counter()
        estimator.fit(view)
        offline = time.perf_counter() - begun
        online = []
        for _ in range(7):
            proxy = random.normal(size=(500, 512))
            begun = time.perf_counter()
            estimator.recall(view, proxy)
            online.append(time.perf_counter() - begun)
        print(f"| {count:,} | {kriged:.1f} | {1000 * sorted(online)[3]:.1f} | {offline:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="How well does recall rank candidates that were never run?")
    parser.add_argument("--only", choices=("truth", "lab", "time"))
    parser.add_argument("--cache-dir", type=Path, default=None, help="where the lab's features are kept")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ms.errors.ScoreWarning)
    if arguments.only in (None, "truth"):
        truth()
    if arguments.only in (None, "lab"):
        lab(arguments.cache_dir)
    if arguments.only in (None, "time"):
        timing()


if __name__ == "__main__":
    main()
