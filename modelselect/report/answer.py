"""The answer of a ranking in sentences: the winner, its certainty, its costs, and what was left out."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelselect.candidates.zoo import OWN_MODULES
from modelselect.errors import RemoteCodeError, Stage
from modelselect.ranking.notes import GUESSING
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.ranking.row import RankedCandidate
from modelselect.report.account import command_of
from modelselect.report.names import dataset_name, display_names, ranked_by
from modelselect.utils.measures import ACCURACY, Measure
from modelselect.utils.target_kinds import BOX
from modelselect.utils.text import listed, printable, short_number, two_digits


@dataclass(frozen=True)
class Kept:
    """The files that a reader can load the answer from, as they are written in a command.

    Attributes:
        board: the file of the leaderboard; None if there is none.
        winner: the folder of the fine-tuned winner; None if there is none.
        repository: of the fine-tuned winner on the Hub; None if there is none.
    """

    board: str | None = None
    winner: str | None = None
    repository: str | None = None


NOTHING_KEPT = Kept()


def answer_text(board: Ranking) -> list[str]:
    """The answer in sentences: which candidate, how good it is, and how certain that is."""
    if not board.ranked:
        one = len(board.rows) == 1
        what = "The only candidate could not" if one else f"None of the {len(board.rows)} candidates could"
        return [f"{what} be ranked; the table says why."]
    called, best = display_names(board), board.best
    known = [_accuracy_text(board)] if best.verified_accuracy is not None else []
    if not known:
        methods = ranked_by(board)
        by = f"the mean rank of {len(methods)} estimators" if len(methods) > 1 else "".join(methods)
        many = f"first of {len(board.ranked)} candidates" if len(board.ranked) > 1 else "the only candidate with a rank"
        known.append(f"{many} for {dataset_name(board)}{by and f' by {by}'}")
    if board.confidence is not None and best.expectation is not None:
        known.append(f"P(best) {_decimal(board.confidence)}")
    verified = [row for row in board.ranked if row.verified_accuracy is not None]
    if best.verified_accuracy is not None:
        known[-1] += f"; {len(verified)} of {len(board.ranked)} candidates were fine-tuned"
    return [f"Best: {called[0]}, {', '.join(known)}.", *_other_metrics(board), *_doubts(board, called, verified)]


def _other_metrics(board: Ranking) -> list[str]:
    """What else the task measures on the same rows, in one sentence; none for classification."""
    known = board.best.verified_metrics
    others = [
        f"{measure.title} {measure.text(known[name])}"
        for name, measure in list(board.measures.items())[1:]
        if name in known
    ]
    return [f"On the same rows: {', '.join(others)}."] if others else []


def closing_lines(board: Ranking, kept: Kept = NOTHING_KEPT) -> list[str]:
    """The answer for the end of a terminal: its sentences, a smaller choice, failures by reason, and the next step.

    A line that begins with two spaces is a command, and is not to be broken.
    """
    lines = [*answer_text(board), smaller_and_as_good(board), *failure_lines(board)]
    if (means := telling_apart(board, kept)) is not None:
        lines += means.split("\n")
    if (step := next_step(board, kept)) is not None:
        lines += f"Next: {step}".split("\n")
    return [printable(line) for line in lines if line]


def _accuracy_text(board: Ranking) -> str:
    """`86% (±2) on held-out rows of digits (chance 20%)`, with half the 95% interval."""
    accuracy, (low, high) = board.best.verified_accuracy or 0.0, board.best.verified_interval or (0.0, 0.0)
    measure, points = board.measure, 50 * (high - low)
    digits = 0 if points >= 1 or not points else 1
    half = f"{points:.{digits}f}" if measure.in_percent else measure.text(points / 100, digits)
    interval = f" (±{half})" if points else ""
    chance = "" if board.chance is None else f" (chance {measure.text(board.chance, 0)})"
    name = dataset_name(board)
    rows = "held-out rows" if name == "the dataset" else f"held-out rows of {name}"
    metric = "" if measure == ACCURACY else f"{measure.title} "
    return f"{metric}{measure.text(accuracy, digits)}{interval} on {rows}{chance}"


def _decimal(probability: float) -> str:
    """`0.83`, and no more precise than an estimate of a probability is."""
    return ">0.99" if probability > 0.99 else "<0.01" if probability < 0.01 else f"{probability:.2f}"


_TRAINED = {"head": "the linear head alone", "lora": "low-rank adapters and the head alone"}
"""What was trained, by the value of `verify`. Full fine-tuning needs no sentence."""


def _method(board: Ranking) -> str:
    recipe = record_of(board, "settings").get("fine_tuning")
    return str(recipe.get("method")) if isinstance(recipe, Mapping) else "full"


def may_be_chance(board: Ranking) -> bool:
    """Whether guessing may be as good as the winner: by its accuracy on held-out rows, else by the features."""
    best = board.best
    if best.verified_accuracy is None:
        return board.better_than_guessing is False
    lowest = (best.verified_interval or (best.verified_accuracy,))[0]
    return board.chance is not None and lowest <= board.chance


def _doubts(board: Ranking, called: Sequence[str], verified: Sequence[RankedCandidate]) -> list[str]:
    sentences = []
    if may_be_chance(board):
        sentences.append(_of_chance(board))
    equals = [called[i] for i, row in enumerate(board.rows) if row.rank == 1][1:]
    if equals:
        sentences.append(f"It shares the first place with {listed(equals)}.")
    if verified and (trained := _TRAINED.get(_method(board))) is not None:
        sentences.append(f"Fine-tuning trained {trained}.")
    if others := [called[board.rows.index(row)] for row in board.rivals if row.rank != 1]:
        sentences.append(f"It cannot be distinguished from {listed(others)}.")
    return sentences


def _of_chance(board: Ranking) -> str:
    """The sentence for a winner that may be no better than guessing."""
    accuracy, chance, measure = board.best.verified_accuracy, board.chance or 0.0, board.measure
    if accuracy is None:
        return GUESSING
    guessing = measure.text(chance, 0)
    if accuracy <= chance:
        return f"No better than guessing: it reaches {measure.text(accuracy, 0)}, and guessing {guessing}."
    return f"This may be no better than guessing: the interval reaches down to {guessing}."


def smaller_and_as_good(board: Ranking) -> str | None:
    """The first candidate that is as good as the winner and has at most half of its parameters, and what it costs.

    None if there is none. A candidate is as good if it cannot be distinguished from the winner.
    """
    size = (board.best.parameters or 0) if board.ranked else 0
    for row in board.rivals:
        if row.parameters and size >= 2 * row.parameters:
            name = display_names(board)[board.rows.index(row)]
            few = short_number(row.parameters)
            price = _price(board.best, row, board.measure)
            return f"As good, {_share(size / row.parameters)}: {name} ({few} parameters){price}."
    return None


def _price(best: RankedCandidate, other: RankedCandidate, measure: Measure) -> str:
    """What a smaller candidate costs in accuracy, else in the probability of being the best; empty if nothing."""
    if best.verified_accuracy is not None and other.verified_accuracy is not None:
        lost = best.verified_accuracy - other.verified_accuracy
        if lost < 0.0005:
            return f", at no cost in {measure.title}"
        return f", at a cost of {measure.difference(lost)} of {measure.title}"
    if best.probability_best is None or other.probability_best is None:
        return ""
    lower, higher = _decimal(other.probability_best), _decimal(best.probability_best)
    return "" if lower == higher else f", with P(best) {lower} instead of {higher}"


def _share(times: float) -> str:
    """`half the size`, `a third of the size`, `7 times smaller`."""
    named = {2: "half the size", 3: "a third of the size", 4: "a quarter of the size"}
    return named.get(round(times), f"{times:.0f} times smaller")


def failure_lines(board: Ranking) -> list[str]:
    """The reasons why candidates have no rank, one line each with the number of candidates, the most frequent first."""
    called, groups = display_names(board), dict[tuple[str, str], list[int]]()
    for i, row in enumerate(board.rows):
        if row.failure is not None:
            groups.setdefault((row.failure.stage, _without_names(row)), []).append(i)
        elif row.rank is None:
            groups.setdefault((Stage.SCORE, row.status), []).append(i)
    lines = []
    for (stage, _), rows in sorted(groups.items(), key=lambda item: -len(item[1])):
        count, names, first = f"{len(rows)} of {len(board.rows)} candidates", listed([called[i] for i in rows]), rows[0]
        failure = board.rows[first].failure
        if failure is not None and failure.error == RemoteCodeError.__name__:
            verb = "needs" if len(rows) == 1 else "need"
            lines.append(f"{count} {verb} --trust-remote-code (trust_remote_code=True): {names}.")
        else:
            reason = board.rows[first].status if failure is None else failure.reason
            what = "left out" if stage == Stage.LIMIT else f"failed ({stage})"
            lines.append(f"{count} {what}: {names}: {_sentence(reason)}")
    return lines


def _without_names(row: RankedCandidate) -> str:
    """The reason of a failure without the candidate's names and without numbers, which differ between candidates."""
    assert row.failure is not None
    reason, candidate = row.failure.reason, row.candidate
    for name in (candidate.id, candidate.unversioned_id, candidate.name, candidate.name.rstrip("/").rsplit("/", 1)[-1]):
        reason = reason.replace(name, "*") if name else reason
    return re.sub(r"\d[\d.,]*", "#", reason)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def telling_apart(board: Ranking, kept: Kept = NOTHING_KEPT) -> str | None:
    """What to do where a fine-tuned winner cannot be distinguished from others; None where that is not so.

    If no candidate was fine-tuned, that is the next step, and nothing is to be added.
    """
    if not board.rivals or board.best.verified_accuracy is None or may_be_chance(board):
        return None
    if unmeasured := [row for row in board.rivals if row.verified_accuracy is None]:
        count = _including(board, unmeasured)
        more = {"--top-k": [str(count)]}
        if budget := record_of(board, "budget"):
            more["--budget"] = [_times(budget, count)]
        if kept.winner is not None:
            more["--save"] = [f"{kept.winner}-of-{count}"]
        return _step(f"To tell them apart, fine-tune the first {count}", f"top_k={count}", board, more)
    called = display_names(board)
    smallest = min((board.best, *board.rivals), key=lambda row: row.parameters or math.inf)
    if not smallest.parameters or smallest is board.best:
        return "To tell them apart, label more rows. Any of them is a good choice, and the first is the safest one."
    name, few = called[board.rows.index(smallest)], short_number(smallest.parameters)
    text = f"To tell them apart, label more rows. Or take the smallest, {name} with {few} parameters"
    identifier, alone = smallest.candidate.unversioned_id, 1
    if smallest.candidate.zoo == OWN_MODULES:
        return f"{text}."
    changed = {"-c": [identifier], "--top-k": [str(alone)], "--save": ["smallest"]}
    return _step(text, f"candidates={identifier!r}, top_k={alone}", board, changed)


