"""The answer of a ranking in sentences: the winner, its certainty, its costs, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelselect.candidates.candidate import license_of
from modelselect.candidates.zoo import OWN_MODULES
from modelselect.errors import Stage
from modelselect.ranking.notes import GUESSING, certainty_text
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate
from modelselect.report.costs import cost_of
from modelselect.report.names import dataset_name, display_names, ranked_by
from modelselect.utils.text import chance_text, in_bytes, listed, short_number


@dataclass(frozen=True)
class Kept:
    """The files that a reader can load the answer from, as they are written in a command.

    Attributes:
        board: the file of the leaderboard; None if there is none.
        winner: the folder of the fine-tuned winner; None if there is none.
    """

    board: str | None = None
    winner: str | None = None


NOTHING_KEPT = Kept()


def answer_text(board: Ranking) -> list[str]:
    """The answer in sentences: which candidate, why, and how certain that is."""
    if not board.ranked:
        return [f"None of the {len(board.rows)} candidates could be ranked; the table says why."]
    called, best = display_names(board), board.best
    verified = [row for row in board.ranked if row.verified_accuracy is not None]
    methods = ranked_by(board)
    by = f"by {methods[0]}" if len(methods) == 1 else f"by the mean rank of {len(methods)} estimators"
    many = f"{len(board.ranked)} candidates" if len(board.ranked) > 1 else "the only candidate that could be ranked"
    if best.verified_accuracy is not None:
        low, high = best.verified_interval or (None, None)
        interval = "" if low is None or high is None else f" (95% interval {low:.1%} to {high:.1%})"
        answer = [
            f"Fine-tune {called[0]}: it reached an accuracy of {best.verified_accuracy:.1%}{interval} on held-out rows "
            f"of {dataset_name(board)}, the best of {len(verified)} fine-tuned out of {many}."
        ]
    else:
        answer = [f"Fine-tune {called[0]}: it ranks first of {many} for {dataset_name(board)}, {by}."]
    return [*answer, *_doubts(board, called, verified)]


_TRAINED = {"head": "the linear head alone", "lora": "low-rank adapters and the head alone"}
"""What was trained, by the value of `verify`. Full fine-tuning needs no sentence."""


def _method(board: Ranking) -> str:
    settings = board.provenance.get("settings")
    recipe = settings.get("fine_tuning") if isinstance(settings, Mapping) else None
    return str(recipe.get("method")) if isinstance(recipe, Mapping) else "full"


def _classes(board: Ranking) -> int:
    about = board.provenance.get("dataset")
    classes = about.get("classes") if isinstance(about, Mapping) else None
    return len(classes) if isinstance(classes, list | tuple) else 0


def _doubts(board: Ranking, called: Sequence[str], verified: Sequence[RankedCandidate]) -> list[str]:
    sentences = [GUESSING] if board.better_than_guessing is False else []
    equals = [called[i] for i, row in enumerate(board.rows) if row.rank == 1][1:]
    if equals:
        sentences.append(f"It shares the first place with {listed(equals)}.")
    if verified:
        lowest = (verified[0].verified_interval or (1.0, 1.0))[0]
        if (trained := _TRAINED.get(_method(board))) is not None:
            sentences.append(f"Fine-tuning trained {trained}.")
        if (classes := _classes(board)) and lowest <= 1 / classes:
            sentences.append(
                f"This may be no better than guessing among {classes} classes: {1 / classes:.0%} on average."
            )
    if (certainty := certainty_text(board, called)) is not None:
        sentences.append(certainty)
        if board.rivals and not verified:
            sentences.append("Fine-tune the three best with top_k=3 (--top-k 3).")
    return sentences


def loading_code(row: RankedCandidate, kept: Kept) -> str | None:
    """Python that loads a row's candidate; None for a module that was given to `select()` itself.

    Args:
        row: the candidate.
        kept: the files that exist.
    """
    if row.candidate.zoo == OWN_MODULES:
        return None
    trust = "trust_remote_code=True" if row.candidate.metadata.get("remote_code") else ""
    if row.fine_tuned is None:
        more = f", {trust}" if trust else ""
        return (
            "import modelselect as ms\n\n"
            f"model = ms.load({row.candidate.id!r}{more}).module  # a torch.nn.Module, pre-trained"
        )
    example = '"a text"' if row.candidate.metadata.get("modality") == "text" else '"photo.jpg"'
    if kept.winner is not None:
        more = f", {trust}" if trust else ""
        return (
            "import modelselect as ms\n\n"
            f"model = ms.load({kept.winner!r}{more})  # the folder of the fine-tuned winner\n"
            f"print(model.predict({example}))"
        )
    board = "# board is what select() returned; board.save() keeps it in a file\n"
    if kept.board is not None:
        board = f"import modelselect as ms\n\nboard = ms.Leaderboard.load({kept.board!r})\n"
    more = f", {trust}" if trust else ""
    return (
        f"{board}"
        f"print(board.best.predict({example}{more}))\n"
        f'board.best.save("winner"{more})  # a folder for other machines, timm or transformers'
    )


def key_facts(board: Ranking) -> list[tuple[str, str]]:
    """The main facts about the winner: accuracy, certainty, size, speed, licence."""
    if not board.ranked:
        return []
    best, facts = board.best, []
    if best.verified_accuracy is not None:
        facts.append(("accuracy, fine-tuned", f"{best.verified_accuracy:.1%}"))
    if board.confidence is not None and best.expectation is not None:
        facts.append(("probability of being the best", chance_text(board.confidence)))
    facts += [(name, show(value)) for name, key, show in _FACTS if (value := cost_of(best, key)) is not None]
    if licence := best.license or license_of(best.candidate):
        facts.append(("licence", licence))
    return facts


def cheaper_candidates(board: Ranking) -> str | None:
    """The best candidate with fewer parameters than the winner, in one sentence; None if there is none."""
    known = [i for i, row in enumerate(board.rows) if row.rank is not None and row.parameters]
    if not known or known[0] != 0 or not (size := board.best.parameters):
        return None
    smaller = [i for i in known if (board.rows[i].parameters or size) < size]
    if not smaller:
        return None
    row = board.rows[smaller[0]]
    share = (row.parameters or 0) / size
    reached = "" if row.verified_accuracy is None else f", and reached {row.verified_accuracy:.1%} fine-tuned"
    return (
        f"Smaller: {display_names(board)[smaller[0]]} has {share:.0%} of its parameters "
        f"({short_number(row.parameters or 0)}), ranks {row.rank} of {len(board.ranked)}{reached}."
    )


def left_out(board: Ranking) -> dict[str, list[tuple[str, str]]]:
    """Candidates that were not ranked or were stopped early, each with its reason, by group."""
    called = display_names(board)
    groups: dict[str, list[tuple[str, str]]] = {"without a rank": [], "excluded by a limit": [], "stopped early": []}
    for name, row in zip(called, board.rows, strict=True):
        if row.rank is None:
            limited = row.failure is not None and row.failure.stage == Stage.LIMIT
            reason = row.status if row.failure is None else row.failure.reason
            groups["excluded by a limit" if limited else "without a rank"].append((name, reason))
        elif row.stopped:
            groups["stopped early"].append((name, row.stopped))
    return {group: rows for group, rows in groups.items() if rows}


_FACTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("parameters", "parameters", short_number),
    ("multiply-accumulates", "macs", short_number),
    ("latency", "latency_ms", lambda value: f"{value:.3g} ms"),
    ("memory", "memory_bytes", in_bytes),
    ("download", "download_bytes", in_bytes),
)
