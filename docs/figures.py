"""Draws the figures of the documentation from the networks and images that come with modelselect, offline.

    python docs/figures.py [NAME]...

Each figure is an SVG file next to the page that shows it. Without names, all are drawn; that takes about a minute.
`scores`, `time` and `features` show what `Leaderboard.plot` draws: twelve embedded networks on the digits of
`modelselect demo`, with the accuracies that come with it. `dynamics` is figure 2 of the persistence paper on a small
network, as `modelselect reproduce persistence-training --scale small` makes it, with more epochs. `diagram`,
`accuracies`, `map` and `fisher` are pictures of three papers, as their protocols draw them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import modelselect as ms
from modelselect.host import get_host
from modelselect.protocols import Training
from modelselect.reproducing.training import watched_trainings
from modelselect.verification.dynamics import plot_dynamics
from modelselect_plugins.protocols.pictures import before_and_after_fda, before_and_after_itm

HOW_TO = Path(__file__).resolve().parent / "how-to"
ESTIMATORS = ("logme", "knn", "ncti", "transrate", "lfc", "h_score")
SHOWN = ("embedded:plain.random", "embedded:resnet.textures", "embedded:vit.letters", "embedded:mixer.digits0to4")
"""Networks whose features are drawn: untrained, trained on other images, on letters, and on other digits."""

EPOCHS = 25

Figure = Any


@cache
def _demo() -> tuple[Any, Mapping[str, float]]:
    demo = get_host().zoo("embedded").demo()
    return demo.dataset, demo.truth


@cache
def _board() -> ms.Leaderboard:
    dataset, _ = _demo()
    return ms.select(dataset, "embedded:*", estimators=list(ESTIMATORS), history=False, device="cpu", progress=False)


def scores() -> Figure:
    return _board().plot(kind="scores", accuracies=_demo()[1])


def time() -> Figure:
    return _board().plot(kind="time", accuracies=_demo()[1])


def features() -> Figure:
    dataset, _ = _demo()
    found = ms.features(dataset, list(SHOWN), device="cpu", progress=False)
    return _board().plot(kind="features", evidence=found)


def dynamics() -> Figure:
    dataset, _ = _demo()
    probe = ms.Probe.of(dataset["validation"], holdout=0.2)
    training = Training(("embedded:resnet.letters",), epochs=EPOCHS, batch_size=32, learning_rate=0.05, rows=500)
    return plot_dynamics(watched_trainings(training, probe, 0, "cpu"), None)


def diagram() -> Figure:
    return ms.reproduce("persistence-diagram", progress=False).plot()


def accuracies() -> Figure:
    return ms.reproduce("fennec-accuracies", progress=False).plot()


def map_() -> Figure:
    return before_and_after_itm(_found())


def fisher() -> Figure:
    return before_and_after_fda(_found())


def _found() -> Mapping[str, Mapping[str, ms.Evidence]]:
    dataset, _ = _demo()
    return {"digits": ms.features(dataset, list(SHOWN[1:3]), device="cpu", progress=False)}


FIGURES: Mapping[str, tuple[Callable[[], Figure], Path]] = {
    "scores": (scores, HOW_TO / "plot-scores.svg"),
    "time": (time, HOW_TO / "plot-time.svg"),
    "features": (features, HOW_TO / "plot-features.svg"),
    "dynamics": (dynamics, HOW_TO / "training-dynamics.svg"),
    "diagram": (diagram, HOW_TO / "paper-diagram.svg"),
    "accuracies": (accuracies, HOW_TO / "paper-accuracies.svg"),
    "map": (map_, HOW_TO / "paper-map.svg"),
    "fisher": (fisher, HOW_TO / "paper-fisher.svg"),
}


def write(names: list[str]) -> None:
    """Writes the figures. The same numbers give the same file."""
    import matplotlib

    matplotlib.rcParams |= {"svg.hashsalt": "modelselect", "svg.fonttype": "none", "font.size": 8}
    for name in names:
        draw, path = FIGURES[name]
        draw().savefig(path, metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; all by default")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MODELSELECT_CACHE"] = scratch
        write(parser.parse_args().names or list(FIGURES))
