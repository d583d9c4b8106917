"""A folder of class folders is a dataset, and what is left out of it is said."""

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
from modelselect.probe.folders import open_folder
from modelselect.probe.probe import Probe
from modelselect.probe.sampling import allocate
from tests.probe.material import folder_of, noise


@settings(max_examples=15)
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


def test_formats_and_suffixes_of_any_case_are_read_and_helpers_are_not(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1}, ".jpg")
    for i, suffix in enumerate((".JPEG", ".webp", ".bmp", ".tiff")):
        Image.fromarray(noise(i)).save(root / "a" / f"x{suffix}")
    (root / "a" / "x.JFIF").write_bytes((root / "a" / "0.jpg").read_bytes())
    (root / "a" / ".hidden.jpg").write_bytes(b"nothing")
    (root / "a" / "._0.jpg").write_bytes(b"data of macOS")
    (root / ".cache").mkdir()
    (root / "a" / "Thumbs.db").write_bytes(b"")
    probe = Probe.of(root)
    assert len(probe) == 7
    assert probe.class_names == ("a", "b")
    assert not probe.skipped
    assert probe.provenance["source"]["ignored_files"] == {"hidden .jpg": 1}


@pytest.mark.parametrize(
    "helper",
    ["@eaDir", "__MACOSX", ".ipynb_checkpoints", ".git", "$RECYCLE.BIN", "#recycle", ".thumbnails", "lost+found"],
)
def test_helper_folders_are_no_classes_and_their_images_are_not_read(tmp_path: Path, helper: str) -> None:
    root = folder_of(tmp_path, {"bus": 3, "test": 3})
    for place in (root, root / "bus", root / "test"):
        folder_of(place, {helper: 2}, first=50)
    probe = Probe.of(root)
    assert (probe.class_names, len(probe), probe.remarks) == (("bus", "test"), 6, ())


def test_what_is_left_out_is_counted_and_named_in_one_remark(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"cat": 3, "dog": 3})
    assert Probe.of(root).remarks == ()
    for i in range(3):
        (root / "cat" / f"{i}.txt").write_text("a cat")
    (root / "dog" / "boxes.xml").write_text("<xml/>")
    (root / "LICENSE").write_text("free")
    Image.fromarray(noise(0)).save(root / "cover.png")
    folder_of(root, {".old": 2})
    assert Probe.of(root).remarks == (
        "Left out: 1 image next to the folders; hidden folders with images (.old); "
        "4 files of other kinds in class folders (3 .txt, 1 .xml).",
    )


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


def test_links_are_followed_out_of_the_folder_but_not_into_its_test_split(tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder_of(root / "train", {"a": 10, "b": 10})
    folder_of(root / "test", {"a": 1})
    elsewhere = folder_of(tmp_path / "elsewhere", {"c": 3})
    (root / "train" / "a" / "shared.png").symlink_to(elsewhere / "c" / "0.png")
    (root / "train" / "a" / "cheat.png").symlink_to(root / "test" / "a" / "0.png")
    (root / "train" / "a" / "indirect.png").symlink_to(root / "train" / "a" / "cheat.png")
    (root / "train" / "a" / "more").symlink_to(root / "test" / "a")
    (root / "train" / "a" / "above").symlink_to(tmp_path)
    (root / "train" / "a" / "broken.png").symlink_to(root / "nowhere.png")
    (root / "train" / "a" / "fine.png").symlink_to("../b/0.png")
    (root / "train" / "c").symlink_to(elsewhere / "c")
    probe = Probe.of(root)
    assert len(probe) == 25
    assert probe.class_names == ("a", "b", "c")
    assert dict(probe.skipped) == {
        "train/a/cheat.png": "a link to a test split",
        "train/a/indirect.png": "a link to a test split",
        "train/a/more": "a link to a test split",
        "train/a/above": "a link to a test split",
        "train/a/broken.png": "a broken link",
    }


def test_links_into_the_test_split_of_another_dataset_are_not_followed(tmp_path: Path) -> None:
    full, root = tmp_path / "full", tmp_path / "subset"
    folder_of(full / "train", {"a": 3, "b": 3})
    folder_of(full / "test", {"a": 3, "b": 3}, first=100)
    root.mkdir()
    (root / "a").symlink_to(full / "train" / "a")
    (root / "b").symlink_to(full / "test" / "b")
    with pytest.raises(
        DatasetError, match=r"class folder 'b' .* is a link to a test split, so this class would be left"
    ):
        Probe.of(root)
    (root / "b").unlink()
    (root / "b").symlink_to(full / "train" / "b")
    (root / "b" / "x.png").symlink_to(full / "test" / "b" / "0.png")
    probe = Probe.of(root)
    assert len(probe) == 6
    assert dict(probe.skipped) == {"b/x.png": "a link to a test split"}


def test_circles_of_links_end(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 3, "b": 3})
    (root / "a" / "itself").symlink_to(root / "a")
    (root / "b" / "up").symlink_to("..")
    (root / "everything").symlink_to(root)
    (root / "a" / "there").symlink_to(root / "b")
    (root / "loop").symlink_to("loop")
    with pytest.raises(DatasetError, match=r"'loop' .* is a link whose target is missing"):
        Probe.of(root)
    (root / "loop").unlink()
    probe = Probe.of(root)
    assert (probe.class_names, len(probe)) == (("a", "b"), 9)
    assert set(dict(probe.skipped).values()) == {"a link to a folder that holds the link"}


