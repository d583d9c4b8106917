"""Texts in memory: pairs of texts as rows, and how many texts are blank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PAIRS_REMARK = "Each row is a pair of texts."


def are_pairs(inputs: Any) -> bool:
    """True for a list of pairs of texts, where a text may be missing.

    >>> are_pairs([("It rains.", "It is wet."), ("It snows.", None)]), are_pairs(["no", "pair"])
    (True, False)
    """
    return (
        isinstance(inputs, (list, tuple))
        and len(inputs) > 0
        and all(pair is None or (isinstance(pair, (list, tuple)) and len(pair) == 2) for pair in inputs)
        and all(text is None or isinstance(text, str) for pair in inputs for text in pair or ())
        and any(isinstance(text, str) for pair in inputs for text in pair or ())
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
