"""Whatever a file of annotations, queries or words says: a result, or one of our errors of bounded length."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import ModelSelectError
from modelselect.probe import paths
from modelselect.probe.images import content_of
from tests.documents import REMOVED, changed
from tests.documents import paths as every_path

LONGEST_MESSAGE = 3000
VALUES = (
    None, True, -1, 2**63, 10**300, float("nan"), float("inf"), "", "\x1b]52;c;AAAA\x07", "\u202egnp", "\ud800", "a\0b",
    "../../secret.png", "/etc/passwd", 5000 * "9", [], {}, [None], [float("nan")] * 4, [1e308] * 4, {"a": 1}, REMOVED,
)  # fmt: skip
"""What a program never writes, and a damaged or hostile file may hold."""


def images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def lines(rows: Any) -> bytes:
    return b"\n".join(map(encoded, rows)) if isinstance(rows, list) else encoded(rows)


def coco(folder: Path) -> tuple[Path, Any, Callable[[Any], bytes]]:
    images(folder / "images")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 40} for n in range(3)],
        "annotations": [
            {"image_id": n // 2, "category_id": n % 2, "bbox": [3, 4, 10, 12], "iscrowd": int(n == 4)} for n in range(5)
        ],
        "categories": [{"id": 0, "name": "cup"}, {"id": 1, "name": "plate"}],
    }
    return folder / "annotations.json", content, encoded


def queries(folder: Path) -> tuple[Path, Any, Callable[[Any], bytes]]:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(lines([{"_id": f"d{n}", "text": f"text {n}"} for n in range(3)]))
    (folder / "qrels/train.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(3)))
    return folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(3)], lines


def documents(folder: Path) -> tuple[Path, Any, Callable[[Any], bytes]]:
    path, rows, _ = queries(folder)
    path.write_bytes(lines(rows))
    return folder / "corpus.jsonl", [{"_id": f"d{n}", "title": "t", "text": f"text {n}"} for n in range(3)], lines


def described(rows: Any) -> bytes:
    """Numbers and texts of an annotation, as XML has them."""

    def text(value: Any, name: str) -> str:
        if isinstance(value, dict):
            return f"<{name}>{''.join(text(each, str(key)) for key, each in value.items())}</{name}>"
        if isinstance(value, list):
            return "".join(text(each, name) for each in value)
        return f"<{name}>{value}</{name}>"

    return text(rows, "annotation").encode("utf-8", "surrogatepass")


def voc(folder: Path) -> tuple[Path, Any, Callable[[Any], bytes]]:
    images(folder / "images")
    (folder / "annotations").mkdir()
    box = {"xmin": 3, "ymin": 4, "xmax": 20, "ymax": 22}
    objects = [{"name": name, "difficult": 0, "bndbox": box} for name in ("cup", "jug")]
    content = {"filename": "1.png", "size": {"width": 40, "height": 40}, "object": objects}
    for number in range(3):
        (folder / f"annotations/{number}.xml").write_bytes(described(content))
    return folder / "annotations/1.xml", content, described


FORMS = {"coco": coco, "voc": voc, "queries": queries, "documents": documents}


@pytest.mark.parametrize("form", FORMS)
def test_every_value_at_every_place_is_read_or_refused(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "secret.png")
    folder = tmp_path / "data" / "set"
    path, content, written = FORMS[form](folder)
    path.write_bytes(written(content))
    ms.Probe.of(folder)
    read: list[str] = []
    messages: list[str] = []
    monkeypatch.setattr(paths, "content_of", lambda path: read.append(os.path.realpath(path)) or content_of(path))
    for place in ((), *every_path(content, items=2)):
        for value in VALUES:
            if not place and value is REMOVED:
                continue
            path.write_bytes(written(changed(content, place, value)))
            try:
                probe = ms.Probe.of(folder if path.parent != folder or place else path, size=20, max_corrupt=1.0)
                list(map(probe.row_name, range(len(probe))))
                json.dumps(probe.provenance)
            except ModelSelectError as error:
                messages.append(str(error))
            except Exception as error:  # said with what was changed
                raise AssertionError(f"{place} = {value!r:.40}") from error
    assert max(map(len, messages)) < LONGEST_MESSAGE
    "".join(messages).encode()  # no halves of surrogate pairs
    assert not [each for each in read if not each.startswith(os.path.realpath(folder))]
