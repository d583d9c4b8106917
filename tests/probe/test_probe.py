"""The probe keeps its promises: stratified, seeded, fingerprinted, and one clear error where it cannot."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from modelselect.probe.sampling import allocate
from tests.conftest import shared_path
from tests.probe.material import contents, folder_of, noise, pixels


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(2, 80), st.integers(0, 3))
def test_a_probe_of_arrays_is_the_stratified_sample_in_the_order_of_the_rows(
    labels: list[int], size: int, seed: int
) -> None:
    labels[:2] = [0, 1]
    inputs = np.arange(len(labels), dtype=np.float64)[:, None] * [1, 1]
    try:
        probe = Probe.of((inputs, labels), size=size, seed=seed)
    except DatasetError:
        assert size < len(set(labels))  # too few rows for two classes
        return
    assert probe.labels is not None
    rows = [int(probe.item(i)[0]) for i in range(len(probe))]
    assert rows == sorted(set(rows))
    assert [int(probe.class_names[label]) for label in probe.labels] == [labels[row] for row in rows]
    present = [int(name) for name in probe.class_names]
    expected = allocate([labels.count(value) for value in present], size)
    assert np.bincount(probe.labels, minlength=len(present)).tolist() == expected.tolist()


def test_one_seed_gives_one_probe_and_another_seed_another() -> None:
    data = (noise(0, (200, 4, 4)), [i % 2 for i in range(200)])
    first, again, other = (Probe.of(data, size=50, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert contents(first) == contents(again)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_probe_of_a_real_dataset_holds_what_torchvision_reads_from_its_training_folder() -> None:
    from torchvision.datasets import ImageFolder

    folder = shared_path("lab", "datasets", "trashnet6")
    probe, reference = Probe.of(folder, size=None), ImageFolder(folder / "train")
    assert probe.labels is not None
    assert list(probe.class_names) == reference.classes
    assert probe.labels.tolist() == reference.targets
    for index in (0, 100, 449):
        assert np.array_equal(pixels(probe, index), np.asarray(reference[index][0]))
    assert probe.name == "trashnet6"
    assert not probe.skipped


def test_the_fingerprint_is_of_content_not_of_places_or_times(tmp_path: Path) -> None:
    here = folder_of(tmp_path / "here", {"a": 4, "b": 4})
    there = folder_of(tmp_path / "there" / "train", {"a": 4, "b": 4}).parent
    os.utime(here / "a" / "0.png", (0, 0))
    assert Probe.of(here).fingerprint == Probe.of(there).fingerprint
    before = Probe.of(here).fingerprint
    Image.fromarray(noise(99)).save(here / "a" / "0.png")
    changed = Probe.of(here).fingerprint
    (here / "a" / "1.png").rename(here / "b" / "1b.png")  # content in another class
    assert len({before, changed, Probe.of(here).fingerprint}) == 3


def test_training_and_holdout_are_read_only_when_asked_for_and_skip_what_is_corrupt(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 20, "b": 20})
    folder_of(tmp_path / "val", {"a": 20, "b": 20}, first=500)
    probe = Probe.of(tmp_path, size=4, holdout=0.1)
    assert probe.holdout is not None
    assert "not yet read" in repr(probe.training)
    sampled = set(contents(probe))
    spoilt = next(i for i in range(20) if noise(98_000 + i).tobytes() not in sampled)
    for path in (tmp_path / "train" / "b" / f"{spoilt}.png", tmp_path / "val" / "b" / "7.png"):
        path.write_bytes(b"bad")
    assert [name for name, _ in probe.training.skipped] == [f"train/b/{spoilt}.png"]
    assert [name for name, _ in probe.holdout.skipped] == ["val/b/7.png"]
    assert len(probe.training) == len(probe.holdout) == 39
    assert not probe.skipped


@pytest.mark.parametrize("validation", [False, True])
def test_a_held_out_image_that_cannot_be_read_is_reported_by_the_probe(tmp_path: Path, validation: bool) -> None:
    folder = tmp_path / "train" if validation else tmp_path
    folder_of(folder, {"a": 40, "b": 40})
    if validation:
        folder_of(tmp_path / "val", {"a": 8, "b": 8}, first=500)
        held_out = "val/b/3.png"
    else:
        drawn = Probe.of(tmp_path, holdout=0.2).holdout
        assert drawn is not None
        held_out = drawn.row_name(len(drawn) - 1)
    (tmp_path / held_out).write_bytes(b"bad")
    probe = Probe.of(tmp_path, holdout=0.2)
    (remark,) = [each for each in probe.remarks if "held-out" in each]
    assert remark.startswith("In the held-out rows: One file or row was left out:")
    assert held_out in remark
    assert not probe.skipped
    assert probe.provenance["remarks"] == list(probe.remarks)


def test_of_many_held_out_rows_some_are_looked_at(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 4, "b": 4})
    folder_of(tmp_path / "val", {"a": 20, "b": 20}, first=500)
    for index in (0, 9):
        (tmp_path / "val" / "ab"[index > 0] / f"{index}.png").write_bytes(b"bad")  # the first and the last row
    probe = Probe.of(tmp_path, holdout=0.2)
    assert "2 files or rows were left out" in " ".join(probe.remarks)
    assert probe.holdout is not None
    assert "not yet read" in repr(probe.holdout)


def test_held_out_rows_that_fine_tuning_cannot_use_do_not_end_a_ranking(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 20, "b": 20})
    folder_of(tmp_path / "val", {"a": 4, "b": 4}, first=500)
    for index in range(3):
        (tmp_path / "val" / "b" / f"{index}.png").write_bytes(b"bad")
    probe = Probe.of(tmp_path, holdout=0.2)
    assert "3 of the 8 rows read from" in " ".join(probe.remarks)


def test_duplicates_are_dropped_by_content_also_between_training_and_holdout(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 4, "b": 4})
    (tmp_path / "train" / "b" / "copy.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    folder_of(tmp_path / "val", {"a": 6, "b": 6})  # its first four of each class are training's
    assert len(Probe.of(tmp_path)) == 9
    probe = Probe.of(tmp_path, deduplicate=True, holdout=0.1)
    assert probe.labels is not None
    assert probe.holdout is not None
    assert probe.labels.tolist() == [0] * 4 + [1] * 4
    assert probe.provenance["duplicates_dropped"] == 1
    assert len(probe.holdout) == 4
    assert not set(contents(probe)) & set(contents(probe.holdout))


def test_a_probe_comes_back_as_it_is() -> None:
    probe = Probe.of((np.eye(4), [0, 1, 0, 1]))
    assert Probe.of(probe) is probe


def test_one_image_per_class_is_a_probe_without_a_holdout(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1, "c": 1})
    assert len(Probe.of(root)) == 3
    with pytest.raises(DatasetError, match=r"3 of the 3 classes .* only one row"):
        Probe.of(root, holdout=0.2)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ((np.eye(4), [0, 1, 0]), "3 labels for 4 inputs"),
        ((np.eye(4), [0.5, 0.5, 0.5, 0.5]), "are 0.5 in all 4 rows"),
        ((np.eye(4), np.eye(4) / 2), "argmax"),
        ((np.eye(4), [0, 1, -2, 1]), "hold -2"),
        ((np.eye(4), [0, 0, -1, 0]), r"one class.*Labelled -1 or None, which means unlabelled: 1 row"),
        ((np.eye(4), [0, "a", None, 1]), "integer and string"),
        ((np.eye(4), ["0", "a", 1, "0"]), "integer and string"),
        ((np.eye(4), [[0], [1.5, 2], [1], [0]]), "different lengths"),
        ((np.zeros((4, 0)), [0, 1] * 2), r"shape \(4, 0\)"),
        ("", "empty text"),
        ("a" * 5000, "is not a path"),
        ((np.array([[0.0, np.nan]] * 4), [0, 1] * 2), "NaN or infinity, first in row 0"),
        (([np.zeros(2), np.array([np.inf, 0])], [0, 1]), "NaN or infinity, first in row 1"),
        ((np.arange(4.0), [0, 1] * 2), r"shape \(4,\)"),
        ((noise(0, (4, 5, 5, 7)), [0, 1] * 2), "expected an image"),
        ((["a", Image.new("L", (2, 2))], [0, 1]), "image and text"),
        (([Path("a.jpg"), Path("b.jpg")], [0, 1]), "no such file is in"),
        ((np.array([datetime.date(2000, 1, 1)] * 2), [0, 1]), "hold date"),
        ((np.zeros((0, 3)), []), "no rows"),
        (("abc", [0, 1, 2]), "inputs are str"),
        (7, "the dataset is int; expected a folder"),
        ({}, "no splits"),
        ({"image": noise(0, (2, 4, 4)), "label": [0, 1]}, "To use columns of one table, give"),
    ],
)
def test_input_that_cannot_serve_is_one_error_that_says_what_to_do(dataset: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Probe.of(dataset)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 1},
        {"size": 2.5},
        {"seed": -1},
        {"holdout": 1.0},
        {"holdout": -0.1},
        {"holdout": "a tenth"},
        {"max_corrupt": 2},
        {"max_corrupt": None},
        {"split": 3},
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=f"^{next(iter(arguments))} is "):
        Probe.of((np.eye(4), [0, 1, 0, 1]), **arguments)


# --- what others rely on ---------------------------------------------------------------------------------------------


def test_a_pickled_probe_is_the_same_probe_and_holds_no_decoded_image(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 2, "b": 2})
    Image.fromarray(noise(0, (500, 500, 3))).save(root / "a" / "0.png")
    probe = Probe.of(root, holdout=0.5, size=2)
    probe.item(0)
    pickled = pickle.dumps(probe)
    assert len(pickled) < 10_000
    copy = pickle.loads(pickled)
    assert (copy.fingerprint, contents(copy)) == (probe.fingerprint, contents(probe))
    assert len(copy.training) == len(probe.training)
    assert copy.holdout.fingerprint == probe.holdout.fingerprint  # type: ignore[union-attr]


def test_the_provenance_is_json_and_says_where_the_rows_come_from(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "pets", {"a": 10, "b": 10})
    (root / "a" / "bad.png").write_bytes(b"bad")
    probe = Probe.of(root, size=np.int64(18), holdout=0.1, seed=np.int64(3))  # type: ignore[arg-type]
    for part in (probe, probe.training, probe.holdout):
        assert part is not None
        record = json.loads(json.dumps(part.provenance))
        assert record["name"] == "pets"
        assert record["fingerprint"] == part.fingerprint
        assert record["rows"] == len(part)
        assert record["seed"] == 3
        assert record["classes"] == ["a", "b"]
        assert record["source"] == {"kind": "folder", "path": str(root.resolve()), "layout": "CLASS"}
        assert set(record["versions"]) == {"modelselect-automl", "numpy", "pillow", "datasets", "torch"}
    assert probe.provenance["requested_size"] == 18
    assert probe.provenance["holdout"] == {"split": "all", "rows": len(probe.holdout)}  # type: ignore[arg-type]
    assert probe.training.provenance["skipped"] in ([], [["a/bad.png", dict(probe.training.skipped).get("a/bad.png")]])


def test_a_row_that_vanishes_later_is_an_error_that_names_it(tmp_path: Path) -> None:
    probe = Probe.of(folder_of(tmp_path, {"a": 2, "b": 2}))
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"a/1\.png .* not now \(no such file"):
        probe.item(1)


def test_a_probe_of_a_folder_imports_neither_torch_nor_datasets(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 2, "b": 2})
    code = (
        "import sys; from modelselect.probe import Probe; Probe.of(sys.argv[1], holdout=0.5).item(0); "
        "print(sorted({'torch', 'datasets', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def images(count: int) -> np.ndarray[Any, Any]:
    return np.stack([noise(number) for number in range(count)])


def test_a_redrawn_probe_is_the_probe_of_that_size_and_seed() -> None:
    given = images(60), np.repeat([0, 1, 2], [30, 20, 10]).tolist()
    drawn = Probe.of(given, size=12)
    for size, seed in ((12, 0), (20, 3), (None, 1)):
        again = drawn.redrawn(size=size, seed=seed)
        assert again.fingerprint == Probe.of(given, size=size, seed=seed).fingerprint
        assert (again.seed, again.training.fingerprint) == (seed, drawn.training.fingerprint)
    assert drawn.redrawn(size=12, seed=1).fingerprint != drawn.fingerprint
    assert drawn.redrawn(size=12, seed=1).redrawn(size=12).fingerprint == drawn.fingerprint


def test_held_out_rows_are_not_redrawn() -> None:
    drawn = Probe.of((images(60), [0, 1] * 30), size=12, holdout=0.5)
    assert drawn.holdout is not None
    held_out = set(contents(drawn.holdout))
    for seed in range(3):
        again = drawn.redrawn(seed=seed)
        assert again.holdout is drawn.holdout
        assert len(again) == 30
        assert held_out.isdisjoint(contents(again))


def test_rows_of_each_class_are_as_many_as_asked_for_or_as_there_are() -> None:
    probe = Probe.of((images(64), [0] * 30 + [1] * 20 + [2] * 4 + [-1] * 10))
    some = probe.redrawn(per_class=6, seed=1)
    assert some.labels is not None
    assert np.bincount(some.labels).tolist() == [6, 6, 4]
    assert some.provenance["requested_per_class"] == 6
    with pytest.raises(DatasetError, match="per_class"):
        probe.redrawn(per_class=0)
    with pytest.raises(DatasetError, match="has no classes, so rows of each class cannot be drawn"):
        Probe.of((images(9), None)).redrawn(per_class=2)


def test_what_holds_only_for_the_held_out_rows_is_said_once() -> None:
    texts = [f"text {row}" for row in range(8)]
    own = {"train": (texts, [0, 1] * 4), "validation": (["", *"abcdefg"], [0, 1] * 4)}
    said = "1 text is empty or holds only spaces. It is ranked on like the others."
    assert Probe.of(own, holdout=0.2).remarks == (f"In the held-out rows: {said}",)
    assert Probe.of(own).remarks == ()
    both = {"train": ([*texts[1:], ""], [0, 1] * 4), "validation": own["validation"]}
    assert Probe.of(both, holdout=0.2).remarks == (said,)


def test_classes_without_names_keep_the_type_of_their_labels() -> None:
    rows = np.arange(12.0).reshape(6, 2)
    for labels in ([3, 7, 7] * 2, [True, False, False] * 2, ["b", "a", "a"] * 2):
        own = Probe.of((rows, labels)).labels_in_own_type
        assert own == tuple(sorted(set(labels)))
        assert {type(label) for label in own} == {type(label) for label in labels}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    named = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 1]}, features=features)
    assert Probe.of(named).labels_in_own_type == ("no", "yes")
