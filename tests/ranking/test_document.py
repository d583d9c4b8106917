"""A saved ranking is read back, old or new; a damaged one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row


def test_arrays_and_sets_in_metadata_are_saved_as_lists(tmp_path: Path) -> None:
    metadata = {"mean": np.array([0.5, np.nan]), "sizes": np.arange(4).reshape(2, 2), "tags": {"b", "a"}, "n": {10, 9}}
    path = tmp_path / "board.json"
    metadata |= {"one": np.float32(0.5), "long": np.longdouble(1)}
    ms.Leaderboard((Row(ms.Candidate("shelf", "tiny", metadata=metadata)),)).save(path)
    loaded = dict(ms.Leaderboard.load(path).rows[0].candidate.metadata)
    lists = {"mean": [0.5, None], "sizes": [[0, 1], [2, 3]], "tags": ["a", "b"], "n": [9, 10]}
    assert loaded == lists | {"one": 0.5, "long": "1.0"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "cannot read"),
        ("[1, 2]", "not a leaderboard"),
        (json.dumps({"format": "modelselect leaderboard", "version": 99}), "version 99"),
        (json.dumps({"format": "modelselect leaderboard", "version": 1, "rows": [{}]}), "damaged"),
    ],
)
def test_a_file_that_is_no_leaderboard_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "board.json"
    path.write_text(content)
    with pytest.raises(ms.errors.InvalidInputError, match=words):
        ms.Leaderboard.load(path)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("provenance", ["budget"]),
        ("provenance", {"budget": {"asked": "20m"}}),
        ("provenance", {"budget": {"asked": "20m", "stages": [{}], "spent": {"seconds": 1.0, "passes": 1}}}),
        ("row", {"verified_interval": [0.1]}),
    ],
)
def test_what_could_not_be_shown_is_refused_when_it_is_read(
    board: ms.Leaderboard, tmp_path: Path, part: str, value: object
) -> None:
    document = json.loads(board.to_json())
    if part == "row":
        document["rows"][0].update(value)
    else:
        document[part] = value
    (tmp_path / "board.json").write_text(json.dumps(document))
    with pytest.raises(ms.errors.InvalidInputError, match="damaged"):
        ms.Leaderboard.load(tmp_path / "board.json")


def test_a_board_reads_alike_before_and_after_columns_were_added(board: ms.Leaderboard, tmp_path: Path) -> None:
    document = json.loads(board.to_json())
    for row in document["rows"]:
        row["added_later"] = 1
        for name in ("latency_ms", "license", "download_bytes", "probe_rows", "stopped", "fine_tuned", "fine_tuned_in"):
            assert row.pop(name) is None  # as before these were columns
    (tmp_path / "board.json").write_text(json.dumps(document))
    assert ms.Leaderboard.load(tmp_path / "board.json") == board
