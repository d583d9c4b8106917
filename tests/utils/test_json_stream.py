"""Large JSON files, read entry by entry: what the standard library reads of the whole file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelselect.utils import json_stream
from modelselect.utils.json_stream import fault_of_rows, read_lists

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def read(path: Path) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {"a": [], "b": []}
    found = read_lists(path, {name: entries.append for name, entries in lists.items()})
    return {name: lists[name] for name in found}


@settings(max_examples=150)
@given(
    content=st.dictionaries(st.sampled_from(["a", "b", "c", "dd"]), st.lists(VALUES, max_size=5) | VALUES, max_size=4),
    chunk=st.integers(1, 30),
    indent=st.sampled_from([None, 1]),
)
def test_entries_are_those_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], chunk: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        assert read(path) == {name: each for name, each in content.items() if name in "ab" and isinstance(each, list)}


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{", '{"a"', '{"a":', '{"a": [', '{"a": [1', '{"a": [1 2]}', '{"a": [1]', '{"a": [1]}}',
     '{"a": [1]} x', '{"a": [1], 3: 4}', '{"a": [nul]}', '{"a": ["\\ud8]}', '{"a": [' + "9" * 5000 + "]}",
     '{"a": 1 "b": 2}', '{"c": [1, }'],
)  # fmt: skip
def test_a_damaged_file_is_a_value_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read(path)
    path.write_bytes(text.encode() + b"\xff")
    with pytest.raises(ValueError, match=r"."):
        read(path)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) + max(map(depth, inner), default=0)


@settings(max_examples=200)
@given(value=VALUES | st.lists(st.text('[]{}"\\x\n'), max_size=5), chunk=st.integers(1, 40), most=st.integers(0, 5))
def test_the_levels_of_json_are_counted_without_its_texts(value: Any, chunk: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        patch.setattr(json_stream, "MOST_LEVELS", most)
        lines = "\n".join([json.dumps({"a": value}), json.dumps({"b": value}, indent=1, ensure_ascii=False)])
        found = fault_of_rows(io.BytesIO(lines.encode("utf-8", "surrogatepass")))
        assert (found is not None) == (depth([value]) > most)
        rows = [{"a": value}, value, 3]
        found = fault_of_rows(io.BytesIO(json.dumps(rows).encode()))
        assert (found is not None) == (value is None or depth([[value]]) > most)


@pytest.mark.parametrize("line", ['"', "]]]]]]", '"]]]]]]"', '"\\"]]]]"', "\\"])
def test_a_broken_line_hides_no_levels_of_others(line: str) -> None:
    for levels, opened in ((501, "["), (501, '["]",'), (499, '["]",')):
        found = fault_of_rows(io.BytesIO(f"{line}\n{levels * opened}".encode()))
        assert (found is not None) == (levels > 500)


@pytest.mark.parametrize(
    ("text", "is_fault"),
    [
        ('null', True), ('{"a": 1}\n null', True), ('[{"a": null}]', False), ('[null, {"a": 1}]', True),
        ('[\n{"a": [null]},\nnull]', True), ('{"n": null, "b": "null"}\n{"a": [null, 1]}', False), ('"null"', False),
        ('\n\n[{"a": 1}, {"a": null}, {"a": "]]null"}]', False), ("", False),
    ],
)  # fmt: skip
def test_null_in_the_place_of_a_row_is_a_fault(text: str, is_fault: bool) -> None:
    assert (fault_of_rows(io.BytesIO(text.encode())) is not None) == is_fault


def test_an_entry_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MOST_CHARACTERS", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK", 10)
    path = tmp_path / "file.json"
    path.write_text('{"a": [1, "' + 5000 * "x" + '"]}')
    with pytest.raises(ValueError, match="more than 1,000 characters"):
        read(path)
    path.write_text('{"a": [' + 100_000 * "[")
    with pytest.raises((ValueError, RecursionError)):
        read(path)
