"""A history comes back whole from its Parquet files, and damaged files are refused."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.history import Added, History, parquet
from tests.history.conftest import content, full_history


def test_what_is_exported_comes_back_whole(tmp_path: Path) -> None:
    history = full_history(tmp_path / "a.sqlite")
    folder = history.export(tmp_path / "parquet")
    copy = History(tmp_path / "b.sqlite")
    assert copy.load(folder) == Added(new=5)
    assert content(copy) == content(history)
    assert copy.digest == history.digest
    assert copy.load(folder) == Added(known=5)


@pytest.mark.parametrize("name", ["README.md", "results.parquet", "candidates.parquet"])
def test_an_export_replaces_no_file_that_no_export_has_written(tmp_path: Path, name: str) -> None:
    history = full_history(tmp_path / "a.sqlite")
    (tmp_path / name).write_text("mine")
    with pytest.raises(ms.errors.InvalidInputError, match="Give another folder"):
        history.export(tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    assert history.export(history.export(tmp_path)) == tmp_path


def test_an_exported_file_that_is_damaged_or_forged_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    folder = full_history(tmp_path / "a.sqlite").export(tmp_path / "parquet")
    frame = pd.read_parquet(folder / "results.parquet")
    frame.assign(value=[0.1, 0.2, float("nan"), 7.0, 0.3], id="forged").to_parquet(folder / "results.parquet")
    copy = History(tmp_path / "b.sqlite")
    added = copy.load(folder)
    assert (added.new, sum(added.rejected.values())) == (3, 2)
    assert all(result.id != "forged" for result in copy.results())
    frame.drop(columns="metric").to_parquet(folder / "results.parquet")
    with pytest.raises(ms.errors.InvalidInputError, match="lacks metric"):
        copy.load(folder)
    (folder / "results.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ms.errors.InvalidInputError, match="no Parquet file"):
        copy.load(folder)
    with pytest.raises(ms.errors.InvalidInputError, match="holds no results"):
        copy.load(tmp_path)


def test_a_text_that_is_not_in_utf_8_is_damage_of_the_file(tmp_path: Path) -> None:
    import pandas as pd

    folder = full_history(tmp_path / "a.sqlite").export(tmp_path / "parquet")
    frame = pd.read_parquet(folder / "results.parquet").assign(candidate="timm:" + "a" * 40)
    frame.to_parquet(folder / "results.parquet", compression=None)
    content = (folder / "results.parquet").read_bytes()
    (folder / "results.parquet").write_bytes(content.replace(b"aaaa", b"aa\xe3a"))
    with pytest.raises(ms.errors.InvalidInputError, match="no Parquet file"):
        History(tmp_path / "b.sqlite").load(folder)


def test_a_file_of_more_rows_than_fit_into_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    folder = full_history(tmp_path / "a.sqlite").export(tmp_path / "parquet")
    frame = pd.read_parquet(folder / "results.parquet")
    pd.concat([frame.iloc[:1]] * 20_000).to_parquet(folder / "results.parquet")
    assert (folder / "results.parquet").stat().st_size < 50_000
    monkeypatch.setattr(parquet, "available_memory", lambda: 1_000_000)
    with pytest.raises(ms.errors.InvalidInputError, match=r"^results\.parquet has 20,000 rows, .* and 1 MB are free"):
        History(tmp_path / "b.sqlite").load(folder)


def test_an_exported_file_with_foreign_metadata_is_read_and_one_of_another_kind_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = full_history(tmp_path / "a.sqlite").export(tmp_path / "parquet")
    path = folder / "results.parquet"
    table = pq.read_table(path)
    for number, metadata in enumerate([b"no JSON", b'{"index_columns": ["nowhere"], "columns": 5}', b"[]"]):
        pq.write_table(table.replace_schema_metadata({b"pandas": metadata}), path)
        with contextlib.suppress(ms.errors.InvalidInputError):
            assert History(tmp_path / f"{number}.sqlite").load(folder).new == 5
    twice = table.append_column("value", table.column("value"))
    for changed in (twice, table.drop_columns(["value"])):
        pq.write_table(changed, path)
        with pytest.raises(ms.errors.InvalidInputError, match="value"):
            History(tmp_path / "b.sqlite").load(folder)
    maps = pa.array([[(1, 2)]] * len(table), pa.map_(pa.int32(), pa.int32()))
    odd = table.set_column(table.column_names.index("candidate"), "candidate", maps)
    pq.write_table(odd, path)
    assert History(tmp_path / "c.sqlite").load(folder).new == 0


@pytest.mark.parametrize("name", ["results", "candidates", "proxies"])
def test_a_pipe_among_exported_files_is_refused_at_once(tmp_path: Path, name: str) -> None:
    folder = full_history(tmp_path / "a.sqlite").export(tmp_path / "parquet")
    (folder / f"{name}.parquet").unlink()
    os.mkfifo(folder / f"{name}.parquet")
    with pytest.raises(ms.errors.ModelSelectError):
        History(tmp_path / "b.sqlite").load(folder)
