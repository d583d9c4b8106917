"""What a report says of a leaderboard, as plain data: the answer in a sentence, costs, ranks, the map, what to cite."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.budget import duration
from modelselect.cost import license_of
from modelselect.errors import InvalidInputError
from modelselect.probe.splits import TRAIN, kind_of_split

if TYPE_CHECKING:
    from modelselect.leaderboard import Leaderboard, Row

LONGEST_LIST = 12
"""Items of a list in the provenance that are shown; the rest is counted."""

SURE = 0.95
"""From this confidence on the first place is called decided."""


COST_LABELS = {
    "parameters": "parameters",
    "macs": "multiply-accumulates for one input",
    "feature_dim": "width of the features",
    "latency_ms": "milliseconds for one row",
    "memory_bytes": "bytes of memory",
    "download_bytes": "bytes to download",
    "seconds": "seconds to extract and score",
}
"""What the costs of a row are called on a chart."""


@dataclass(frozen=True)
class Cost:
    """Something that a candidate costs: `values` has one number for each row, None where it is not known."""

    key: str
    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Map:
    """The candidates in a plane where architectures that work alike lie near each other.

    Attributes:
        rows: index of the leaderboard's row that each of the points is.
        points: (n, 2) where they are.
        background: (m, 2) other architectures of the atlas; empty where there is no atlas.
        background_names: of these.
    """

    rows: tuple[int, ...]
    points: NDArray[np.float64]
    background: NDArray[np.float64]
    background_names: tuple[str, ...] = ()


def names(board: Leaderboard) -> list[str]:
    """What each row is called on the page: as short as tells it apart.

    >>> import modelselect as ms
    >>> from modelselect.leaderboard import Row
    >>> ids = [("directory", "models/a"), ("directory", "models/b"), ("timm", "b")]
    >>> names(ms.Leaderboard(tuple(Row(ms.Candidate(zoo, name)) for zoo, name in ids)))
    ['a', 'directory:models/b', 'timm:b']
    """
    candidates = [row.candidate for row in board.rows]
    forms = [
        [c.name.rstrip("/").rsplit("/", 1)[-1] for c in candidates],
        [c.unversioned_id for c in candidates],
        [c.id for c in candidates],
    ]
    return [
        next((form[i] for form in forms if form[i] and form.count(form[i]) == 1), candidates[i].id)
        for i in range(len(candidates))
    ]


def ranked_by(board: Leaderboard) -> tuple[str, ...]:
    """The estimators that the score is made of; all of the board's where it does not say."""
    given = board.provenance.get("ranked_by")
    named = tuple(name for name in given if name in board.estimators) if isinstance(given, list | tuple) else ()
    return named or board.estimators


def dataset_name(board: Leaderboard) -> str:
    """What the dataset is called; `the dataset` where it was given as arrays and has no name."""
    about = board.provenance.get("dataset")
    about = about if isinstance(about, Mapping) else {}
    name, source = about.get("name"), about.get("source")
    path = source.get("path") if isinstance(source, Mapping) else None
    if isinstance(path, str) and kind_of_split(str(name)) == TRAIN and len(parts := PurePath(path).parts) > 1:
        return parts[-2]  # a folder called "train" says nothing
    return str(name) if name and name != "dataset" else "the dataset"


def answer(board: Leaderboard) -> list[str]:
    """The answer: which candidate, on what grounds, and how sure that is; one sentence each."""
    if not board.ranked:
        return [f"Not one of {len(board.rows)} candidates could be ranked; the table says why."]
    called, best = names(board), board.best
    verified = [row for row in board.ranked if row.verified_accuracy is not None]
    methods = ranked_by(board)
    by = f"by {methods[0]}" if len(methods) == 1 else f"by the mean rank of {len(methods)} estimators"
    many = f"{len(board.ranked)} candidates" if len(board.ranked) > 1 else "the only candidate that could be ranked"
    if best.verified_accuracy is not None:
        low, high = best.verified_interval or (None, None)
        interval = "" if low is None or high is None else f" (95% interval {low:.1%} to {high:.1%})"
        told = [
            f"Fine-tune {called[0]}: it reached an accuracy of {best.verified_accuracy:.1%}{interval} on held-out rows "
            f"of {dataset_name(board)}, the best of {len(verified)} fine-tuned out of {many}."
        ]
    else:
        told = [f"Fine-tune {called[0]}: it ranks first of {many} for {dataset_name(board)}, {by}."]
    return [*told, *_doubts(board, called, verified)]


