"""Short names of candidates, estimators and datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from modelselect.candidates.candidate import Candidate
from modelselect.probe.splits import TRAIN, kind_of_split
from modelselect.ranking.ranking import Ranking, record_of


def display_names(board: Ranking) -> list[str]:
    """The name of each row in a table or report: the shortest form that no other row has.

    A form is the last part of the path, the last two parts, and so on, then the id.

    >>> import modelselect as ms
    >>> from modelselect.leaderboard import Row
    >>> ids = [("directory", "models/a"), ("directory", "models/b"), ("timm", "b")]
    >>> display_names(ms.Leaderboard(tuple(Row(ms.Candidate(zoo, name)) for zoo, name in ids)))
    ['a', 'models/b', 'timm:b']
    """
    return short_names([row.candidate for row in board.rows])


def short_names(candidates: Sequence[Candidate]) -> list[str]:
    """The name of each candidate: the shortest end of its path that no other one has, else its id."""
    paths = [c.name.rstrip("/").split("/") for c in candidates]
    longest = max(map(len, paths), default=0)
    forms = [["/".join(path[-k:]) if len(path) >= k else "" for path in paths] for k in range(1, longest + 1)]
    forms += [[c.unversioned_id for c in candidates], [c.id for c in candidates]]
    counts = [Counter(form) for form in forms]
    return [
        next((form[i] for form, count in zip(forms, counts, strict=True) if form[i] and count[form[i]] == 1), c.id)
        for i, c in enumerate(candidates)
    ]


def ranked_by(board: Ranking) -> tuple[str, ...]:
    """The estimators that make up the score; all estimators of the board if its provenance does not name them."""
    given = board.provenance.get("ranked_by")
    named = tuple(name for name in given if name in board.estimators) if isinstance(given, list | tuple) else ()
    return named or board.estimators


def dataset_name(board: Ranking) -> str:
    """The dataset's name; `the dataset` if it was given as arrays without a name."""
    about = record_of(board, "dataset")
    name, source = about.get("name"), about.get("source")
    path = source.get("path") if isinstance(source, Mapping) else None
    if isinstance(path, str) and kind_of_split(str(name)) == TRAIN and len(parts := PurePath(path).parts) > 1:
        return parts[-2]  # a folder called "train" says nothing
    return str(name) if name and name != "dataset" else "the dataset"