TOLD_APART = 3
"""Candidates that fine-tuning is proposed for at a time, at most."""


def _including(board: Ranking, rivals: Sequence[RankedCandidate]) -> int:
    """The number of first candidates among which there are the first few of these rivals."""
    return 1 + max((board.rows.index(row) for row in rivals[: TOLD_APART - 1]), default=0)


def _step(text: str, keywords: str, board: Ranking, changes: Mapping[str, Sequence[str]]) -> str:
    """What to do, with the keywords of `select()`, and in a line of its own the command, if the run has one."""
    command = command_of(board, changes)
    if command is None:
        return f"{text}: select(..., {keywords})."
    return f"{text} (in Python: {keywords}):\n  {command}"


def next_step(board: Ranking, kept: Kept = NOTHING_KEPT) -> str | None:
    """What to do next: one option, call or command that works as it stands; None where there is nothing to do.

    A command that repeats the run with other options stands in a line of its own, after two spaces.
    """
    untrusted = sum(row.failure is not None and row.failure.error == RemoteCodeError.__name__ for row in board.rows)
    if 2 * untrusted >= len(board.rows) > 0:
        return (
            f"add --trust-remote-code (trust_remote_code=True) to rank {untrusted} more, if you trust those who wrote "
            "their code."
        )
    budget = record_of(board, "budget")
    unpaid = sum(row.failure is not None and row.failure.reason.startswith("not begun") for row in board.rows)
    if not board.ranked:
        return None
    known = board.best.candidate.metadata
    if (name := kept.winner or kept.repository) is not None:
        if is_of_boxes(board):
            return f"ms.load({name!r}).module.body is the fine-tuned backbone, for a detector."
        example = {"text": '--text "a text"', "audio": "sound.wav"}.get(str(known.get("modality")), "photo.jpg")
        trust = " --trust-remote-code" if known.get("remote_code") else ""
        return f"modelselect predict {shlex.quote(name)} {example}{trust}"
    if budget and (2 * unpaid >= len(board.rows) or may_be_chance(board)):
        return _larger_budget(board, budget, max(4.0, len(board.rows) / len(board.ranked)))
    if may_be_chance(board):
        return _more_rows(board)
    if board.best.verified_accuracy is None:
        if board.chance is None:
            return None  # without classes there is no fine-tuning
        count = _including(board, board.rivals)
        text = "fine-tune it and measure its accuracy"
        if count > 1:
            text = f"to tell them apart, fine-tune the first {count} and measure their accuracy"
        return _step(text, f"top_k={count}", board, {"--top-k": [str(count)]})
    if board.best.fine_tuned is None:
        return None
    trusted = known.get("remote_code")
    call = 'board.best.save("winner", trust_remote_code=True)' if trusted else 'board.best.save("winner")'
    step = f"{call} writes the model (--save winner)"
    alone = board.best.candidate.zoo == OWN_MODULES or is_of_boxes(board)
    return f"{step}." if alone else f"{step}; board.best.predict(...) uses it."