_TRAINED = {"head": "the linear head alone", "lora": "low-rank adapters and the head alone"}
"""By what `verify=` calls it; full fine-tuning goes without saying."""


def _method(board: Leaderboard) -> str:
    settings = board.provenance.get("settings")
    recipe = settings.get("fine_tuning") if isinstance(settings, Mapping) else None
    return str(recipe.get("method")) if isinstance(recipe, Mapping) else "full"


def _classes(board: Leaderboard) -> int:
    about = board.provenance.get("dataset")
    names = about.get("classes") if isinstance(about, Mapping) else None
    return len(names) if isinstance(names, list | tuple) else 0


def _doubts(board: Leaderboard, called: Sequence[str], verified: Sequence[Row]) -> list[str]:
    told = []
    equals = [called[i] for i, row in enumerate(board.rows) if row.rank == 1][1:]
    if equals:
        told.append(f"It shares the first place with {listed(equals)}.")
    if verified:
        lowest = (verified[0].verified_interval or (1.0, 1.0))[0]
        if (trained := _TRAINED.get(_method(board))) is not None:
            told.append(f"Trained was {trained}.")
        if (classes := _classes(board)) and lowest <= 1 / classes:
            told.append(f"That may be no better than guessing among {classes} classes: {1 / classes:.0%} in the mean.")
        overlapping = [
            called[board.rows.index(row)]
            for row in verified[1:]
            if row.verified_interval is not None and row.verified_interval[1] >= lowest
        ]
        if overlapping:
            told.append(f"The intervals of {listed(overlapping)} overlap with its own, so that they may be as good.")
    if board.confidence is not None:
        first, second = sorted(board.ranked, key=lambda row: row.predicted_rank or len(board.rows))[:2]
        verdict = "the first place by score is decided" if board.confidence >= SURE else "the order is still open"
        told.append(
            f"On another sample of this size {called[board.rows.index(first)]} would score above "
            f"{called[board.rows.index(second)]} with a probability of {chance(board.confidence)}: {verdict}."
        )
    elif not verified and len(board.ranked) > 1:
        told.append("How sure this is was not measured: resamples=50 tells, and top_k=3 fine-tunes the first three.")
    return told


def loading_code(row: Row) -> str | None:
    """Python that loads a row's pre-trained candidate; None for a module that was given to `select()` itself."""
    from modelselect.modules import ModuleZoo

    if row.candidate.zoo == ModuleZoo.name:
        return None
    trust = "trust_remote_code=True" if row.candidate.metadata.get("remote_code") else ""
    if row.fine_tuned is not None:
        return (
            "import modelselect as ms\n\n"
            'board = ms.Leaderboard.load("board.json")  # written by --json, or board.save()\n'
            f"model = board.best.load({trust}).module  # a torch.nn.Module, fine-tuned: gives logits\n"
            f'board.best.save("fine-tuned"{trust and ", "}{trust})  # a folder for timm, transformers or dir:'
        )
    return (
        "import modelselect as ms\n"
        "from modelselect.leaderboard import Row\n\n"
        f"[candidate] = ms.search({row.candidate.id!r})\n"
        f"model = Row(candidate).load({trust}).module  # a torch.nn.Module, pre-trained"
    )


def costs(board: Leaderboard) -> list[Cost]:
    """Of what a candidate costs, that which is known of two ranked rows or more."""
    from modelselect.leaderboard import COSTS

    found = [Cost(key, COST_LABELS[key], tuple(cost_of(row, key) for row in board.rows)) for key in COSTS]
    ranked = [row.rank is not None for row in board.rows]
    return [c for c in found if sum(v is not None and r for v, r in zip(c.values, ranked, strict=True)) > 1]


def cost_of(row: Row, key: str) -> float | None:
    """One of a row's costs; None where it is not known or not above 0."""
    from modelselect.cost import download_bytes_of

    value = getattr(row, key)
    if value is None and key == "download_bytes":
        value = download_bytes_of(row.candidate)
    return value if value else None


