"""Rows that others wrote wrongly are rejected, and spoil nothing."""

from __future__ import annotations

import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelselect.history import History
from tests.history.conftest import GRAPH, full_history


def digest_of(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()


SPOILT: dict[str, tuple[str, dict[str, Any]]] = {
    "settings that are no object": ("results", {"settings": "[1]"}),
    "settings that never end": ("results", {"settings": "[" * 100_000}),
    "a time that is no text": ("results", {"recorded": None}),
    "a fact that is no JSON": ("candidates", {"value": "no JSON"}),
    "a fact that is not there": ("candidates", {"value": None}),
    "a number that is not finite": ("candidates", {"value": "NaN"}),
    "a number that no float can hold": ("candidates", {"value": "1" + "0" * 400}),
    "a fact of the far future": ("datasets", {"value": '"poison"', "recorded": "9999-01-01"}),
    "a graph of another name": ("candidates", {"key": 5}),
    "a graph that is no archive": ("graphs", {"graph": b"no archive"}),
    "a graph that is cut off": ("graphs", {"graph": zlib.compress(GRAPH.encode())[:-5]}),
    "a graph that is no graph": ("graphs", {"graph": zlib.compress(b"[1]")}),
    "a graph without nodes": ("graphs", {"graph": zlib.compress(b'{"nodes":[],"edges":[]}')}),
    "a graph that unpacks to a great deal": ("graphs", {"graph": zlib.compress(b" " * 60_000_000)}),
    "features that are cut off": ("proxies", {"features": b"123"}),
    "features that are not finite": ("proxies", {"features": np.full(4, np.nan, "<f4").tobytes()}),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_others_wrote_wrongly_is_rejected_and_spoils_nothing(what: str, tmp_path: Path) -> None:
    import pandas as pd

    table, changed = SPOILT[what]
    folder = full_history(tmp_path / "theirs.sqlite").export(tmp_path / "parquet")
    file = folder / f"{table}.parquet"
    frame = pd.read_parquet(file)
    # Recorded after ours, so that it would win.
    later = {"recorded": (datetime.now(UTC) + timedelta(hours=1)).isoformat()} if "recorded" in frame else {}
    new = later | changed | ({"id": digest_of(changed["graph"])} if "graph" in changed else {})
    frame.assign(**{column: [value] * len(frame) for column, value in new.items()}).to_parquet(file)

    ours = full_history(tmp_path / "ours.sqlite")
    before = ours.digest
    added = ours.load(folder)
    assert sum(added.rejected.values()) == len(frame)
    assert ours.digest == before
    view = ours.view("hub:clip").about({"timm:model0": {}}, {"classes": 4})
    assert np.isfinite(view.performance()).all()
    assert np.isfinite(view.architectures[0]).all()
    assert np.isfinite(view.sizes[0]).all()
    assert ours.candidates()["timm:model0"]["parameters"] == 3


def test_a_graph_is_found_by_its_content_and_not_by_what_others_call_it(tmp_path: Path) -> None:
    import pandas as pd

    folder = full_history(tmp_path / "theirs.sqlite").export(tmp_path / "parquet")
    forged = '{"nodes":[{"id":0,"operation":"Sigmoid"}],"edges":[]}'
    frame = pd.read_parquet(folder / "graphs.parquet")
    frame.assign(graph=[zlib.compress(forged.encode())]).to_parquet(folder / "graphs.parquet")
    ours = History(tmp_path / "ours.sqlite")
    ours.load(folder)
    assert forged not in ours.graphs().values()
