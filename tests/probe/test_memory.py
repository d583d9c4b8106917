"""Arrays, texts and images in memory are rows."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import noise, pixels


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (8, 6, 4), (1, 8, 6), (3, 8, 6)])
def test_uint8_arrays_are_images_with_channels_last_or_first(shape: tuple[int, ...]) -> None:
    array = noise(0, (4, *shape))
    for inputs in (array, list(array)):
        probe = Probe.of((inputs, [0, 1, 0, 1]))
        assert probe.modality == "image"
        image = array[2].reshape(8, 6) if 1 in shape or len(shape) == 2 else array[2]
        image = np.moveaxis(image, 0, -1) if shape == (3, 8, 6) else image
        image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
        assert np.array_equal(pixels(probe, 2), image)


def test_floats_are_arrays_and_strings_are_text_and_both_come_back_as_they_were() -> None:
    inputs = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    arrays = Probe.of((inputs, [0, 1, 0, 1]))
    assert arrays.modality == "array"
    assert np.array_equal(arrays.item(3), inputs[3])
    arrays.item(3)[:] = 0  # a copy: what a preprocessing does to it stays there
    assert np.array_equal(arrays.item(3), inputs[3])
    for texts in (["a", "bc", "ä", ""], np.array(["a", "bc", "ä", ""])):
        text = Probe.of((texts, [0, 1, 0, 1]))
        assert text.modality == "text"
        assert [text.item(i) for i in range(4)] == ["a", "bc", "ä", ""]
    assert text.fingerprint != Probe.of((["a", "b", "cä", ""], [0, 1, 0, 1])).fingerprint


def test_pil_images_are_images() -> None:
    images = [Image.fromarray(noise(i)).convert("P") for i in range(4)]
    probe = Probe.of((images, list("abab")))
    assert np.array_equal(pixels(probe, 1), np.asarray(images[1].convert("RGB")))


# --- columns, tables, lists ------------------------------------------------------------------------------------------

TEXTS = [f"text {row}" for row in range(20)]
LABELS = [0, 1] * 10
NUMBERS = np.random.default_rng(0).normal(size=(20, 3))


def files_in(folder: Path) -> list[str]:
    """Paths of 20 images."""
    paths = [str(folder / f"{row}.png") for row in range(20)]
    for row, path in enumerate(paths):
        Image.fromarray(noise(row)).save(path)
    return paths


def typed(advice: str, inputs: Any, **names: Any) -> Probe:
    """The probe of what the advice gives when the user types it, with `inputs` or `paths` as the user's variable."""
    names |= {"inputs": inputs, "paths": inputs, "labels": LABELS, "np": np, "os": os, "Path": Path}
    given = eval(advice, names)
    return Probe.of(given if isinstance(given, tuple) else (given, LABELS))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, np.nan])
def test_a_missing_text_or_image_is_a_row_that_is_left_out_and_named(missing: Any) -> None:
    for inputs in (list(TEXTS), [Image.fromarray(noise(row)) for row in range(20)], [noise(row) for row in range(20)]):
        inputs[7] = missing
        probe = Probe.of((inputs, LABELS))
        assert probe.skipped == (("row 7", "missing"),)
        assert len(probe) == 19
        assert "row 7 (missing)" in probe.remarks[0]
    with pytest.raises(DatasetError, match="all 20 inputs are missing"):
        Probe.of(([missing] * 20, LABELS))
    with pytest.raises(DatasetError, match=r"10 of the 20 rows.*row 0 \(missing\)"):
        Probe.of(([missing, "a"] * 10, LABELS))


def test_columns_of_texts_give_the_probe_of_their_list() -> None:
    pa = pytest.importorskip("pyarrow")
    import datasets

    expected = Probe.of((TEXTS, LABELS)).fingerprint
    for inputs in (
        tuple(TEXTS),
        pd.Series(TEXTS, index=range(50, 70)),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype="category"),
        pd.DataFrame({"text": TEXTS}),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:5], TEXTS[5:]]),
        pa.table({"text": TEXTS}),
        datasets.Dataset.from_dict({"text": TEXTS})["text"],
        np.array(TEXTS, np.dtypes.StringDType()),
        np.array(TEXTS, object)[:, None],
        [text.encode() for text in TEXTS],
        np.array([text.encode() for text in TEXTS]),
    ):
        assert Probe.of((inputs, LABELS)).fingerprint == expected