def is_of_boxes(board: Ranking) -> bool:
    """True if a fine-tuned model tells the class of given boxes, so that it predicts nothing by itself."""
    return record_of(board, "task").get("unit") == BOX


def _larger_budget(board: Ranking, budget: Mapping[str, Any], times: float) -> str:
    """How to run again with a budget that is this many times larger."""
    amount = _times(budget, times)
    return _step("show the candidates more rows", f'budget="{amount}"', board, {"--budget": [amount]})


def _times(budget: Mapping[str, Any], times: float) -> str:
    """A budget that is this many times larger, as an option takes it."""
    seconds, passes = budget.get("seconds"), budget.get("passes")
    return f"{two_digits(times * seconds)}s" if seconds else f"{two_digits(times * (passes or 0))}"


def _more_rows(board: Ranking) -> str:
    """How to get more rows: a larger probe if the dataset has them."""
    dataset = record_of(board, "dataset")
    shown, there = dataset.get("rows"), dataset.get("training_rows")
    if isinstance(shown, int) and isinstance(there, int) and shown < there:
        more = min(there, 4 * shown)
        text = f"show the candidates more rows, {shown} of {there} were read"
        return _step(text, f"probe_size={more}", board, {"--probe-size": [str(more)]})
    count = f"; all {there} rows were used" if isinstance(there, int) else ""
    return f"check the labels, and label more rows{count}."


