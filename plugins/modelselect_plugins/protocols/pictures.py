"""Pictures of the five documents: the figures that show features of networks, or how a method comes to its scores.

Each function gets evidence by dataset and candidate id, and draws a figure of matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect import Evidence
from modelselect.host.lookup import find_truth
from modelselect.report.plots import features_in_the_plane, new_figure, plain
from modelselect_plugins.estimators.factorisation import factorise
from modelselect_plugins.estimators.fda import FDA, fisher_directions
from modelselect_plugins.estimators.itm import moved_rows
from modelselect_plugins.estimators.persistence import diagram, plot_diagram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = Mapping[str, Mapping[str, Evidence]]
"""Evidence by dataset and candidate id."""

RANKS = (2, 3, 4, 5)
ITERATIONS = 200
ACCURACIES = "truth:parc-32x7"
ON = ("cifar10", "nabirds")
"""Datasets of Fennec's figure 2."""


def in_the_plane(found: Found) -> Figure:
    """NCTI, figure 2: t-SNE of the features of each network."""
    return features_in_the_plane(_panels(found), "tsne", 0)


def before_and_after_itm(found: Found) -> Figure:
    """ITM, figure 7: the features of each network, and its rows after the learned map and their step."""
    return _before_and_after(found, "after ITM's map", moved_rows)


def before_and_after_fda(found: Found) -> Figure:
    """Fennec, figure 7: the features of each network, and the same on Fisher's discriminant directions."""
    return _before_and_after(found, "after FDA", fisher_directions)


def _before_and_after(found: Found, after: str, change: Callable[[Evidence], NDArray[Any]]) -> Figure:
    panels = {}
    for name, evidence in _panels(found).items():
        panels[name] = evidence
        panels[f"{name}\n{after}"] = Evidence.of(features=change(evidence), labels=evidence.labels)
    return features_in_the_plane(panels, "tsne", 0)


def _panels(found: Found) -> dict[str, Evidence]:
    """The evidence by the name of the network, with that of the dataset if there are several."""
    several = len(found) > 1
    return {
        _name(key) + (f", {dataset}" if several else ""): evidence
        for dataset, by_candidate in found.items()
        for key, evidence in by_candidate.items()
    }


def _name(key: str) -> str:
    return key.partition(":")[2].partition("@")[0]


def moments(found: Found) -> Figure:
    """ITM, figure 6: mean and variance of the features of each network, a box for its dimensions."""
    panels = _panels(found)
    figure = new_figure(6.5, 1.2 + 0.3 * len(panels))
    axes = figure.subplots(1, 2, sharey=True)
    features = [np.asarray(evidence.features, np.float64) for evidence in panels.values()]
    found_of = {"mean": [f.mean(axis=0) for f in features], "variance": [f.var(axis=0) for f in features]}
    for axis, (title, values) in zip(axes, found_of.items(), strict=True):
        axis.boxplot(values, orientation="horizontal", showfliers=False, tick_labels=[plain(name) for name in panels])
        axis.set_xlabel(f"{title} of a feature")
    axes[0].invert_yaxis()
    return figure


def convergence(found: Found) -> Figure:
    """Fennec, figure 6: the objective of the factorisation of FDA scores by iterations, for several dimensions."""
    candidates = list(next(iter(found.values())))
    reduced = FDA(regularization=0.1)  # few rows and many dimensions saturate it otherwise
    matrix = np.array([[reduced.score(found[d][c])["fda"] for d in found] for c in candidates])
    figure = new_figure(5.5, 3.2)
    axis = figure.subplots()
    for rank in RANKS:
        objective = factorise(matrix, rank, 0.0, 0.0, iterations=ITERATIONS, tolerance=0.0).objective
        axis.plot(10 * np.arange(1, len(objective) + 1), objective, label=f"{rank} dimensions")
    axis.set(yscale="log", xlabel="iterations", ylabel="squared error")
    axis.legend(frameon=False)
    return figure


def classes_on_a_circle(found: Found) -> Figure:
    """The persistence paper, figure 1: the diagram of four classes at equal distances on a circle."""
    angles = np.pi / 2 * (np.arange(200) % 4)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return plot_diagram(diagram(rows + 0.03 * np.random.default_rng(0).normal(size=rows.shape)), n_classes=4)


def accuracies_by_architecture(found: Found) -> Figure:
    """Fennec, figure 2: accuracies after fine-tuning by architecture, a dot for each network."""
    accuracies = find_truth(ACCURACIES).accuracies
    figure = new_figure(6.5, 2.8)
    for axis, dataset in zip(figure.subplots(1, len(ON)), ON, strict=True):
        by_architecture: dict[str, list[float]] = {}
        for model, accuracy in accuracies[dataset].items():
            by_architecture.setdefault(model.partition("_")[0], []).append(accuracy)
        for place, values in enumerate(by_architecture.values()):
            axis.scatter([place] * len(values), values, s=14, alpha=0.7)
        axis.set_xticks(range(len(by_architecture)), list(by_architecture))
        axis.set_title(dataset, fontsize="small")
        axis.margins(x=0.15)
    figure.supylabel("accuracy after fine-tuning (%)", fontsize="medium")
    return figure
