"""The map of architectures lies over the atlas."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.leaderboard.map import architecture_map


def test_the_map_lies_over_the_atlas_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelselect.archi2vec.atlas import Atlas

    found = ms.search("embedded:*")
    board = ms.Leaderboard(tuple(Row(c, rank=i + 1, score=-float(i)) for i, c in enumerate(found[:5])), ("logme",))
    monkeypatch.setenv("MODELSELECT_ATLAS", str(tmp_path / "atlas.safetensors"))
    assert architecture_map(board) is None
    atlas = Atlas()
    atlas.add(found, cache_dir=tmp_path / "cache")
    atlas.save(tmp_path / "atlas.safetensors")
    plane = architecture_map(board)
    assert plane is not None
    assert plane.rows == (0, 1, 2, 3, 4)
    assert set(plane.background_names) == {c.unversioned_id for c in found[5:]}
    (tmp_path / "atlas.safetensors").write_bytes(b"damaged")
    assert architecture_map(board) is None
    with pytest.raises(ms.errors.InvalidInputError, match="not a readable atlas"):
        architecture_map(board, tmp_path / "atlas.safetensors")
