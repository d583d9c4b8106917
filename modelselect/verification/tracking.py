"""Writes a ranking to an experiment tracker, through accelerate's trackers: trackio, W&B, MLflow, TensorBoard, ..."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from modelselect.ranking.ranking import Ranking, record_of
from modelselect.report.names import dataset_name, display_names
from modelselect.verification.processes import accelerated

PROJECT = "modelselect"
FOLDER = "runs"
"""Where trackers that write files put them."""

NUMBERS = (
    "rank",
    "score",
    "probability_best",
    "brief_accuracy",
    "verified_accuracy",
    "parameters",
    "macs",
    "latency_ms",
    "memory_bytes",
    "seconds",
)
"""What is written of each candidate, as far as it is known."""


def track(ranking: Ranking, tracker: Any) -> None:
    """Writes one run: settings, the learning curves by epoch, and then the numbers of every candidate.

    A value is called after what it is and its candidate: `accuracy/resnet18`.

    Args:
        ranking: what is written.
        tracker: one of `TRACKERS`, the name of a tracker that is registered with accelerate, or a `GeneralTracker`.
    """
    folder = f"{FOLDER}/{time.strftime('%Y%m%d-%H%M%S')}"
    names = [re.sub(r"[^\w.\- ]+", "_", name) for name in display_names(ranking)]
    with accelerated("cpu", "float32", log_with=tracker, project_dir=folder) as accelerator:
        accelerator.init_trackers(PROJECT, config=_configuration(ranking))
        steps = max((len(row.learning_curve) for row in ranking.rows), default=0)
        for step in range(1, steps + 1):
            accelerator.log(_epoch(ranking, names, step), step=step)
        accelerator.log(_numbers(ranking, names), step=steps + 1)
        accelerator.end_training()


def _configuration(ranking: Ranking) -> dict[str, Any]:
    settings = record_of(ranking, "settings")
    recipe = settings.get("fine_tuning")
    known = {**settings, **(recipe if isinstance(recipe, Mapping) else {})}
    plain = {name: value for name, value in known.items() if isinstance(value, str | bool | int | float)}
    best = ranking.best.candidate.id if ranking.ranked else "none"
    return {"dataset": dataset_name(ranking), "best": best, **plain}


def _epoch(ranking: Ranking, names: list[str], step: int) -> dict[str, float]:
    """The values of all candidates in one epoch. Trackers take steps in ascending order only."""
    values = {}
    for name, row in zip(names, ranking.rows, strict=True):
        for epoch, loss, accuracy in row.learning_curve:
            if epoch == step:
                values[f"loss/{name}"] = loss
                if accuracy is not None:
                    values[f"accuracy/{name}"] = accuracy
    return values


def _numbers(ranking: Ranking, names: list[str]) -> dict[str, float]:
    return {
        f"{what}/{name}": value
        for name, row in zip(names, ranking.rows, strict=True)
        for what in NUMBERS
        if (value := getattr(row, what)) is not None
    }
