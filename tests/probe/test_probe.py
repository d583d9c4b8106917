"""The probe keeps its promises: stratified, seeded, fingerprinted by content, and honest about what it cannot read."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.images import UnreadableError, bombs_without_warnings, decode, verify
from modelselect.probe.probe import Probe
from modelselect.probe.sampling import allocate, choose_holdout
from tests.conftest import shared_path

CLASS_SIZES = st.lists(st.integers(0, 400), min_size=1, max_size=30).filter(lambda counts: sum(counts) > 0)


def noise(seed: int, shape: tuple[int, ...] = (8, 8, 3)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folder_of(root: Path, counts: dict[str, int], suffix: str = ".png", first: int = 0) -> Path:
    """Class folders of distinct images; `root/a/3.png` always holds the same pixels."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(noise(first + 1000 * sum(map(ord, label)) + i)).save(root / label / f"{i}{suffix}")
    return root


def pixels(probe: Probe, index: int) -> np.ndarray[Any, Any]:
    return np.asarray(probe.item(index))


def contents(probe: Probe) -> list[bytes]:
    return [pixels(probe, i).tobytes() for i in range(len(probe))]


def _encoded(mode: str, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.kron(noise(0, (7, 5, 3)), np.ones((8, 8, 1), np.uint8))).convert(mode).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


ENCODINGS = {
    "jpeg": _encoded("RGB", "JPEG"),
    "progressive jpeg": _encoded("RGB", "JPEG", progressive=True),
    "grey jpeg": _encoded("L", "JPEG"),
    "cmyk jpeg": _encoded("CMYK", "JPEG"),
    "png": _encoded("RGB", "PNG"),
    "webp": _encoded("RGB", "WEBP"),
    "bmp": _encoded("P", "BMP"),
}


# --- the sampler -----------------------------------------------------------------------------------------------------


@given(CLASS_SIZES, st.integers(1, 3000))
def test_a_stratified_sample_has_the_size_asked_for_and_never_more_than_there_is(counts: list[int], size: int) -> None:
    chosen = allocate(counts, size)
    assert chosen.sum() == min(size, sum(counts))
    assert (chosen >= 0).all()
    assert (chosen <= counts).all()


@given(CLASS_SIZES, st.integers(1, 3000))
def test_every_class_is_within_one_row_of_its_share_unless_rare_classes_must_be_kept(
    counts: list[int], size: int
) -> None:
    chosen, present = allocate(counts, size), np.array(counts) > 0
    size = min(size, sum(counts))
    shares = size * np.array(counts) / sum(counts)
    if size < present.sum() or (shares[present] >= 1).all():
        assert (np.abs(chosen - shares) < 1).all()
    else:
        assert (chosen[present] >= 1).all()
        assert (chosen[shares < 1] <= 1).all()
        assert (chosen < shares + 1).all()


@given(CLASS_SIZES, st.integers(1, 3000))
def test_a_larger_class_never_gets_fewer_rows(counts: list[int], size: int) -> None:
    order = np.argsort(counts, kind="stable")
    chosen = allocate(counts, size)
    for small, large in itertools.pairwise(order):
        assert counts[small] == counts[large] or chosen[small] <= chosen[large]


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=200), st.floats(0.01, 0.99), st.integers(0, 5))
def test_the_holdout_takes_its_share_of_every_class_and_leaves_some(labels: list[int], share: float, seed: int) -> None:
    array = np.array(labels, np.int64)
    held_out = choose_holdout(array, share, seed)
    for label in range(-1, 7):
        count, taken = int((array == label).sum()), int(held_out[array == label].sum())
        if label == -1 or count < 2:
            assert taken == 0
        else:
            assert 1 <= taken < count
            assert taken <= max(1, np.ceil(share * count))
    assert (choose_holdout(array, share, seed) == held_out).all()


@settings(max_examples=50, deadline=None)
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


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # of the reference
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P transparent", "RGB", "RGBA", "CMYK"])
def test_images_of_every_mode_become_the_rgb_that_torchvision_makes_of_them(tmp_path: Path, mode: str) -> None:
    from torchvision.datasets.folder import pil_loader

    root = folder_of(tmp_path, {"a": 1, "b": 1})
    image, options = Image.fromarray(noise(5, (9, 7, 3))), {}
    if mode == "P transparent":
        image, options = image.convert("P"), {"transparency": bytes(range(256))}
    elif mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(noise(6, (9, 7))))
    else:
        image = image.convert(mode)
    path = root / "a" / f"0.{'jpg' if mode == 'CMYK' else 'png'}"
    (root / "a" / "0.png").unlink()
    image.save(path, **options)
    item = Probe.of(root).item(0)
    assert item.mode == "RGB"
    assert np.array_equal(np.asarray(item), np.asarray(pil_loader(str(path))))