def test_tables_of_numbers_are_arrays_with_one_column_for_each_feature() -> None:
    import torch

    expected = Probe.of((NUMBERS, LABELS)).fingerprint
    for inputs in (
        pd.DataFrame(NUMBERS),
        pd.DataFrame(NUMBERS).astype("Float64"),
        NUMBERS.tolist(),
        np.ma.array(NUMBERS),
        torch.tensor(NUMBERS, requires_grad=True),
        list(torch.tensor(NUMBERS)),
    ):
        assert Probe.of((inputs, LABELS)).fingerprint == expected
    assert Probe.of((pd.DataFrame({"only": range(20)}), LABELS)).item(3).shape == (1,)
    lacking = pd.DataFrame({"a": [None, *range(1, 20)], "b": range(20)}).astype("Int64")
    with pytest.raises(DatasetError, match="NaN or infinity, first in row 0"):
        Probe.of((lacking, LABELS))


def test_paths_and_contents_of_image_files_are_images(tmp_path: Path) -> None:
    paths = files_in(tmp_path)
    contents_of_files = [Path(path).read_bytes() for path in paths]
    expected = Probe.of((contents_of_files, LABELS))
    assert expected.modality == "image"
    assert np.array_equal(pixels(expected, 3), noise(3))
    for inputs in (
        paths,
        [Path(path) for path in paths],
        pd.Series(paths),
        pd.DataFrame({"file": paths}),
        np.array(paths),
        [{"bytes": content, "path": None} for content in contents_of_files],
        [{"bytes": None, "path": path} for path in paths],
    ):
        probe = Probe.of((inputs, LABELS))
        assert probe.fingerprint == expected.fingerprint
        assert pickle.loads(pickle.dumps(probe)).fingerprint == expected.fingerprint
    paths[4] = str(tmp_path / "gone.png")
    assert Probe.of((paths, LABELS)).skipped == (("row 4 (gone.png)", "no such file"),)
    contents_of_files[4] = b""
    assert Probe.of((contents_of_files, LABELS)).skipped == (("row 4", "empty file"),)


def test_texts_that_speak_of_files_stay_texts() -> None:
    for inputs in (["see a.png here", "and b.jpg"], ["a.png", "a text"], ["x" * 5000, "~nobody/a\0"]):
        assert Probe.of((inputs * 10, LABELS)).modality == "text"


def test_inputs_that_cannot_be_read_are_refused_and_the_advice_works(tmp_path: Path) -> None:
    import scipy.sparse
    import torch

    files_in(tmp_path)
    notes = [tmp_path / f"{row}.txt" for row in range(20)]
    for note in notes:
        note.write_text(f"text of {note.name}")
    mixed = pd.DataFrame({"text": TEXTS, "length": range(20)})
    names = [f"{row}.png" for row in range(20)]
    for inputs, message, advice, modality in (
        (iter(TEXTS), "inputs are list_iterator", "list(inputs)", "text"),
        ((text for text in TEXTS), "inputs are generator", "list(inputs)", "text"),
        (dict.fromkeys(TEXTS).keys(), "inputs are dict_keys", "list(inputs)", "text"),
        (np.arange(20), r"numbers of shape \(20,\)", "np.reshape(inputs, (-1, 1))", "array"),
        (pd.Series(range(20)), r"numbers of shape \(20,\)", "np.reshape(inputs, (-1, 1))", "array"),
        (list(range(20)), r"numbers of shape \(20,\)", "np.reshape(inputs, (-1, 1))", "array"),
        (scipy.sparse.csr_matrix(NUMBERS), "a sparse csr_matrix", "inputs.toarray()", "array"),
        (torch.tensor(NUMBERS).to_sparse(), "a sparse tensor", "inputs.to_dense()", "array"),
        (np.ma.array(NUMBERS, mask=NUMBERS > 1), "masked values", "inputs.filled(0)", "array"),
        (mixed, "the columns 'text' hold no numbers", "inputs['text']", "text"),
        ([["a", "b", "c"]] * 20, "a list of 3 strings in row 0", '[" ".join(texts) for texts in inputs]', "text"),
        ([b"\xe9t\xe9"] * 20, "first in row 0", '[text.decode("latin-1") for text in inputs]', "text"),
        (notes, r"not read here, such as '.*0\.txt'", "([Path(path).read_text() for path in paths], labels)", "text"),
        (names, "look like paths of image files", "[os.path.join(FOLDER, path) for path in paths]", "image"),
    ):
        with pytest.raises(DatasetError, match=message) as refused:
            Probe.of((inputs, LABELS))
        assert advice in str(refused.value)
        assert typed(advice, inputs, FOLDER=tmp_path, paths=inputs).modality == modality


