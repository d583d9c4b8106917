"""The JSON of a ranking is written in pieces, with the bytes of the standard library."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.document import FORMAT, FORMAT_VERSION, json_pieces, row_to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=100)
@given(rows=st.lists(VALUES, max_size=4), others=st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_the_pieces_are_what_the_standard_library_writes(rows: list[Any], others: dict[str, Any]) -> None:
    content = {"a": 1, **others, "rows": rows, "b": {"c": []}}
    document = {"format": FORMAT, "version": FORMAT_VERSION, **content}
    expected = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    assert "".join(json_pieces(content | {"rows": iter(rows)}, "rows")) == expected


def test_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        "".join(json_pieces({"rows": [float("nan")]}, "rows"))


def test_a_board_of_many_rows_is_written_in_little_memory() -> None:
    """The standard library keeps a text of some 50 bytes for each value until the end."""
    metadata = {f"key {number}": number / 7 for number in range(40)}
    rows = tuple(Row(ms.Candidate("timm", f"net{number}", metadata=metadata)) for number in range(1000))
    board = ms.Leaderboard(rows, ())
    size = len(board.to_json())
    tracemalloc.start()
    try:
        board.to_json()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        json.dumps([row_to_json(row) for row in rows], indent=1)
        before = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * size < before / 2
