"""Figures of matplotlib from plain data: score against accuracy, agreement against time, features in the plane."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.agreement import Agreement, agreement
from modelselect.errors import InvalidInputError, did_you_mean
from modelselect.evidence.evidence import Evidence
from modelselect.utils.measures import ACCURACY, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Mapping[str, Mapping[str, tuple[float, float]]]
"""By dataset and model, a score and an accuracy from 0 to 1."""

PLANES = ("tsne", "umap")

MOST_ROWS = 1000
"""Rows of the probe that are drawn in the plane; of more, an even choice is drawn."""

_FEWEST_ROWS = 8
_DIMENSIONS = 50
"""Principal components that t-SNE and UMAP start from, as the authors of t-SNE do."""

_PERPLEXITY = 30.0
_COLUMNS = 3
"""Panels next to each other where there is one dataset."""

_PANEL, _LOW = 3.0, 2.6
"""Width and height of a small panel in inches."""


def scores_against_accuracies(points: Mapping[str, Points], measure: Measure = ACCURACY) -> Figure:
    """A panel for each method and dataset: score against accuracy, a dot for each model.

    Args:
        points: by method and dataset.
        measure: what the accuracies are.

    Raises:
        InvalidInputError: there is no point, or matplotlib is missing.
    """
    datasets = list(dict.fromkeys(name for by_dataset in points.values() for name in by_dataset))
    if not datasets:
        raise InvalidInputError("no model has both a score and an accuracy, so there is nothing to plot")
    columns = len(datasets) if len(datasets) > 1 else min(_COLUMNS, len(points))
    places = [(method, dataset) for method in points for dataset in datasets]
    rows = -(-len(places) // columns)
    figure = new_figure(max(4.5, _PANEL * columns), max(3.0, _LOW * rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (method, dataset) in zip(panels, places, strict=False):
        _one_dataset(panel, method, dataset, points[method].get(dataset, {}), measure)
    for panel in panels[len(places) :]:
        panel.axis("off")
    figure.supxlabel("score")
    unit = " (%)" if measure.in_percent else ""
    figure.supylabel(f"{plain(measure.title)} after fine-tuning{unit}")
    return figure


def _one_dataset(
    panel: Axes, method: str, dataset: str, known: Mapping[str, tuple[float, float]], measure: Measure
) -> None:
    times = 100 if measure.in_percent else 1
    panel.scatter([score for score, _ in known.values()], [times * truth for _, truth in known.values()], s=14)
    title = f"{method}, {dataset}"
    if len(known) > 1:
        title += f"\nweighted Kendall {_agreement_of(known).weighted_kendall:.2f}"
    panel.set_title(plain(title), fontsize="small")
    panel.tick_params(labelsize="x-small")


def agreement_against_time(points: Mapping[str, Points], seconds: Mapping[str, float], measure: str) -> Figure:
    """A dot for each method: the mean agreement over the datasets, against the time for one model.

    Args:
        points: by method and dataset.
        seconds: by method, the time for one model without the forward pass.
        measure: an attribute of `Agreement`.

    Raises:
        InvalidInputError: there is no such measure, no method has both a time and a figure, or matplotlib is missing.
    """
    check_measure(measure)
    figure = new_figure(6, 4)
    panel = figure.subplots()
    drawn = 0
    for method, by_dataset in points.items():
        found = [getattr(_agreement_of(known), measure) for known in by_dataset.values() if len(known) > 1]
        if found and seconds.get(method):
            x, y = seconds[method], float(np.mean(found))
            panel.scatter([x], [y], s=20)
            panel.annotate(plain(method), (x, y), (4, 3), textcoords="offset points", fontsize="small")
            drawn += 1
    if not drawn:
        raise InvalidInputError("no method has both a time and scores of two models with known accuracies")
    panel.set_xscale("log")
    panel.margins(x=0.15)
    panel.set_xlabel("seconds for one model, without the forward pass")
    panel.set_ylabel(measure.replace("_", " "))
    return figure


def check_measure(measure: str) -> None:
    """Raises InvalidInputError if `Agreement` has no such figure."""
    known = [name for name in Agreement.__dataclass_fields__ if name not in ("k", "n", "left_out")]
    if measure not in known:
        raise InvalidInputError(
            f"measure is {measure!r}; expected one of {', '.join(known)}.{did_you_mean(measure, known)}"
        )


def _agreement_of(known: Mapping[str, tuple[float, float]]) -> Agreement:
    return agreement([score for score, _ in known.values()], [truth for _, truth in known.values()])


def features_in_the_plane(evidence: Mapping[str, Evidence], plane: str, seed: int) -> Figure:
    """A panel for each candidate: its features of the probe, mapped into the plane, coloured by class.

    Raises:
        InvalidInputError: an argument cannot be used, or a library is missing.
    """
    columns = min(len(evidence), 4)
    rows = -(-len(evidence) // columns)
    figure = new_figure(_PANEL * columns, _PANEL * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (name, known) in zip(panels, evidence.items(), strict=False):
        features, labels = _even_choice(name, known)
        places = in_the_plane(features, plane, seed)
        panel.scatter(places[:, 0], places[:, 1], c=labels, s=6, cmap="tab10" if labels.max() < 10 else "nipy_spectral")
        panel.set_title(plain(name), fontsize="small")
        panel.set_xticks([])
        panel.set_yticks([])
    for panel in panels[len(evidence) :]:
        panel.axis("off")
    return figure


def in_the_plane(features: NDArray[np.floating[Any]], plane: str = "tsne", seed: int = 0) -> NDArray[np.float64]:
    """(N, 2) places of (N, D) features, so that rows that are close stay close.

    t-SNE is L. van der Maaten, G. Hinton: Visualizing data using t-SNE, JMLR 2008. UMAP is L. McInnes et al., 2018.
    Both start from the first 50 principal components.

    Args:
        features: at least eight rows.
        plane: `tsne`, or `umap` if umap-learn is installed.
        seed: of the map.

    Raises:
        InvalidInputError: there are too few rows, no such map, or UMAP is not installed.
    """
    check_plane(plane)
    if len(features) < _FEWEST_ROWS:
        raise InvalidInputError(
            f"{len(features)} rows cannot be mapped into the plane; expected {_FEWEST_ROWS} or more"
        )
    from sklearn.decomposition import PCA

    rows = np.asarray(features, dtype=np.float64)
    components = min(_DIMENSIONS, *rows.shape)
    if components < rows.shape[1]:
        rows = PCA(components, svd_solver="full", random_state=seed).fit_transform(rows)
    if plane == "tsne":
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
        with threadpool_limits(1):  # a few hundred rows; threads wait for each other longer than they work
            places = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)
        return np.asarray(places, np.float64)
    try:
        umap: Any = importlib.import_module("umap")
    except ImportError as error:
        raise InvalidInputError(
            f"plane='umap' needs umap-learn ({error}); install it with: pip install umap-learn, or give plane='tsne'"
        ) from error
    return np.asarray(umap.UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(rows), np.float64)


def check_plane(plane: str) -> None:
    """Raises InvalidInputError if there is no such map into the plane."""
    if plane not in PLANES:
        raise InvalidInputError(f"plane is {plane!r}; expected one of {', '.join(PLANES)}")


def _even_choice(name: str, known: Evidence) -> tuple[NDArray[np.floating[Any]], NDArray[Any]]:
    """Features and labels of at most `MOST_ROWS` rows."""
    if known.features is None:
        raise InvalidInputError(f"the evidence of {name} has no features; make it with ms.features(dataset, candidate)")
    rows = np.unique(np.linspace(0, len(known.features) - 1, min(MOST_ROWS, len(known.features))).astype(int))
    labels = known.labels if known.labels is not None and known.labels.ndim == 1 else np.zeros(len(known.features), int)
    return known.features[rows], labels[rows]


def plain(text: str) -> str:
    """The text as matplotlib shows it; a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that a notebook shows, whether pyplot was imported or not; width and height in inches.

    Raises:
        InvalidInputError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            f"a plot needs matplotlib ({error}); install it with: pip install 'modelselect-automl[plots]'"
        ) from error

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return NotebookFigure(figsize=(width, height), layout="constrained")