def test_16_bit_greyscale_keeps_its_contrast(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1})
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    Image.fromarray(values).save(root / "a" / "0.png")
    item = pixels(Probe.of(root), 0)
    assert np.array_equal(item[..., 0], values // 256)
    assert (item[..., 0] == item[..., 2]).all()


def test_the_exif_orientation_is_left_alone_as_torchvision_and_timm_leave_it(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1}, ".jpg")
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    Image.fromarray(noise(1, (10, 20, 3))).save(root / "a" / "0.jpg", exif=exif)
    assert Probe.of(root).item(0).size == (20, 10)


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


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ENCODINGS)), st.integers(0, 9), st.randoms(use_true_random=False))
def test_verifying_finds_exactly_what_decoding_would_fail_on(encoding: str, changes: int, random: Any) -> None:
    damaged = bytearray(ENCODINGS[encoding])
    for _ in range(changes):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    damaged = damaged[: random.choice((len(damaged), random.randrange(len(damaged))))]

    def fails(read: Callable[[bytes], Any]) -> bool:
        try:
            read(bytes(damaged))
        except UnreadableError:
            return True
        return False

    with bombs_without_warnings():
        assert fails(verify) == fails(decode)


def test_a_decompression_bomb_is_a_corrupt_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 10})
    Image.new("L", (40, 40)).save(root / "a" / "large.png")  # over the limit: PIL warns
    Image.new("L", (90, 90)).save(root / "a" / "larger.png")  # over twice the limit: PIL raises
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    skipped = dict(Probe.of(root).skipped)
    assert set(skipped) == {"a/large.png", "a/larger.png"}
    assert len(set(skipped.values())) == 1
    assert "decompression bomb" in skipped["a/large.png"]


def test_bytes_reach_image_decoders_only_whatever_the_suffix_says(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 10, "b": 10})
    Image.fromarray(noise(0)).save(root / "a" / "postscript.eps")
    (root / "a" / "postscript.eps").rename(root / "a" / "postscript.jpg")
    assert [name for name, _ in Probe.of(root).skipped] == ["a/postscript.jpg"]


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


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["val", "valid", "validation"])
def test_the_holdout_is_the_validation_split_where_there_is_one(tmp_path: Path, split: str) -> None:
    folder_of(tmp_path / "train", {"a": 6, "b": 6})
    folder_of(tmp_path / split, {"a": 2, "b": 1}, first=500)
    folder_of(tmp_path / "test", {"a": 9, "b": 9}, first=700)
    probe = Probe.of(tmp_path, holdout=0.2)
    assert probe.holdout is not None
    assert probe.holdout.labels is not None
    assert probe.holdout.labels.tolist() == [0, 0, 1]
    assert len(probe.training) == 12
    assert contents(probe.holdout) == [noise(500 + 97_000 + i).tobytes() for i in (0, 1)] + [
        noise(500 + 98_000).tobytes()
    ]
    assert Probe.of(tmp_path).holdout is None


def test_without_a_validation_split_the_holdout_is_cut_from_training_before_sampling(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 20, "b": 10})
    folder_of(tmp_path / "test", {"a": 5, "b": 5}, first=700)
    probe = Probe.of(tmp_path, size=9, holdout=0.2)
    assert probe.holdout is not None
    assert probe.holdout.labels is not None
    sampled, training, held_out = (set(contents(part)) for part in (probe, probe.training, probe.holdout))
    assert sampled < training
    assert not training & held_out
    everything = set(contents(Probe.of(tmp_path, size=None)))
    assert training | held_out == everything
    assert np.bincount(probe.holdout.labels).tolist() == [4, 2]
    assert probe.holdout.class_names == probe.class_names


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


@pytest.mark.parametrize("name", ["test", "Test", "testing"])
def test_a_dataset_of_test_rows_alone_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path / name, {"a": 3, "b": 3})
    for dataset in (tmp_path, {name: (noise(0, (6, 4, 4)), [0, 1] * 3)}):
        with pytest.raises(DatasetError, match=r"test split .* rename .* or give \(inputs, labels\)"):
            Probe.of(dataset)