def test_a_file_swapped_for_a_link_after_listing_does_not_lead_into_the_test_split(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 3, "b": 3})
    test = folder_of(tmp_path / "test", {"a": 1, "b": 1})
    probe = Probe.of(tmp_path)
    (tmp_path / "train" / "a" / "0.png").unlink()
    (tmp_path / "train" / "a" / "0.png").symlink_to(test / "a" / "0.png")
    with pytest.raises(DatasetError, match=r"a/0\.png .*a link to a test split"):
        probe.item(0)


def test_classes_called_train_or_test_are_classes_when_they_hold_images(tmp_path: Path) -> None:
    assert Probe.of(folder_of(tmp_path, {"train": 3, "bus": 3})).class_names == ("bus", "train")


def test_splits_without_class_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="hold no class folders"):
        Probe.of(folder_of(tmp_path, {"train": 3, "test": 3}))


# --- the same rows as torchvision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["flat", "deep", "links", "odd names"])
def test_classes_and_rows_are_those_of_torchvision(tmp_path: Path, layout: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    elsewhere = folder_of(tmp_path / "elsewhere", {"x": 4, "y/deeper": 2})
    root = folder_of(tmp_path / "data", {"b": 3, "a": 2, "B": 3, "10": 2, "9": 2}, ".jpg")
    if layout == "deep":
        folder_of(root, {"a/z": 2, "a/0": 2, "a/z.x": 1, "a/z/z": 3, "b/a": 1, "c/only/inside": 2})
    if layout == "links":
        (root / "linked").symlink_to(elsewhere / "x")
        (root / "a" / "inside").symlink_to(elsewhere)
        (root / "a" / "a.png").symlink_to(elsewhere / "x" / "1.png")
        (root / "twice").symlink_to(root / "b")
    if layout == "odd names":
        folder_of(root, {"with space": 1, "ünï": 1, "猫": 2, "🐶": 1, "x.y": 1, "001": 1, "train station": 1})
        Image.fromarray(noise(7)).save(root / "a" / "ö.JPG", "JPEG")
    expected = torchvision.datasets.ImageFolder(str(root))
    rows = open_folder(root)["all"]()
    assert list(rows.labels.names) == expected.classes
    assert [os.path.join(root, rows.row_name(i)) for i in range(len(rows))] == [path for path, _ in expected.samples]
    assert rows.labels.indices.tolist() == expected.targets


def test_plain_files_are_listed_without_a_look_at_each_one(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 40, "b": 40})
    looks = 0
    stat = os.stat

    def counting(*arguments: Any, **keywords: Any) -> Any:
        nonlocal looks
        looks += 1
        return stat(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("stat", "lstat"):
            patch.setattr(os, name, counting)
        assert len(open_folder(root)["all"]()) == 80
    assert looks < 40


# --- bad input -------------------------------------------------------------------------------------------------------


def test_folders_that_hold_no_classes_are_met_with_the_layout_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "one", {"a": 3})
    (tmp_path / "tables" / "a").mkdir(parents=True)
    (tmp_path / "tables" / "a" / "rows.dat").write_text("1,2")
    for name, message in (
        ("empty", "is empty; expected FOLDER/CLASS"),
        ("one/a", "holds 3 images but no class folders"),
        ("one", "has one class, 'a'"),
        ("tables", r"no images .* files of other kinds \(1 \.dat\)"),
        ("on", "there is no folder or file .* Did you mean .*one"),
        ("tables/a/rows.dat", "is a file"),
    ):
        with pytest.raises(DatasetError, match=message):
            Probe.of(tmp_path / name)