def test_inputs_of_different_kinds_are_refused_with_their_rows(tmp_path: Path) -> None:
    import torch
    from torch.utils.data import TensorDataset

    paths = files_in(tmp_path)
    for inputs, message in (
        ([*TEXTS[:19], Image.fromarray(noise(0))], "image and text rows .image in row 19, text in row 0"),
        ([*TEXTS[:19], object()], "row 19: inputs hold object"),
        ([*paths[:19], "Thumbs.db"], r"19 are paths of image files, .* and 1 are not, such as 'Thumbs\.db'"),
        ([b"text", *TEXTS[1:]], "bytes in row 0 and str in row 1"),
        ([[1, 2], [3]] * 10, r"different lengths: \(2,\) in row 0 and \(1,\) in row 1"),
        ([[1, 2], None] * 10, "row 1 is missing"),
        ([[1, 2], "a"] * 10, "a list in row 0 and str in row 1"),
        ([Path("gone.txt")] * 20, r"the path 'gone\.txt' in row 0; expected paths of image files"),
        ({"a": 1}, "inputs are dict"),
        (pd.DataFrame(index=range(20)), "a table without columns"),
        (TensorDataset(torch.tensor(NUMBERS)), "a TensorDataset, a dataset of torch"),
    ):
        with pytest.raises(DatasetError, match=message):
            Probe.of((inputs, LABELS))


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("first", [True, False])
def test_numbers_that_look_like_images_are_said_with_advice_that_works(scale: int, first: bool) -> None:
    images = [noise(i) for i in range(6)]
    inputs: Any = [np.moveaxis(image, -1, 0) if first else image for image in images]
    inputs = [np.float32(x) / scale for x in inputs]
    (remark,) = (said for said in Probe.of((inputs, [0, 1] * 3)).remarks if "If they are images" in said)
    typed = remark.split("give ")[1].rstrip(".")
    probe = Probe.of((eval(typed, {"np": np, "inputs": inputs}), [0, 1] * 3))
    assert [np.asarray(probe.item(row)).tobytes() for row in range(6)] == [image.tobytes() for image in images]


def test_a_list_of_pairs_of_input_and_label_is_read_as_inputs_and_labels() -> None:
    inputs, labels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8), ["cat", "dog"] * 6
    rows = list(zip(inputs, labels, strict=True))
    assert Probe.of(rows).fingerprint == Probe.of((inputs, labels)).fingerprint
    assert Probe.of({"train": rows}).class_names == ("cat", "dog")
    with pytest.raises(DatasetError, match=r"the dataset is list; expected .*, a list of \(input, label\), or"):
        Probe.of([*rows, inputs[0]])


def test_what_only_gives_an_array_is_read_as_the_array() -> None:
    class Gives:
        def __init__(self, array: np.ndarray[Any, Any]) -> None:
            self._array = array

        def __len__(self) -> int:
            return len(self._array)

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
            return self._array

    images, labels = np.zeros((12, 8, 8, 3), np.uint8), np.arange(12) % 2
    assert Probe.of((Gives(images), Gives(labels))).fingerprint == Probe.of((images, labels)).fingerprint