def loading_code(row: RankedCandidate, kept: Kept, *, of_boxes: bool = False) -> str | None:
    """Python that loads a row's candidate; None for a module that was given to `select()` itself.

    Args:
        row: the candidate.
        kept: the files that exist.
        of_boxes: whether a fine-tuned model tells the class of given boxes, so that it predicts nothing by itself.
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
    modality = str(row.candidate.metadata.get("modality"))
    example = {"text": '"a text"', "audio": '"sound.wav"'}.get(modality, '"photo.jpg"')
    if kept.winner is not None:
        more = f", {trust}" if trust else ""
        return (
            "import modelselect as ms\n\n"
            f"model = ms.load({kept.winner!r}{more})  # the folder of the fine-tuned winner\n"
            + ("backbone = model.module.body  # for a detector" if of_boxes else f"print(model.predict({example}))")
        )
    board = "# board is what select() returned; board.save() keeps it in a file\n"
    if kept.board is not None:
        board = f"import modelselect as ms\n\nboard = ms.Leaderboard.load({kept.board!r})\n"
    more = f", {trust}" if trust else ""
    use = "" if of_boxes else f"print(board.best.predict({example}{more}))\n"
    return f'{board}{use}board.best.save("winner"{more})  # a folder for other machines, timm or transformers'


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