def test_the_test_split_cannot_be_asked_for_by_name_nor_by_its_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 3, "b": 3})
    folder_of(tmp_path / "test", {"a": 3, "b": 3})
    for arguments in ({"dataset": tmp_path, "split": "test"}, {"dataset": tmp_path / "test"}):
        with pytest.raises(DatasetError, match="test split"):
            Probe.of(**arguments)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="test split"):
        Probe.of("nobody/nothing", split="train+test[:10%]")


def test_classes_called_train_or_test_are_classes_when_they_hold_images(tmp_path: Path) -> None:
    assert Probe.of(folder_of(tmp_path, {"train": 3, "bus": 3})).class_names == ("bus", "train")


def test_splits_without_class_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="hold no class folders"):
        Probe.of(folder_of(tmp_path, {"train": 3, "test": 3}))


def test_a_split_can_be_named_and_a_wrong_name_is_met_with_a_suggestion(tmp_path: Path) -> None:
    for split in ("train", "extra"):
        folder_of(tmp_path / split, {"a": 2, "b": 2}, first=len(split))
    data = {split: (noise(len(split), (4, 4, 4)), [0, 1] * 2) for split in ("train", "extra")}
    assert Probe.of(data, split="extra").provenance["split"] == "extra"
    with pytest.raises(DatasetError, match="Did you mean 'train'"):
        Probe.of(data, split="trian")
    with pytest.raises(DatasetError, match="splits extra, other"):
        Probe.of({"extra": data["extra"], "other": data["train"]})


def test_validation_classes_that_training_lacks_are_an_error(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", {"a": 2, "b": 2})
    folder_of(tmp_path / "val", {"a": 2, "bee": 2})
    with pytest.raises(DatasetError, match="classes that the training split lacks: bee"):
        Probe.of(tmp_path, holdout=0.1)


# --- labels, duplicates, arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names", "expected", "label_map"),
    [
        ([3, 7, 3, -1], ("3", "7"), [0, 1, 0, -1], {"3": 0, "7": 1}),
        (["dog", "cat", "dog", None], ("cat", "dog"), [1, 0, 1, -1], {"cat": 0, "dog": 1}),
        ([True, False, True, True], ("False", "True"), [1, 0, 1, 1], {"False": 0, "True": 1}),
        ([1, 0, None, 1], ("0", "1"), [1, 0, -1, 1], {"0": 0, "1": 1}),
        (["dog", float("nan"), "cat", None], ("cat", "dog"), [1, -1, 0, -1], {"cat": 0, "dog": 1}),
        (["a", "a\0", "a", "a\0"], ("a", "a\0"), [0, 1, 0, 1], {"a": 0, "a\0": 1}),
        (np.array([2, 0, 1, 2], np.uint8), ("0", "1", "2"), [2, 0, 1, 2], {"0": 0, "1": 1, "2": 2}),
    ],
)
def test_labels_of_any_kind_become_class_indices_and_the_map_is_kept(
    labels: Any, names: tuple[str, ...], expected: list[int], label_map: dict[str, int]
) -> None:
    probe = Probe.of((np.eye(4), labels))
    assert probe.labels is not None
    assert probe.labels.tolist() == expected
    assert probe.labels.dtype == np.int64
    assert not probe.labels.flags.writeable
    assert probe.class_names == names
    assert probe.n_classes == len(names)
    assert probe.provenance["label_map"] == label_map


def test_class_names_can_be_written_whatever_the_labels_are() -> None:
    assert Probe.of((np.eye(4), ["a", "b\ud800"] * 2)).class_names == ("a", "b\\ud800")


def test_unlabelled_rows_only_fill_what_labelled_ones_leave() -> None:
    labels = np.array([0, 1, -1, -1, -1] * 10)
    full = Probe.of((np.arange(100.0).reshape(50, 2), labels), size=30).labels
    part = Probe.of((np.arange(100.0).reshape(50, 2), labels), size=10).labels
    assert full is not None
    assert part is not None
    assert Counter(full.tolist()) == {0: 10, 1: 10, -1: 10}
    assert Counter(part.tolist()) == {0: 5, 1: 5}


