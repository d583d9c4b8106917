"""One place decides what a folder tree is: what is sure is read, what has two readings is asked about."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modelselect.cli.app import main
from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import folder_of

ONE_WORD = (
    "train",
    "training",
    "training_set",
    "train2017",
    "train_images",
    "TRAIN",
    "Train-Data",
    "trainset",
    "train 1",
)
TEST_NAMES = (
    "test",
    "test1",
    "testing",
    "test_set",
    "test2017",
    "TestImages",
    "TEST",
    "test-clean",
    "testset",
    "hold-out",
)
VALIDATION_NAMES = (
    "val",
    "valid",
    "validation",
    "dev",
    "eval",
    "evaluation",
    "Val",
    "val2017",
    "validation_set",
    "VALID",
)


def tree(root: Path, *folders: str, count: int = 3) -> Path:
    """Folders of images; no two folders hold the same image."""
    for number, folder in enumerate(folders):
        folder_of(root, {folder: count}, first=10_000 * number)
    return root


def rows_of(probe: Probe) -> list[str]:
    source = probe._drawn_from.rows
    return [source.row_name(row) for row in range(len(source))]


def held(probe: Probe) -> set[str]:
    """Folders that the rows come from."""
    return {name.rpartition("/")[0] for name in rows_of(probe)}


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ONE_WORD)
@pytest.mark.parametrize("test", ["test1", "Testing"])
def test_training_folders_are_found_by_their_usual_names(tmp_path: Path, train: str, test: str) -> None:
    tree(tmp_path, f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog")
    probe = Probe.of(tmp_path)
    assert (probe.class_names, held(probe)) == (("cat", "dog"), {f"{train}/cat", f"{train}/dog"})
    assert probe.provenance["split"] == train
    assert probe.remarks == ()


@pytest.mark.parametrize("test", TEST_NAMES)
def test_test_folders_are_never_read_however_they_are_called(tmp_path: Path, test: str) -> None:
    tree(tmp_path, "train/cat", "train/dog", f"{test}/cat", f"{test}/dog")
    assert held(Probe.of(tmp_path)) == {"train/cat", "train/dog"}
    with pytest.raises(DatasetError, match="test split"):
        Probe.of(tmp_path, split=test)
    with pytest.raises(DatasetError, match="test split"):
        Probe.of(tmp_path / test)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(DatasetError, match="test split"):
        Probe.of(tmp_path)


@pytest.mark.parametrize("name", VALIDATION_NAMES)
def test_validation_folders_are_held_out_however_they_are_called(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "train/cat", "train/dog", f"{name}/cat", f"{name}/dog")
    probe = Probe.of(tmp_path, holdout=0.2)
    assert probe.holdout is not None
    assert held(probe.holdout) == {f"{name}/cat", f"{name}/dog"}


@pytest.mark.parametrize("wrap", ["dataset", "images", "data/archive", "pets/pets-v2/unpacked"])
@pytest.mark.parametrize("layout", ["{split}/{label}", "{label}", "{label}/{split}"])
def test_folders_that_hold_nothing_else_are_gone_through(tmp_path: Path, wrap: str, layout: str) -> None:
    kinds = ("train", "test") if "split" in layout else ("",)
    tree(tmp_path, *(f"{wrap}/{layout.format(split=kind, label=label)}" for kind in kinds for label in ("cat", "dog")))
    (tmp_path / "README.md").write_text("about")
    probe = Probe.of(tmp_path)
    assert (probe.class_names, len(probe)) == (("cat", "dog"), 6)
    assert not any("test" in folder for folder in held(probe))
    assert probe.remarks == (
        ()
        if "split" in layout
        else (f"The class folders are those in the folder {wrap}, since nothing else holds images.",)
    )


@pytest.mark.parametrize(
    ("folders", "read"),
    [
        # As archives of public datasets are unpacked.
        (
            ("seg_train/seg_train/sea", "seg_train/seg_train/ice", "seg_test/seg_test/sea", "seg_test/seg_test/ice"),
            "seg_train",
        ),
        (("cars_train/a", "cars_train/b", "cars_test/a", "cars_test/b"), "cars_train"),
        (("images/train/a", "images/train/b", "images/val/a", "images/val/b"), "images/train"),
        (("train/images/a", "train/images/b", "test/images/a", "test/images/b"), "train"),
        (("stage1_train/a", "stage1_train/b", "stage1_test"), "stage1_train"),
        (("Training/a", "Training/b", "Test/a", "Test/b", "test-multiple"), "Training"),
        (("x/train/a", "x/train/b", "x/test/a", "train/a", "train/b", "test/a"), "train"),
        (("train/a", "train/b", "test"), "train"),
        (("train/a", "train/b", "unlabeled", "results/plots", "images"), "train"),
        (("train/a", "train/b", "trainval/a", "trainval/b", "test/a"), "train"),
        (("a/train", "a/val", "a/test", "b/train", "b/val", "b/test"), "train"),
        (("a/Train", "a/TEST", "b/train", "b/Test"), "rain"),
    ],
)
def test_public_layouts_give_their_training_rows_and_no_test_rows(
    tmp_path: Path, folders: tuple[str, ...], read: str
) -> None:
    probe = Probe.of(tree(tmp_path, *folders))
    assert len(probe.class_names) == 2
    assert all(read in folder and "est" not in folder for folder in held(probe))


def test_helpers_beside_the_splits_are_nothing_and_other_folders_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "train/a", "train/b", "test/a", "test/b", "extra/a", "__MACOSX/train/a")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").touch()
    (tmp_path / "empty").mkdir()
    assert Probe.of(tmp_path).remarks == (
        "Left out: folders next to the splits: annotations (1 other file: 1 .xml), extra (1 folder).",
    )


# --- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test", "train", "dev", "val", "Testing", "test tubes", "train station", "eval"])
@pytest.mark.parametrize("inside", [None, "@eaDir", ".ipynb_checkpoints", "thumbs", "more"])
def test_a_class_called_like_a_split_is_a_class_beside_other_classes(
    tmp_path: Path, name: str, inside: str | None
) -> None:
    tree(tmp_path, "bus", "car", name)
    if inside == "thumbs":
        (tmp_path / name / inside).mkdir()
    elif inside:
        tree(tmp_path, f"{name}/{inside}", count=2)
    probe = Probe.of(tmp_path)
    assert set(probe.class_names) == {"bus", "car", name}
    assert len(probe) == (11 if inside == "more" else 9)


def test_folders_in_class_folders_are_a_part_of_the_class_and_said_where_nothing_else_holds_images(
    tmp_path: Path,
) -> None:
    tree(tmp_path, "a/1", "a/2", "b/1", "b/3/4")
    probe = Probe.of(tmp_path)
    assert (probe.class_names, len(probe)) == (("a", "b"), 12)
    assert probe.remarks == (
        "No class folder holds images itself: the images of the 2 classes are in folders inside them (1, 2, 4), whose "
        "names are not used. If these names are the classes, move these folders up.",
    )
    tree(tmp_path, "b")
    assert Probe.of(tmp_path).remarks == ()


def test_a_test_folder_of_the_same_classes_is_left_out_and_said(tmp_path: Path) -> None:
    tree(tmp_path, "cat", "dog", "test/cat", "test/dog")
    (tmp_path / "cat" / "cheat.png").symlink_to(tmp_path / "test" / "cat" / "0.png")
    probe = Probe.of(tmp_path)
    assert (probe.class_names, len(probe)) == (("cat", "dog"), 6)
    assert "taken for a test split" in probe.remarks[0]
    assert probe.skipped == (("cat/cheat.png", "a link to a test split"),)


# --- two readings: refused, and the advice works ----------------------------------------------------------------------


TWO_READINGS: list[tuple[Iterable[str], str]] = [
    (("bus", "car", "train/steam", "train/diesel"), "can be splits or classes"),
    (("bus", "car", "test/steam", "test/diesel"), "can be splits or classes"),
    (("cat", "dog", "val/cat", "val/dog"), "can be splits or classes"),
    (("bus", "car", "test", "test/bus"), "can be splits or classes"),
    (("bus", "car", "train", "val"), "can be splits or classes"),
    (("train/a", "train/b", "boats/a", "boats/b"), "can be splits or classes"),
    (("fold1/a", "fold1/b", "fold2/a", "fold2/b"), "look like parts of one dataset"),
    (("images/a", "images/b", "masks/a", "masks/b"), "look like parts of one dataset"),
    (("cat", "dog", "cat/test"), "can be a test split"),
    (("cat/a/test", "dog"), "can be a test split"),
    (("cat", "dog", "dog/test_night"), "can be a test split"),
    (("train", "test"), "hold no class folders"),
    (("train_images", "test_images"), "hold no class folders"),
    (("train2017", "val2017", "test2017"), "hold no class folders"),
    (("trainA", "trainB", "testA", "testB"), "hold no class folders"),
    (("stage1_train", "stage1_test"), "hold no class folders"),
    (("images", "test"), "hold no class folders"),
]


@pytest.mark.parametrize(("folders", "why"), TWO_READINGS)
def test_what_can_be_read_in_two_ways_is_refused_and_each_advice_settles_it(
    tmp_path: Path, folders: tuple[str, ...], why: str
) -> None:
    tree(tmp_path, *folders)
    with pytest.raises(DatasetError, match=why) as error:
        Probe.of(tmp_path)
    said = re.findall(r"split='(\w+)'", str(error.value))
    assert re.findall(r"--split (\w+)", str(error.value)) == said
    assert said
    for word in said:
        probe = Probe.of(tmp_path, split=word)
        assert probe.provenance["split"] == word
        if word == "all":
            assert {name.split("/")[0] for name in folders} == set(probe.class_names)
            assert len(probe) == 3 * len(set(folders))
        else:
            assert {folder.split("/")[0] for folder in held(probe)} == {word}
            assert any("Left out: folders next to the splits" in remark for remark in probe.remarks)
    if "move them out" in str(error.value):
        for name in re.findall(r"If ([^.]*) hold rows of splits", str(error.value))[0].split(", "):
            shutil.move(tmp_path / name, tmp_path.parent / f"{tmp_path.name}-moved-{name}")
        assert len(Probe.of(tmp_path).class_names) == 2


def test_all_makes_no_classes_of_what_is_plainly_a_test_split(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat", "train/dog", "test/cat", "test/dog")
    with pytest.raises(DatasetError, match=r"no split 'all'.*Splits: test, train; leave out split="):
        Probe.of(tmp_path, split="all")
    assert len(Probe.of(tmp_path)) == 6


def test_a_named_folder_is_the_split_though_its_name_is_unusual(tmp_path: Path) -> None:
    tree(tmp_path, "fold1/a", "fold1/b", "Fold-Zwei/a", "Fold-Zwei/b", "val/a", "val/b", "test/a", "test/b")
    probe = Probe.of(tmp_path, split="fold1", holdout=0.2)
    assert held(probe) == {"fold1/a", "fold1/b"}
    assert probe.holdout is not None
    assert held(probe.holdout) == {"val/a", "val/b"}
    assert held(Probe.of(tmp_path, split="fold-zwei")) == {"Fold-Zwei/a", "Fold-Zwei/b"}
    with pytest.raises(DatasetError, match=r"no split 'fold3'\..*Splits: test, val"):
        Probe.of(tmp_path, split="fold3")


def test_a_split_in_every_class_folder_can_be_named(tmp_path: Path) -> None:
    tree(tmp_path, "a/day", "a/night", "b/day", "b/night")
    assert held(Probe.of(tmp_path, split="night")) == {"a/night", "b/night"}


def test_class_folders_that_lack_the_training_folder_are_named(tmp_path: Path) -> None:
    tree(tmp_path, "a/train", "a/test", "b/train", "b/test", "c/test")
    with pytest.raises(
        DatasetError, match=r"c holds no folder 'train', so this class would be left out\. Add the folder"
    ):
        Probe.of(tmp_path)
    tree(tmp_path, "c/train")
    assert Probe.of(tmp_path).class_names == ("a", "b", "c")


def test_several_datasets_in_one_folder_are_refused_and_one_can_be_given(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{name}/{split}/{label}" for name in ("A", "B") for split in ("train", "test") for label in "xy"))
    for split in (None, "all"):
        with pytest.raises(DatasetError, match=r"several datasets .* for example (\S+)\.$") as error:
            Probe.of(tmp_path, split=split)
    given = re.search(r"for example (\S+)\.$", str(error.value))
    assert given is not None
    assert held(Probe.of(given[1])) == {"train/x", "train/y"}


@pytest.mark.parametrize("where", ["", "images"])
def test_a_folder_of_images_without_class_folders_says_what_works(tmp_path: Path, where: str) -> None:
    tree(tmp_path, where, count=6)
    with pytest.raises(DatasetError, match=r"6 images.* no class folders; .*metadata\.csv.*\(list of images, None\)"):
        Probe.of(tmp_path)
    images: list[Any] = [Image.open(file) for file in sorted((tmp_path / where).glob("*.png"))]
    assert len(Probe.of((images, ["a", "b"] * 3))) == 6
    assert len(Probe.of((images, None))) == 6


def test_the_layout_that_was_read_stands_in_the_provenance(tmp_path: Path) -> None:
    tree(tmp_path, "data/a/train", "data/a/test", "data/b/train", "data/b/test")
    assert Probe.of(tmp_path).provenance["source"]["layout"] == "data/CLASS/SPLIT"


def test_a_training_folder_that_is_a_link_to_the_test_split_gives_no_row(tmp_path: Path) -> None:
    tree(tmp_path, "test/a", "test/b")
    (tmp_path / "train").symlink_to(tmp_path / "test")
    with pytest.raises(DatasetError, match=r"no images in the class folders.*a link to a test split"):
        Probe.of(tmp_path)


def test_a_benchmark_holds_out_the_test_split(tmp_path: Path) -> None:
    tree(tmp_path, "train/a", "train/b", "test2017/a", "test2017/b")
    (tmp_path / "test2017" / "c").mkdir()
    probe = Probe.of(tmp_path, holdout=0.2, test_as_holdout=True)
    assert probe.holdout is not None
    assert held(probe.holdout) == {"test2017/a", "test2017/b"}
    assert len(probe.holdout) == 6


def test_the_advice_can_be_typed_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    root = tree(tmp_path / "data", "bus", "car", "train/steam", "train/diesel")
    typed = ["select", str(root), "--candidates", "embedded:plain*", "--estimators", "logme", "--quiet", "--json", "-"]
    with pytest.raises(SystemExit) as refused:
        main(typed)
    said = capsys.readouterr().err
    assert refused.value.code == 2
    for word, classes in (("all", ["bus", "car", "train"]), ("train", ["diesel", "steam"])):
        assert f"--split {word}" in " ".join(said.split())
        with pytest.raises(SystemExit) as done:
            main([*typed, "--split", word])
        assert not done.value.code
        assert json.loads(capsys.readouterr().out)["provenance"]["dataset"]["classes"] == classes


def test_validation_images_without_class_folders_are_left_out_beside_training_rows(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        folder_of(tmp_path / "train" / name, {"images": 3})
    folder_of(tmp_path / "val", {"images": 4})
    folder_of(tmp_path / "test", {"images": 4})
    probe = Probe.of(tmp_path)
    assert (probe.class_names, len(probe)) == (("n01", "n02"), 6)
    assert "Left out: folders next to the splits: val (1 folder)." in probe.remarks
    with pytest.raises(DatasetError, match="holds 1 folder but no class folders"):
        Probe.of(tmp_path, split="val")