def facts(board: Leaderboard) -> list[tuple[str, str]]:
    """What to know of the winner at a glance: how good, how sure, how large, how fast, under which licence."""
    if not board.ranked:
        return []
    best, told = board.best, []
    if best.verified_accuracy is not None:
        told.append(("accuracy, fine-tuned", f"{best.verified_accuracy:.1%}"))
    if best.probability_best is not None:
        told.append(("scores best on another sample", chance(best.probability_best)))
    told += [(name, show(value)) for name, key, show in _FACTS if (value := cost_of(best, key)) is not None]
    if licence := best.license or license_of(best.candidate):
        told.append(("licence", licence))
    return told


def cheaper(board: Leaderboard) -> str | None:
    """The best of those with fewer parameters, in a sentence; None where the winner is the smallest itself."""
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
        f"Smaller: {names(board)[smaller[0]]} has {share:.0%} of its parameters ({short(row.parameters or 0)}), ranks "
        f"{row.rank} of {len(board.ranked)}{reached}."
    )


def left_out(board: Leaderboard) -> dict[str, list[tuple[str, str]]]:
    """Candidates that were not ranked, or not shown all of the probe, with the reason: by what became of them."""
    from modelselect.leaderboard import LIMIT

    called = names(board)
    groups: dict[str, list[tuple[str, str]]] = {"without a rank": [], "excluded by a limit": [], "stopped early": []}
    for name, row in zip(called, board.rows, strict=True):
        if row.rank is None:
            limited = row.failure is not None and row.failure.stage == LIMIT
            reason = row.status if row.failure is None else row.failure.reason
            groups["excluded by a limit" if limited else "without a rank"].append((name, reason))
        elif row.stopped:
            groups["stopped early"].append((name, row.stopped))
    return {group: rows for group, rows in groups.items() if rows}


Table = tuple[list[str], list[list[str]]]
"""Columns' names, and the rows' cells."""


def budget(board: Leaderboard) -> tuple[list[tuple[str, str]], dict[str, Table]]:
    """The account of the budget: what is said of the whole, and tables of its stages, done and planned, by name.

    Both empty where there was no budget.
    """
    account = board.provenance.get("budget")
    if not isinstance(account, Mapping):
        return [], {}
    tables = {key: value for key, value in account.items() if _is_table(value)}
    whole = {key: value for key, value in account.items() if key not in tables and value is not None}
    drawn = {}
    for key in sorted(tables, key=lambda key: key != "stages"):  # what was done, before what was planned
        columns = list(dict.fromkeys(name for stage in tables[key] for name in stage))
        cells = [[_amount(str(c), stage[c]) if c in stage else "" for c in columns] for stage in tables[key]]
        drawn[str(key)] = ([str(column) for column in columns], cells)
    return [(name, _amount(name, value)) for name, value in _spread(whole)], drawn


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(line, Mapping) for line in value)


def _amount(name: str, value: Any) -> str:
    """A quantity of the budget's account; its last word says what it counts."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and name.endswith("seconds"):
        return duration(value)
    if number and 0 <= value <= 1 and isinstance(value, float):
        return f"{value:.0%}"
    return f"{value:,}" if isinstance(value, int) and number else _readable(value)


def estimator_ranks(board: Leaderboard) -> dict[str, list[int | None]]:
    """By estimator, the rank that it alone gives each row: 1 is best, equals share a rank; only those with scores."""
    ranks: dict[str, list[int | None]] = {}
    for name in board.estimators:
        scores = [row.scores.get(name) for row in board.rows]
        there = [score for score in scores if score is not None]
        if there:
            ranks[name] = [None if score is None else 1 + sum(other > score for other in there) for score in scores]
    return ranks


def family(row: Row) -> str:
    """The architecture's family as its zoo calls it, else its cluster on this board, else nothing."""
    known = row.candidate.metadata.get("family") or row.candidate.metadata.get("architecture")
    if known:
        return str(known)
    return "" if row.cluster is None else f"cluster {row.cluster}"