def test_wholly_unlabelled_rows_have_no_labels_and_no_holdout() -> None:
    for labels in (None, [-1] * 6):
        probe = Probe.of((np.arange(12.0).reshape(6, 2), labels), size=4)
        assert probe.labels is None
        assert probe.n_classes == 0
        assert len(probe) == 4
        with pytest.raises(DatasetError, match="no labels"):
            Probe.of((np.eye(6), labels), holdout=0.5)


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


def test_a_probe_comes_back_as_it_is() -> None:
    probe = Probe.of((np.eye(4), [0, 1, 0, 1]))
    assert Probe.of(probe) is probe


# --- torch datasets --------------------------------------------------------------------------------------------------


def test_a_torch_dataset_gives_the_probe_that_its_arrays_give() -> None:
    import torch
    from torch.utils.data import Dataset, Subset, TensorDataset

    images, targets = noise(0, (40, 3, 8, 8)), np.arange(40) % 4
    expected = Probe.of((np.moveaxis(images, 1, -1), targets), size=12)

    class Pictures(Dataset[Any]):
        classes = ("ant", "bee", "cow", "dog")

        def __len__(self) -> int:
            return 40

        def __getitem__(self, row: int) -> tuple[Image.Image, int]:
            return Image.fromarray(np.moveaxis(images[row], 0, -1)), int(targets[row])

    tensors = TensorDataset(torch.from_numpy(images), torch.from_numpy(targets))
    for dataset in (tensors, Pictures(), Subset(Pictures(), list(range(40)))):
        probe = Probe.of(dataset, size=12)
        assert probe.modality == "image"
        assert probe.labels is not None
        assert expected.labels is not None
        assert probe.labels.tolist() == expected.labels.tolist()
        assert contents(probe) == contents(expected)
    assert probe.class_names == Pictures.classes
    assert Probe.of(TensorDataset(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))).modality == "array"


def test_a_torch_dataset_is_sampled_without_reading_all_of_it() -> None:
    from torch.utils.data import Dataset

    reads = []

    class Counted(Dataset[Any]):
        targets = [0, 1] * 5000

        def __len__(self) -> int:
            return 10_000

        def __getitem__(self, row: int) -> tuple[Any, int]:
            reads.append(row)
            return noise(row, (4, 4)), row % 2

    Probe.of(Counted(), size=20)
    assert len(reads) < 40


def test_a_torch_dataset_that_would_mislead_is_refused() -> None:
    from torch.utils.data import Dataset, IterableDataset, Subset

    class Base(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, row: int) -> Any:
            return noise(row, (4, 4)), row % 2

    class Random(Base):
        def __getitem__(self, row: int) -> Any:
            return np.random.default_rng().integers(0, 256, (4, 4), dtype=np.uint8), row % 2

    class Shifted(Base):
        targets = [1, 0] * 10

    class HeldBack(Base):
        train = False

    class Dicts(Base):
        def __getitem__(self, row: int) -> Any:
            return {"image": noise(row), "label": row % 2}

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([])

    for dataset, message in (
        (Random(), "random transform"),
        (Shifted(), "in the dataset's list of labels"),
        (Subset(HeldBack(), [0, 1, 2]), "test split"),
        (Dicts(), "yields dict"),
        (Stream(), "IterableDataset"),
    ):
        with pytest.raises(DatasetError, match=message):
            Probe.of(dataset)


# --- datasets --------------------------------------------------------------------------------------------------------


def table(n_rows: int = 12, label: Any = None, first: int = 0) -> Any:
    import datasets

    label = label or datasets.ClassLabel(names=["unused", "cat", "dog"])
    return datasets.Dataset.from_dict(
        {
            "caption": [f"number {i}" for i in range(n_rows)],
            "image": [Image.fromarray(noise(first + i)) for i in range(n_rows)],
            "label": [1 + i % 2 for i in range(n_rows)],
        },
        features=datasets.Features({"caption": datasets.Value("string"), "image": datasets.Image(), "label": label}),
    )


def test_the_columns_of_a_datasets_dataset_are_found_and_its_images_are_equal() -> None:
    data = table()
    probe = Probe.of(data, size=6)
    assert probe.modality == "image"
    assert probe.class_names == ("cat", "dog")
    assert probe.provenance["label_map"] == {"1": 0, "2": 1}
    same = Probe.of((np.stack([np.asarray(image) for image in data[:]["image"]]), data[:]["label"]), size=6)
    assert contents(probe) == contents(same)
    shuffled = data.select([*range(6, 12), *range(6)]).with_format("numpy")
    assert set(contents(Probe.of(shuffled))) == set(contents(Probe.of(data)))


