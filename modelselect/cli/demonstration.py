"""The demonstration: embedded networks ranked and checked against their true accuracies."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect.candidates.candidate import Candidate
from modelselect.cli.streams import say_json
from modelselect.demo import Demo, DemoZoo
from modelselect.errors import InvalidInputError
from modelselect.history.history import History
from modelselect.host.defaults import DEFAULT_ESTIMATORS, DEMO_ESTIMATORS, DEMO_ZOO, RECALL_ESTIMATOR
from modelselect.host.host import get_host
from modelselect.host.lookup import search
from modelselect.leaderboard.leaderboard import Leaderboard
from modelselect.selection.funnel import select

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TOP_K = 3


def run(*, full: bool, json_path: Path, cache_dir: Path | None, seed: int, progress: bool) -> Leaderboard:
    """Shows the candidates, recalls and ranks them, fine-tunes the first three, and compares with the truth.

    The user's own transfer history is neither read nor added to.

    Args:
        full: measure the truth again instead of taking the shipped table.
        json_path: where the leaderboard is written; `-` prints it, and everything else goes to standard error.
        cache_dir: as in `select`.
        seed: as in `select`.
        progress: as in `select`.
    """
    from rich.console import Console

    begun = time.perf_counter()
    printed = json_path == Path("-")
    console = Console(stderr=printed)
    zoo = get_host().zoo(DEMO_ZOO)
    if not isinstance(zoo, DemoZoo):
        raise InvalidInputError(
            f"zoo {DEMO_ZOO!r} brings no demo; `modelselect plugins` shows which plugin registered it"
        )
    demo = zoo.demo()
    candidates = search(f"{DEMO_ZOO}:*")

    console.print(f"[bold]Candidates[/bold]: {len(candidates)} networks that come with modelselect")
    console.print(_candidates_table(candidates, console.width))
    console.print(f"[bold]Target[/bold]: {demo.description}\n")
    with tempfile.TemporaryDirectory() as scratch:
        past = History(Path(scratch) / "history.sqlite")
        demo.remember(past)
        recalled = select(
            demo.dataset,
            candidates,
            estimators=RECALL_ESTIMATOR,
            cache_dir=cache_dir,
            seed=seed,
            history=past,
            progress=progress,
        )
        datasets = past.summary()["datasets"]
        board = select(
            demo.dataset,
            candidates,
            top_k=TOP_K,
            cache_dir=cache_dir,
            seed=seed,
            fine_tuning=demo.fine_tuning,
            history=past,
            progress=progress,
        )
    console.print(f"[bold]Recall[/bold]: what {RECALL_ESTIMATOR} expects of each, from their results on ", end="")
    console.print(f"{datasets} other datasets, before any of them has seen the target")
    console.print(_recall_table(recalled))
    console.print(board)
    console.print("\n[bold]Why[/bold]: what each piece of evidence adds to the score, in deviations of the pool")
    console.print(_why_table(board))
    nearest = board.best.nearest
    if nearest:
        console.print(
            f"Nearest architecture to the best: {nearest[0][0].split('@')[0]} (cosine similarity {nearest[0][1]:.2f})\n"
        )

    others = select(
        demo.dataset,
        candidates,
        estimators=list(DEMO_ESTIMATORS),
        cache_dir=cache_dir,
        seed=seed,
        history=False,
        progress=progress,
    )
    truth = _measured(demo, console) if full else demo.truth
    by_id = {c.id: truth[c.name] for c in candidates}
    console.print("[bold]Against the truth[/bold]: the accuracy of all candidates after fine-tuning, ", end="")
    console.print("measured just now" if full else "from the shipped table (--full measures it again)")
    console.print(_truth_table(board, by_id))
    console.print(_agreement_table(board, others, recalled, by_id))
    if printed:
        say_json(board.to_json())
    else:
        board.save(json_path)
        loaded = f"modelselect.Leaderboard.load({str(json_path)!r})"
        console.print(f"Leaderboard written to {json_path}; read it with {loaded}.")
    console.print(f"Done in {time.perf_counter() - begun:.0f} s.")
    return board


def _measured(demo: Demo, console: Console) -> Mapping[str, float]:
    return demo.measure(lambda name, seed, accuracy: console.print(f"  {name}, seed {seed}: {accuracy:.1%}"))


def _candidates_table(candidates: list[Candidate], width: int) -> Table:
    """The candidates as a table. A long name of what a candidate was pre-trained on is cut off."""
    from rich.table import Table

    names = max(len(c.zoo) + 1 + len(c.name) for c in candidates)
    room = max(width - names - len("parameters") - len("accuracy") - 13, len("pre-trained on"))
    table = Table(header_style="bold")
    table.add_column("candidate", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("pre-trained on", no_wrap=True, overflow="ellipsis", max_width=room)
    table.add_column("accuracy", justify="right")
    for candidate in candidates:
        known = candidate.metadata
        accuracy = known.get("source_accuracy")
        table.add_row(
            f"{candidate.zoo}:{candidate.name}",
            f"{known['parameters']:,}" if "parameters" in known else "–",
            str(known.get("source_dataset") or "nothing: random weights"),
            "–" if accuracy is None else f"{accuracy:.1f}%",
        )
    return table


def _recall_table(board: Leaderboard) -> Table:
    from rich.table import Table

    table = Table(header_style="bold")
    for column in ("candidate", "expected", "certainty"):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for row in board.ranked:
        found = row.components[RECALL_ESTIMATOR]
        name = f"{row.candidate.zoo}:{row.candidate.name}"
        table.add_row(name, f"{found[RECALL_ESTIMATOR]:.2f}", f"{found['certainty']:.2f}")
    return table


def _why_table(board: Leaderboard) -> Table:
    from rich.table import Table

    rows = sorted(board.ranked, key=lambda row: row.predicted_rank or 0)
    given = [row.expectation.contributions if row.expectation is not None else {} for row in rows]
    pieces = list(dict.fromkeys(name for contributions in given for name in contributions))
    table = Table(header_style="bold")
    for column in ("candidate", *pieces, "score"):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for row, contributions in zip(rows, given, strict=True):
        cells = [f"{contributions[name]:+.2f}" if name in contributions else "–" for name in pieces]
        table.add_row(f"{row.candidate.zoo}:{row.candidate.name}", *cells, f"{row.score:+.2f}")
    return table


def _truth_table(board: Leaderboard, truth: Mapping[str, float]) -> Table:
    from rich.table import Table

    true_order = sorted(truth, key=lambda key: -truth[key])
    table = Table(header_style="bold")
    for column in ("predicted", "true", "candidate", "true accuracy"):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for row in sorted(board.ranked, key=lambda row: row.predicted_rank or 0):
        key, name = row.candidate.id, f"{row.candidate.zoo}:{row.candidate.name}"
        table.add_row(str(row.predicted_rank), str(1 + true_order.index(key)), name, f"{truth[key]:.1%}")
    return table


def _agreement_table(
    board: Leaderboard, others: Leaderboard, recalled: Leaderboard, truth: Mapping[str, float]
) -> Table:
    """Every ranking's agreement with the truth: the default, other estimators, recall, and the static baselines."""
    from rich.table import Table

    table = Table(header_style="bold")
    for column in ("ranking by", "weighted Kendall", "Pearson", "top-1 regret", "n"):
        table.add_column(column, justify="left" if column == "ranking by" else "right", no_wrap=True)
    default = {f"{name} (above)": board.agreement(truth)[name] for name in DEFAULT_ESTIMATORS}
    columns = {name: found for name, found in others.agreement(truth).items() if name != "score"}
    static = {f"{name} (baseline)": found for name, found in columns.items() if name not in DEMO_ESTIMATORS}
    methods = {name: found for name, found in columns.items() if name in DEMO_ESTIMATORS}
    recall = {f"{RECALL_ESTIMATOR} (recall)": recalled.agreement(truth)[RECALL_ESTIMATOR]}
    for name, found in (default | methods | recall | static).items():
        table.add_row(
            name,
            f"{found.weighted_kendall:+.2f}",
            f"{found.pearson:+.2f}",
            f"{100 * found.top1_regret:.1f} points",
            str(found.n),
        )
    return table