def architecture_map(board: Leaderboard, atlas: str | os.PathLike[str] | None = None) -> Map | None:
    """Where the candidates lie: in the atlas if it has three of them, else by the vectors on the board itself.

    Args:
        board: whose candidates.
        atlas: its file; None for the user's own, where there is one.

    Returns:
        None where fewer than three candidates have a place.

    Raises:
        InvalidInputError: an atlas was named and cannot be read.
    """
    from modelselect.archi2vec.atlas import Atlas, default_path

    path = default_path() if atlas is None else atlas
    try:
        whole = Atlas.load(path) if atlas is not None or default_path().exists() else None
    except InvalidInputError:
        if atlas is not None:
            raise
        whole = None  # one that lies there by chance is no reason to have no report
    if whole is not None:
        places = {name: index for index, name in enumerate(whole.names)}
        rows = [i for i, row in enumerate(board.rows) if row.candidate.unversioned_id in places]
        if len(rows) >= 3:
            flat = whole.plane()
            own = [places[board.rows[i].candidate.unversioned_id] for i in rows]
            others = np.setdiff1d(np.arange(len(whole)), own)
            return Map(tuple(rows), flat[own], flat[others], tuple(whole.names[i] for i in others))
    rows = [i for i, row in enumerate(board.rows) if row.embedding is not None]
    if len(rows) < 3:
        return None
    vectors = np.array([board.rows[i].embedding for i in rows], dtype=np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    left, singular, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return Map(tuple(rows), (left * singular)[:, :2], np.empty((0, 2)))


def citations(board: Leaderboard) -> dict[str, str]:
    """By estimator on the board, in its order, the work to cite; empty where its plugin gives none."""
    about = board.provenance.get("estimators")
    about = about if isinstance(about, Mapping) else {}
    told = {name: about.get(name) for name in board.estimators}
    return {name: str((isinstance(known, Mapping) and known.get("citation")) or "") for name, known in told.items()}


def provenance(board: Leaderboard) -> dict[str, list[tuple[str, str]]]:
    """Where the board comes from: sections of (name, text) that can be read."""
    sections: dict[str, list[tuple[str, str]]] = {"run": []}
    for key, value in board.provenance.items():
        if key in ("estimators", "budget"):  # a section has its own
            continue
        if isinstance(value, Mapping):
            sections[key] = list(_flat(value))
        else:
            sections["run"].append((key, _readable(value)))
    parameters = board.provenance.get("estimators")
    if isinstance(parameters, Mapping):
        sections["estimators"] = [
            (str(name), ", ".join(f"{k}={v!r}" for k, v in known.get("parameters", {}).items()) or "no parameters")
            for name, known in parameters.items()
            if isinstance(known, Mapping)
        ]
    return {name: lines for name, lines in sections.items() if lines}


def chance(probability: float) -> str:
    """A probability that was estimated, in words that claim no more than that.

    >>> chance(0.876), chance(0.998), chance(0.001)
    ('88%', 'more than 99%', 'less than 1%')
    """
    return "more than 99%" if probability > 0.99 else "less than 1%" if probability < 0.01 else f"{probability:.0%}"


def short(value: float) -> str:
    """`1234567` -> `1.23M`.

    >>> short(1234567), short(12.5), short(0.25)
    ('1.23M', '12.5', '0.25')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def in_bytes(value: float) -> str:
    """`1234567` -> `1.23 MB`."""
    text = short(value)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def listed(items: Sequence[str], most: int = 3) -> str:
    """`a, b and 4 more`, in words.

    >>> listed(["a", "b", "c"]), listed(list("abcdef"), 2)
    ('a, b and c', 'a, b and 4 more')
    """
    shown = list(items) if len(items) <= most else [*items[:most], f"{len(items) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _flat(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _readable(inner)) for name, inner in _spread(value)]


def _spread(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values, those of small mappings within each by itself."""
    lines: list[tuple[str, Any]] = []
    for key, inner in value.items():
        if isinstance(inner, Mapping) and 0 < len(inner) <= LONGEST_LIST:
            lines += _spread(inner, f"{prefix}{key} › ")
        else:
            lines.append((f"{prefix}{key}", inner))
    return lines


def _readable(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return _readable([f"{key}: {inner}" for key, inner in value.items()])
    if isinstance(value, list | tuple):
        more = f" and {len(value) - LONGEST_LIST} more" if len(value) > LONGEST_LIST else ""
        return (", ".join(map(str, value[:LONGEST_LIST])) + more) or "none"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


_FACTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("parameters", "parameters", short),
    ("multiply-accumulates", "macs", short),
    ("latency", "latency_ms", lambda value: f"{value:.3g} ms"),
    ("memory", "memory_bytes", in_bytes),
    ("download", "download_bytes", in_bytes),
)
