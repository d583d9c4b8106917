"""A folder of class folders is a dataset, and no link leads out of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from modelselect.probe.sampling import allocate
from tests.probe.material import folder_of, noise


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_the_file_system_lists_files_does_not_change_the_probe(
    tmp_path_factory: pytest.TempPathFactory, shuffler: Any
) -> None:
    root = folder_of(tmp_path_factory.mktemp("pets"), {"cat": 9, "dog": 5, "eel": 3})
    plain = Probe.of(root, size=8, holdout=0.3)
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path: Any) -> None:
            with scandir(path) as entries:
                self.entries = list(entries)
            shuffler.shuffle(self.entries)

        def __enter__(self) -> Any:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", Shuffled)
        shuffled = Probe.of(root, size=8, holdout=0.3)
    assert shuffled.fingerprint == plain.fingerprint
    assert shuffled.holdout is not None
    assert plain.holdout is not None
    assert shuffled.holdout.fingerprint == plain.holdout.fingerprint


def test_formats_and_suffixes_of_any_case_are_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1}, ".jpg")
    for i, suffix in enumerate((".JPEG", ".webp", ".bmp", ".tiff")):
        Image.fromarray(noise(i)).save(root / "a" / f"x{suffix}")
    (root / "a" / ".hidden.jpg").write_bytes(b"nothing")
    (root / ".cache").mkdir()
    (root / "a" / "Thumbs.db").write_bytes(b"")
    (root / "empty").mkdir()
    probe = Probe.of(root)
    assert len(probe) == 6
    assert probe.class_names == ("a", "b")
    assert not probe.skipped
    assert probe.provenance["source"]["ignored_files"] == {".db": 1}
    assert probe.provenance["source"]["classes_without_images"] == ["empty"]


def test_a_training_folder_is_called_by_the_dataset_that_it_is_in(tmp_path: Path) -> None:
    for layout, name in (("pets/train", "pets"), ("pets", "pets"), ("trains", "trains")):
        root = tmp_path / layout.replace("/", "_") / layout
        assert Probe.of(folder_of(root, {"a": 3, "b": 3})).name == name


def test_corrupt_files_are_named_and_replaced_by_others_of_their_class(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 40, "b": 40}, ".jpg")
    whole = (root / "a" / "0.jpg").read_bytes()
    broken = {"truncated": whole[:-30], "empty": b"", "text": b"<html>404</html>"}
    for name, content in broken.items():
        (root / "a" / f"{name}.jpg").write_bytes(content)
    everything = Probe.of(root, size=None)
    assert [name for name, _ in everything.skipped] == ["a/empty.jpg", "a/text.jpg", "a/truncated.jpg"]
    reasons = dict(everything.skipped)
    assert reasons["a/empty.jpg"] == "empty file"
    assert reasons["a/text.jpg"].startswith("not a JPEG")
    assert "truncated" in reasons["a/truncated.jpg"]
    for seed in range(10):
        probe = Probe.of(root, size=60, seed=seed, max_corrupt=0.2)
        assert probe.labels is not None
        assert np.bincount(probe.labels).tolist() == allocate([43, 40], 60).tolist()
        assert set(probe.skipped) <= set(everything.skipped)


def test_too_many_corrupt_files_are_an_error_that_names_some(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 7, "b": 10})
    for i in range(3):
        (root / "a" / f"bad{i}.png").write_bytes(b"bad")
    with pytest.raises(DatasetError, match=r"3 of the 20 rows .* a/bad0\.png \(not a JPEG.*max_corrupt"):
        Probe.of(root)
    assert len(Probe.of(root, max_corrupt=0.15)) == 17


def test_no_link_leads_out_of_the_folder_or_into_its_test_split(tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder_of(root / "train", {"a": 10, "b": 10})
    folder_of(root / "test", {"a": 1})
    secret = folder_of(tmp_path / "elsewhere", {"c": 3})
    (root / "train" / "a" / "secret.png").symlink_to(secret / "c" / "0.png")
    (root / "train" / "a" / "cheat.png").symlink_to(root / "test" / "a" / "0.png")
    (root / "train" / "a" / "broken.png").symlink_to(root / "nowhere.png")
    (root / "train" / "a" / "fine.png").symlink_to("../b/0.png")
    (root / "train" / "c").symlink_to(secret / "c")
    probe = Probe.of(root)
    assert len(probe) == 21
    assert probe.class_names == ("a", "b")
    assert dict(probe.skipped) == {
        "train/a/secret.png": "a link that leaves the folder",
        "train/a/cheat.png": "a link to the test split or to the whole folder",
        "train/a/broken.png": "a broken link",
        "train/c": "a link that leaves the folder",
    }


def test_a_file_swapped_for_a_link_after_listing_does_not_lead_out_either(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "data", {"a": 3, "b": 3})
    outside = folder_of(tmp_path / "elsewhere", {"c": 1})
    probe = Probe.of(root)
    (root / "a" / "0.png").unlink()
    (root / "a" / "0.png").symlink_to(outside / "c" / "0.png")
    with pytest.raises(DatasetError, match=r"a/0\.png .* leaves the folder"):
        probe.item(0)


def test_classes_called_train_or_test_are_classes_when_they_hold_images(tmp_path: Path) -> None:
    assert Probe.of(folder_of(tmp_path, {"train": 3, "bus": 3})).class_names == ("bus", "train")


def test_splits_without_class_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="hold no class folders"):
        Probe.of(folder_of(tmp_path, {"train": 3, "test": 3}))


# --- bad input -------------------------------------------------------------------------------------------------------


def test_folders_that_hold_no_classes_are_met_with_the_layout_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "one", {"a": 3})
    folder_of(tmp_path / "deep" / "unpacked", {"a": 3, "b": 3})
    (tmp_path / "tables" / "a").mkdir(parents=True)
    (tmp_path / "tables" / "a" / "rows.dat").write_text("1,2")
    for name, message in (
        ("empty", "is empty; expected FOLDER/CLASS"),
        ("one/a", "holds 3 images but no class folders"),
        ("one", "has one class, 'a'"),
        ("deep", r"no images in the class folders .*unpacked/a"),
        ("tables", r"no images .* files of other kinds \(\.dat\)"),
        ("on", "there is no folder .* Did you mean .*one"),
        ("tables/a/rows.dat", "is a file"),
    ):
        with pytest.raises(DatasetError, match=message):
            Probe.of(tmp_path / name)


def test_a_folder_of_corrupt_files_alone_is_an_error_whatever_share_is_allowed(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").write_bytes(b"bad")
    for allowed in (0.1, 1.0):
        with pytest.raises(DatasetError, match=r"2 of the 2 rows .* a/x\.jpg"):
            Probe.of(tmp_path, max_corrupt=allowed)