def test_text_columns_are_carried_through_and_minus_one_is_unlabelled() -> None:
    import datasets

    data = datasets.Dataset.from_dict(
        {"id": ["x", "y", "z", "w"], "text": ["a", "b", "c", "d"], "label": [0, 1, -1, None]},
        features=datasets.Features(
            {
                "id": datasets.Value("string"),
                "text": datasets.Value("string"),
                "label": datasets.ClassLabel(names=["no", "yes"]),
            }
        ),
    )
    probe = Probe.of(data)
    assert probe.modality == "text"
    assert probe.labels is not None
    assert probe.labels.tolist() == [0, 1, -1, -1]
    assert [probe.item(i) for i in range(4)] == ["a", "b", "c", "d"]
    assert Probe.of(data, input="id").item(3) == "w"


def test_integer_and_string_label_columns_serve_and_others_are_met_with_the_list_of_columns() -> None:
    import datasets

    assert Probe.of(table(label=datasets.Value("int32"))).class_names == ("1", "2")
    named = datasets.Dataset.from_dict({"text": list("abcd"), "class": ["x", "y"] * 2})
    assert Probe.of(named).class_names == ("x", "y")
    with pytest.raises(DatasetError, match=r"no label column .* caption \(string\), image \(Image\), kind \(int64\)"):
        Probe.of(table(label=datasets.Value("int64")).rename_column("label", "kind"))
    with pytest.raises(DatasetError, match="from arrays, which has no columns"):
        Probe.of((np.eye(2), [0, 1]), label="label")
    with pytest.raises(DatasetError, match=r"'lable' is not a column\. Did you mean 'label'"):
        Probe.of(table(), label="lable")
    with pytest.raises(DatasetError, match="'label' are float64"):
        Probe.of(datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0.0, 1.0]}))


def test_a_saved_dataset_and_its_splits_are_read_from_disk(tmp_path: Path) -> None:
    import datasets

    parts = datasets.DatasetDict({"train": table(), "validation": table(6, first=50), "test": table(8, first=90)})
    parts.save_to_disk(tmp_path / "saved")
    probe, direct = Probe.of(tmp_path / "saved", holdout=0.1), Probe.of(parts, holdout=0.1)
    assert probe.fingerprint == direct.fingerprint
    assert probe.holdout is not None
    assert len(probe.holdout) == 6
    assert len(pickle.dumps(probe)) < 20_000  # the file is referred to, not copied
    state = tmp_path / "saved" / "train" / "state.json"
    state.write_text(state.read_text().replace("data-00000", "../../../data-00000"))
    with pytest.raises(DatasetError, match="outside that folder"):
        Probe.of(tmp_path / "saved")


def test_an_images_path_does_not_leave_a_saved_dataset(tmp_path: Path) -> None:
    import datasets

    outside = folder_of(tmp_path / "private", {"a": 1})
    images = [{"bytes": ENCODINGS["png"], "path": None} for i in range(19)] + [
        {"bytes": None, "path": str(outside / "a" / "0.png")}
    ]
    data = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * 10})
    data.save_to_disk(tmp_path / "saved")  # as plain columns, so that the path is not embedded
    info = tmp_path / "saved" / "dataset_info.json"
    description = json.loads(info.read_text())
    description["features"]["image"] = {"_type": "Image"}
    info.write_text(json.dumps(description))
    assert Probe.of(tmp_path / "saved").skipped == (("row 19", "the image's path leaves the dataset's folder"),)


