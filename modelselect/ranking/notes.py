"""The notes under a ranking: why the first is first, what a budget paid for, and which estimators warned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelselect.agreement import Agreement
from modelselect.ranking.cells import name_of
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.utils.measures import ACCURACY, Measure
from modelselect.utils.text import counted, duration, printable

GUESSING = (
    "No better than guessing: no candidate's features tell these classes apart, so this order says little. Check the "
    "labels, use more rows, or try other candidates."
)
"""The note where no accuracy on the probe is above what guessing gives."""

UNLABELLED = (
    "No row has a label, so candidates are ranked by what is known of them, and not by how well their features fit a "
    'task. Label some rows, or rank by the spread of the features alone: estimators="rankme,energy" (--estimators '
    "rankme,energy)."
)
"""The note where all rows are unlabelled."""

WORTH_IT = 0.5
"""Accuracy without training from which a note says that fine-tuning may not be needed."""

REMARKS = ("dataset", "choice", "layers", "fine_tuning")
"""The parts of the provenance that hold remarks."""

SAID = REMARKS[1:]
"""The parts whose remarks progress says while a run goes on."""


def notes_of(ranking: Ranking, names: Sequence[str] | None = None, remarks: Sequence[str] = REMARKS) -> list[str]:
    """One text for each note; a budget takes several. What the answer says is no note: see `report/answer.py`.

    Args:
        ranking: what is shown.
        names: what the rows are called; None for the candidates' names.
        remarks: the parts of the provenance whose remarks are notes.
    """
    notes = remarks_of(ranking, remarks)
    if ranking.ranked and (why := ranking.best.why) is not None:
        when = "" if ranking.best.verified_accuracy is None else "; before fine-tuning"
        called = name_of(ranking.best) if names is None else names[0]
        notes.append(f"Why {called}: {why} (in deviations of the pool{when}).")
    if (text := _zero_shot(ranking, names)) is not None:
        notes.append(text)
    if (found := ranking.verification) is not None:
        notes.append(
            f"{verification_text(found, ranking.measure)} Score and {ranking.metric} of the {found.n} fine-tuned "
            f"models agree with a weighted Kendall of {found.weighted_kendall:.2f}. A number in brackets is the rank "
            "by score, where it differs."
        )
    if budget := record_of(ranking, "budget"):
        notes += describe_budget(budget)
    for name in dict.fromkeys((*ranking.estimators, *(name for row in ranking.rows for name in row.failures))):
        reasons = [row.warnings[name] for row in ranking.rows if name in row.warnings]
        reasons += [row.failures[name].reason for row in ranking.rows if name in row.failures]
        if reasons:
            notes.append(f"{name}, for {len(reasons)} of {counted(len(ranking.rows), 'candidate')}: {reasons[0]}")
    return [printable(note) for note in notes]


def _zero_shot(ranking: Ranking, names: Sequence[str] | None) -> str | None:
    """What the best candidate reaches without training, by the names of the classes; None if none can do that."""
    known = [(row.zero_shot_accuracy, i) for i, row in enumerate(ranking.rows) if row.zero_shot_accuracy is not None]
    if not known:
        return None
    accuracy, best = max(known, key=lambda pair: (pair[0], -pair[1]))
    called = name_of(ranking.rows[best]) if names is None else names[best]
    advice = "If that is enough, you may not need to fine-tune." if accuracy >= WORTH_IT else ""
    said = f"{called} classifies {accuracy:.1%} of the rows right by the names of the classes, untrained."
    return f"{said} {advice}".strip()


def remarks_of(ranking: Ranking, parts: Sequence[str] = REMARKS) -> list[str]:
    """What the user must know of the rows that were read, and of what was decided for the user: candidates, and
    the recipe of fine-tuning.

    Args:
        ranking: what is shown.
        parts: the parts of the provenance that hold remarks.
    """
    dataset = record_of(ranking, "dataset")
    unlabelled = dataset.get("rows") and dataset.get("rows") == dataset.get("unlabelled_rows")
    found = [UNLABELLED] if unlabelled and "dataset" in parts else []
    for part in parts:
        remarks = record_of(ranking, part).get("remarks", [])
        found += [printable(each) for each in remarks if isinstance(each, str)] if isinstance(remarks, list) else []
    return found


def verification_text(found: Agreement, measure: Measure = ACCURACY) -> str:
    """Whether the model with the highest score was also the best after fine-tuning, in one sentence."""
    if found.top1_regret <= 0:
        return "The top-ranked model was also the best after fine-tuning."
    least = 0.001
    lost = measure.difference(max(found.top1_regret, least))
    lost = f"less than {lost}" if found.top1_regret < least else lost
    if measure == ACCURACY:
        return f"The model with the highest score was {lost} less accurate than the best after fine-tuning."
    return f"After fine-tuning, the {measure.title} of the model with the highest score was {lost} below the best."


def describe_budget(record: Mapping[str, Any]) -> list[str]:
    """What a budget paid for, from the provenance of a ranking: what was used, and one line for each stage."""
    lines = []
    for stage in record["stages"]:
        rows = f" on {stage['rows']} rows" if stage.get("rows") else ""
        took = duration(stage["seconds"])
        many = counted(stage["candidates"], "candidate")
        lines.append(f"{stage['stage']}{rows}: {many}, {took}; {stage['decision']}")
    used = f"{duration(record['spent']['seconds'])} and {record['spent']['passes']:,} forward passes"
    return [f"Budget of {record['asked']}: used {used}.", *lines]
