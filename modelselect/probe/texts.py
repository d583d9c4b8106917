"""Texts in memory: pairs of texts as rows, and how many texts are blank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelselect.probe.images import UnreadableError
from modelselect.probe.labels import Labels
from modelselect.probe.rows import TEXT, Rows


class PairRows(Rows):
    """Pairs of texts in memory; an item is a tuple of two strings. A pair that lacks a text counts as missing.

    Args:
        pairs: each with two strings; None is a missing text.
        labels: one for each pair, or None for no labels.
    """

    source = "arrays"

    def __init__(self, pairs: Sequence[Sequence[str | None]], labels: Any) -> None:
        n_rows = len(pairs)
        super().__init__(TEXT, Labels.none(n_rows) if labels is None else Labels.of(labels, n_rows, where="labels"))
        self._pairs = [(pair[0], pair[1]) for pair in pairs]
        self.remarks = ("Each row is a pair of texts.", *blank_texts(self._pairs))

    def raw(self, row: int) -> Any:
        pair = self._pairs[row]
        if None in pair:
            raise UnreadableError("missing")
        return pair


def are_pairs(inputs: Any) -> bool:
    """True for a list of pairs of texts, where a text may be missing.

    >>> are_pairs([("It rains.", "It is wet."), ("It snows.", None)]), are_pairs(["no", "pair"])
    (True, False)
    """
    return (
        isinstance(inputs, (list, tuple))
        and len(inputs) > 0
        and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in inputs)
        and all(text is None or isinstance(text, str) for pair in inputs for text in pair)
        and any(isinstance(text, str) for pair in inputs for text in pair)
    )


def blank_texts(rows: Iterable[Any]) -> tuple[str, ...]:
    """The remark that says how many texts are blank; none if no text is.

    Args:
        rows: texts or pairs of texts. A pair with one blank text counts, and None does not.

    >>> blank_texts(["a text", "", "  ", None])
    ('2 texts are empty or hold only spaces. They are ranked on like the others.',)
    """
    return blank_remark(
        sum(
            any(isinstance(text, str) and not text.strip() for text in (row if isinstance(row, tuple) else (row,)))
            for row in rows
        )
    )


def blank_remark(count: int) -> tuple[str, ...]:
    """The remark that this many texts are blank."""
    if not count:
        return ()
    are, hold, they = ("text is", "holds", "It is") if count == 1 else ("texts are", "hold", "They are")
    return (f"{count} {are} empty or {hold} only spaces. {they} ranked on like the others.",)