def test_a_folder_of_corrupt_files_alone_is_an_error_whatever_share_is_allowed(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").write_bytes(b"bad")
    for allowed in (0.1, 1.0):
        with pytest.raises(DatasetError, match=r"all 2 rows .* a/x\.jpg"):
            Probe.of(tmp_path, max_corrupt=allowed)


# --- classes that would vanish ---------------------------------------------------------------------------------------


def _of_one_suffix(folder: Path) -> None:
    for i in range(4):
        (folder / f"{i}.xcf").write_bytes(b"gimp")


def _only_helpers(folder: Path) -> None:
    (folder / "Thumbs.db").touch()
    folder_of(folder, {"@eaDir": 2})


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (_of_one_suffix, r"\(4 other files: 4 \.xcf\).* convert them to JPEG or PNG; otherwise move the folder out"),
        (_only_helpers, r"\(it is empty\).* Add images, or move it out"),
        (lambda folder: None, r"\(it is empty\)"),
        (lambda folder: (folder / "0.png").symlink_to("nowhere.png"), r"\(1 broken link\)"),
        (lambda folder: folder_of(folder, {".hidden": 2}), r"\(1 hidden folder\)"),
        (lambda folder: (folder / "x" / "y").mkdir(parents=True), r"\(1 folder\)"),
        (lambda folder: (folder.rmdir(), folder.symlink_to("/nowhere/birds")), "is a link whose target is missing"),
    ],
)
@pytest.mark.parametrize("split", ["", "train"])
def test_a_class_that_would_vanish_is_an_error_that_names_it_and_goes_when_the_advice_is_taken(
    tmp_path: Path, fill: Any, said: str, split: str
) -> None:
    root = folder_of(tmp_path / split, {"cats": 3, "dogs": 3})
    birds = root / "birds"
    birds.mkdir()
    fill(birds)
    with pytest.raises(DatasetError, match=rf"the class folder 'birds' in \S+ .*{said}.*left out|{said}") as error:
        Probe.of(tmp_path)
    assert "'birds'" in str(error.value)
    birds.rename(tmp_path.parent / f"{tmp_path.name}-moved-out")
    assert Probe.of(tmp_path).class_names == ("cats", "dogs")


def test_a_class_folder_that_cannot_be_opened_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_of(tmp_path, {"cats": 3, "dogs": 3, "owls": 3})
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if str(path).endswith("owls"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DatasetError, match=r"'owls' .* cannot be opened \(Permission denied\).* Make it readable"):
        Probe.of(root)


def test_a_class_whose_files_are_all_corrupt_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"cats": 30, "dogs": 30, "owls": 2})
    for file in (root / "owls").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"no row of the class 'owls' can be read.* owls/0\.png .* remove the class"):
        Probe.of(root)
    (root / "owls").rename(tmp_path.parent / f"{tmp_path.name}-owls")
    assert len(Probe.of(root)) == 60


def test_names_that_differ_only_in_capitals_are_said_and_names_equal_in_unicode_are_one_class(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"Cat": 2, "cat": 2, "caf\u00e9": 2, "cafe\u0301": 3})
    probe = Probe.of(root)
    assert probe.class_names == ("Cat", "caf\u00e9", "cat")
    assert probe.labels is not None
    assert np.bincount(probe.labels).tolist() == [2, 5, 2]
    assert any("equal in Unicode are one class: caf\u00e9" in remark for remark in probe.remarks)
    assert any("'Cat, cat'" in remark for remark in probe.remarks)


def test_classes_of_a_training_folder_from_a_mac_are_those_of_the_validation_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"cafe\u0301": 4, "bar": 4})
    folder_of(tmp_path / "val", {"caf\u00e9": 2, "bar": 2}, first=90)
    probe = Probe.of(tmp_path, holdout=0.2)
    assert probe.holdout is not None
    assert len(probe.holdout) == 4


def test_folders_with_links_to_each_other_take_no_longer_than_their_number(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(12)]  # 12! paths
    root = folder_of(tmp_path / "d", dict.fromkeys(names, 2))
    for name in names:
        for other in names:
            (root / name / f"to_{other}").symlink_to(root / other)
    probe = Probe.of(root, size=None)
    assert len(probe.class_names) == 12
    assert "a link to a folder that other links lead to" in dict(probe.skipped).values()
    for image in root.rglob("*.png"):
        image.unlink()
    with pytest.raises(DatasetError, match=r"holds no class folders and no images|no images in the class folders"):
        Probe.of(root)
