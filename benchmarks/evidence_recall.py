"""How well `evidence` recalls: it ranks candidates that were never run on the dataset, as Fennec does.

The protocol is that of `recall.py`: one dataset of a published table is left out, then a fifth of the models, too.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping

import numpy as np
from recall import (
    METHODS,
    NEW_SHARE,
    TRUTH,
    Matrix,
    Task,
    agreement,
    parameters,
    truth_tables,
    truth_tasks,
)

from modelselect.estimators.posterior import Piece, posterior
from modelselect_plugins.estimators._evidence import pieces, reliabilities

COMPARED = {
    "Kriging": METHODS["**Kriging**"],
    "Fennec": METHODS["Fennec"],
    "mean rank over the history": METHODS["mean rank over the history"],
    "parameter count": METHODS["parameter count"],
}


def evidence(task: Task, facts: Mapping[str, Mapping[str, float | str]], similar: str = "names") -> Matrix:
    """Posterior means from history, size and similar candidates.

    Args:
        task: of `recall.py`.
        facts: `parameters`, `dimension`, `input` and `family` by model, as far as known.
        similar: `names` for the kernel of facts, families and names, `architectures` for archi2vec, `none` for none.
    """
    rows = [task.view.positions[candidate] for candidate in task.view.pool]
    accuracies = task.view.performance(task.view.results[0].metric, "raw")[rows]
    size = pieces.fact_piece("size", np.log(task.view.sizes[rows, 0]), accuracies, reliabilities.SIZE)
    history = pieces.history_piece(accuracies, posterior([size], len(rows)).mean)
    found = [*pieces.beyond_history([size], accuracies), history]
    if similar != "none":
        found.append(_similar(task, history, facts, similar))
    return posterior(found, len(rows)).mean


def _similar(task: Task, history: Piece, facts: Mapping[str, Mapping[str, float | str]], by: str) -> Piece:
    if np.isfinite(history.values).all():
        return Piece("similar", np.full(len(task.truth), np.nan), 0.0)
    if by == "names":
        return pieces.similar_piece(history.values, _names_kernel(task.view.pool, facts))
    rows = [task.view.positions[candidate] for candidate in task.view.pool]
    vectors = np.nan_to_num(task.view.architectures[rows])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    kernel = vectors @ vectors.T
    np.fill_diagonal(kernel, 1.0)
    return pieces.similar_piece(history.values, kernel)


_KERNELS: dict[tuple[str, ...], Matrix] = {}


def _names_kernel(pool: tuple[str, ...], facts: Mapping[str, Mapping[str, float | str]]) -> Matrix:
    if pool not in _KERNELS:
        numbers = np.array(
            [[facts.get(m, {}).get(k, np.nan) for k in ("parameters", "dimension", "input")] for m in pool]
        )
        numbers = numbers.astype(np.float64)
        numbers[:, 0] = np.log(numbers[:, 0])
        families = [str(facts.get(model, {}).get("family") or model) for model in pool]
        _KERNELS[pool] = pieces.similarity_kernel(numbers, families, pool)
    return _KERNELS[pool]


def hub_facts() -> dict[str, dict[str, float | str]]:
    columns = {"parameters": "parameters", "dimension": "feature_dim", "input": "input_size"}
    with (TRUTH / "hub-vtab-models.csv").open(newline="", encoding="utf-8") as lines:
        return {
            row["model"]: {
                **{ours: float(row[theirs]) for ours, theirs in columns.items() if row[theirs]},
                "family": row["model_type"],
            }
            for row in csv.DictReader(lines)
        }


def methods(facts: Mapping[str, Mapping[str, float | str]]) -> dict[str, Callable[[Task], Matrix]]:
    ways = {"**evidence**": "names", "evidence, archi2vec for names": "architectures", "evidence, no similar": "none"}
    return {name: functools.partial(evidence, facts=facts, similar=by) for name, by in ways.items()} | COMPARED


def recall_table() -> str:
    """Of the 292 models of the Hub on 16 datasets, the first table of `recall.py`."""
    name, values, datasets, graphs = next(truth_tables())
    sizes, facts = parameters(), hub_facts()
    warm, cold = (truth_tasks(values, datasets, graphs, sizes, share) for share in (0.0, NEW_SHARE))
    columns = {
        "a dataset left out": (warm, False),
        "and 20% of the models: all": (cold, False),
        "the new models alone": (cold, True),
    }
    lines = []
    for method, scored in methods(facts).items():
        cells = []
        for tasks, only_new in columns.values():
            found = []
            for task in tasks:
                asked = task.new if only_new else np.ones(len(task.truth), bool)
                found.append(agreement(scored(task)[asked], task.truth[asked]))
            cells.append(" / ".join(f"{value:.3f}" for value in np.mean(found, axis=0)))
        lines.append(f"| {method} | {' | '.join(cells)} |")
    title = f"### Recall on {name}: weighted Kendall / Pearson\n\n"
    return title + f"| ranked by | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}\n" + "\n".join(lines)