def test_the_hub_is_asked_for_owner_and_name_unless_a_folder_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked = []

    def load(path: str, config: str | None, split: str | None) -> Any:
        asked.append((path, config, split))
        return table() if split else datasets.DatasetDict({"train": table(), "test": table(8)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.chdir(tmp_path)
    assert Probe.of("owner/pets:small").name == "owner/pets:small"
    assert len(Probe.of("owner/pets", split="train[:10%]")) == 12
    assert asked == [("owner/pets", "small", None), ("owner/pets", None, "train[:10%]")]
    folder_of(tmp_path / "owner" / "pets", {"a": 1, "b": 1})
    assert len(Probe.of("owner/pets")) == 2
    assert len(asked) == 2


def test_a_hub_dataset_out_of_reach_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(*_: Any, **__: Any) -> Any:
        raise ConnectionError("Couldn't reach 'owner/pets' on the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DatasetError, match=r"'owner/pets' is not a folder .* Couldn't reach .*save_to_disk"):
        Probe.of("owner/pets")


def test_a_dataset_marked_as_test_or_streamed_is_refused() -> None:
    import datasets

    data = table()
    marked = datasets.Dataset(data.data, info=data.info, split=datasets.Split.TEST)
    with pytest.raises(DatasetError, match="test split"):
        Probe.of(marked)
    assert len(Probe.of({"train": marked})) == 12  # renaming the split says that it is not a test set
    with pytest.raises(DatasetError, match="IterableDataset"):
        Probe.of(data.to_iterable_dataset())


# --- bad input -------------------------------------------------------------------------------------------------------


def test_folders_that_hold_no_classes_are_met_with_the_layout_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "one", {"a": 3})
    folder_of(tmp_path / "deep" / "unpacked", {"a": 3, "b": 3})
    (tmp_path / "tables" / "a").mkdir(parents=True)
    (tmp_path / "tables" / "a" / "rows.csv").write_text("1,2")
    for name, message in (
        ("empty", "is empty; expected FOLDER/CLASS"),
        ("one/a", "holds 3 images but no class folders"),
        ("one", "has one class, 'a'"),
        ("deep", r"no images in the class folders .*unpacked/a"),
        ("tables", r"no images .* files of other kinds \(\.csv\)"),
        ("on", "there is no folder .* Did you mean .*one"),
        ("tables/a/rows.csv", "is a file"),
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


def test_one_image_per_class_is_a_probe_without_a_holdout(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a": 1, "b": 1, "c": 1})
    assert len(Probe.of(root)) == 3
    with pytest.raises(DatasetError, match=r"3 of the 3 classes .* only one row"):
        Probe.of(root, holdout=0.2)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ((np.eye(4), [0, 1, 0]), "3 labels for 4 inputs"),
        ((np.eye(4), [0.0, 1.0, 0.0, 1.0]), r"float64; expected integers"),
        ((np.eye(4), np.eye(4)), r"argmax"),
        ((np.eye(4), [0, 1, -2, 1]), "hold -2"),
        ((np.eye(4), [0, 0, -1, 0]), r"one class.*1 rows are labelled -1"),
        ((np.eye(4), [0, "a", None, 1]), "integer and string"),
        ((np.eye(4), ["0", "a", 1, "0"]), "integer and string"),
        ((np.eye(4), [[0], [1, 2], [1], [0]]), "different lengths"),
        ((np.zeros((4, 0)), [0, 1] * 2), r"shape \(4, 0\)"),
        ("", "empty text"),
        ("a" * 5000, "is not a path"),
        ((np.array([[0.0, np.nan]] * 4), [0, 1] * 2), "NaN or infinity, first in row 0"),
        (([np.zeros(2), np.array([np.inf, 0])], [0, 1]), "NaN or infinity, first in row 1"),
        ((np.arange(4.0), [0, 1] * 2), r"shape \(4,\)"),
        ((noise(0, (4, 5, 5, 7)), [0, 1] * 2), "expected an image"),
        ((["a", Image.new("L", (2, 2))], [0, 1]), "image and text"),
        (([Path("a.jpg"), Path("b.jpg")], [0, 1]), "give the folder"),
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
        assert record["source"] == {"kind": "folder", "path": str(root.resolve())}
        assert set(record["versions"]) >= {"modelselect", "numpy", "pillow"}
    assert probe.provenance["requested_size"] == 18
    assert probe.provenance["holdout"] == {"split": "all", "rows": len(probe.holdout)}  # type: ignore[arg-type]
    assert probe.training.provenance["skipped"] in ([], [["a/bad.png", dict(probe.training.skipped).get("a/bad.png")]])


def test_a_row_that_vanishes_later_is_an_error_that_names_it(tmp_path: Path) -> None:
    probe = Probe.of(folder_of(tmp_path, {"a": 2, "b": 2}))
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"a/1\.png .* not now \(No such file"):
        probe.item(1)


def test_a_probe_of_a_folder_imports_neither_torch_nor_datasets(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a": 2, "b": 2})
    code = (
        "import sys; from modelselect.probe import Probe; Probe.of(sys.argv[1], holdout=0.5).item(0); "
        "print(sorted({'torch', 'datasets', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
