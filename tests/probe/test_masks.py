"""Images with masks from every form, the same pixels from each; and one error for each fault."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import DatasetError
from modelselect.probe import masks
from modelselect.probe.masks import PER_CLASS, SIDE, MaskRows, has_masks
from modelselect.utils.pixels import Pixel


def scenes(count: int = 12, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images of different sizes with two shapes each, and their masks; the first rows do not count."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        height, width = rng.integers(40, 70, 2)
        mask = np.zeros((height, width), np.uint8)
        mask[5:20, 5:25] = 1
        mask[25:38, 10:30] = 2
        mask[:2] = 255
        colours = np.array([[90, 90, 90], [220, 60, 40], [40, 80, 220]])[np.where(mask == 255, 0, mask)]
        images.append((colours + rng.integers(0, 30, (height, width, 3))).clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return images, masks


def write(
    folder: Path, images: list[np.ndarray], masks: list[np.ndarray], places: tuple[str, str] = ("images", "masks")
) -> Path:
    """Images in one folder, and masks of the same names in another."""
    for place, arrays in zip(places, (images, masks), strict=True):
        (folder / place).mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(folder / place / f"{number:03}.png")
    return folder


def encoded(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()


def in_palette(mask: np.ndarray) -> Any:
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.reshape(-1).tolist())
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    return image


def forms(folder: Path) -> dict[str, Any]:
    """The scenes in every form that is read."""
    import datasets

    images, masks = scenes()
    write(folder / "plain", images, masks)
    write(folder / "named", images, masks, ("images", "annotations"))
    columns = {
        "image": [{"bytes": encoded(image), "path": None} for image in images],
        "mask": [{"bytes": encoded(mask), "path": None} for mask in masks],
    }
    features = datasets.Features({name: datasets.Image() for name in columns})
    table = datasets.Dataset.from_dict(columns, features=features)
    table.to_parquet(folder / "table.parquet")
    return {
        "folder": folder / "plain",
        "another name": folder / "named",
        "lists": (images, masks),
        "palettes": (list(map(Image.fromarray, images)), list(map(in_palette, masks))),
        "dataset": table,
        "parquet": folder / "table.parquet",
        "frame": table.to_pandas(),
    }


def test_every_form_gives_the_same_pixels(tmp_path: Path) -> None:
    images, masks = scenes()
    for form, data in forms(tmp_path).items():
        probe = ms.Probe.of(data)
        assert (probe.unit, probe.modality, probe.class_names) == ("pixel", "image", ("0", "1", "2")), form
        assert probe.labels is not None
        assert probe.groups is not None
        assert np.bincount(probe.labels).tolist() == [12 * PER_CLASS] * 3
        for row in range(0, len(probe), 7):
            item = probe.item(row)
            assert isinstance(item, Pixel)
            group = int(probe.groups[row])
            y, x = (int(share * side) for share, side in zip((item.y, item.x), masks[group].shape, strict=True))
            assert masks[group][y, x] == probe.labels[row], form
            np.testing.assert_array_equal(np.asarray(item.image), images[group])
    assert len({ms.Probe.of(data).fingerprint for data in forms(tmp_path / "again").values()}) == 1


def test_an_image_is_on_one_side_and_its_mask_is_taken_at_one_size(tmp_path: Path) -> None:
    images, masks = scenes()
    probe = ms.Probe.of((images, masks), size=60, holdout=0.25)
    assert probe.holdout is not None
    training, held = probe.training.wholes, probe.holdout.wholes
    assert training is not None
    assert held is not None
    assert len(training) == 9
    assert not set(training.groups) & set(held.groups)
    for row, group in enumerate(held.groups.tolist()):
        nearest = Image.fromarray(masks[group]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        expected = np.where(np.asarray(nearest) == 255, -1, np.asarray(nearest, np.int64))
        np.testing.assert_array_equal(held.targets[row], expected)
        np.testing.assert_array_equal(np.asarray(held.item(row)), images[group])


def test_splits_are_folders_of_images_and_masks_or_folders_in_these(tmp_path: Path) -> None:
    images, masks = scenes()
    write(tmp_path / "a" / "train", images[:9], masks[:9])
    write(tmp_path / "a" / "val", images[9:], masks[9:])
    write(tmp_path / "b", images[:9], masks[:9], ("images/train", "masks/train"))
    write(tmp_path / "b", images[9:], masks[9:], ("images/val", "masks/val"))
    found = [ms.Probe.of(tmp_path / name, holdout=0.2) for name in "ab"]
    for probe in found:
        assert probe.holdout is not None
        assert probe.training.wholes is not None
        assert probe.holdout.wholes is not None
        assert (len(probe.training.wholes), len(probe.holdout.wholes)) == (9, 3)
    assert found[0].fingerprint == found[1].fingerprint


def test_an_image_that_cannot_be_read_costs_its_pixels(tmp_path: Path) -> None:
    images, masks = scenes()
    folder = write(tmp_path / "data", images, masks)
    (folder / "images" / "003.png").write_bytes((folder / "images" / "003.png").read_bytes()[:200])
    probe = ms.Probe.of(folder)
    assert probe.groups is not None
    assert 3 not in probe.groups
    assert len(probe.skipped) == 3 * PER_CLASS
    masks[5][:] = 255
    probe = ms.Probe.of((images, masks))
    assert ("row 5", "its mask holds no class") in probe.skipped


def test_the_pixels_of_a_class_are_drawn_by_the_mask_alone() -> None:
    """What `flatnonzero` finds of each class, in the order of the classes."""
    images, masks = scenes(3)
    rows = MaskRows([("a", lambda: images[0], lambda: masks[0]), ("b", lambda: images[1], lambda: masks[1])])
    rng = np.random.default_rng(zlib.crc32(masks[0].astype(np.int32).tobytes()))
    for value in range(3):
        there = np.flatnonzero(masks[0] == value)
        chosen = np.sort(rng.choice(there, PER_CLASS, replace=False))
        found = [rows.place(row) for row in range(value * PER_CLASS, (value + 1) * PER_CLASS)]
        assert found == np.stack(np.unravel_index(chosen, masks[0].shape), axis=1).tolist()


@pytest.mark.parametrize("path", [None, "../elsewhere.png"])
def test_a_mask_that_a_table_does_not_hold_is_one_clear_error(tmp_path: Path, path: str | None) -> None:
    import datasets

    images, masks = scenes(3)
    cells: list[Any] = [{"bytes": encoded(mask), "path": None} for mask in masks]
    cells[1] = None if path is None else {"bytes": None, "path": path}
    columns = {"image": [{"bytes": encoded(image), "path": None} for image in images], "mask": cells}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(dict.fromkeys(columns, datasets.Image())))
    with pytest.raises(DatasetError, match=r"the mask of row 1 (is missing|cannot be read)"):
        ms.Probe.of(table)


def changed(**given: Any) -> tuple[Any, Any]:
    images, masks = scenes(3)
    return given.get("images", images), given.get("masks", masks)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(masks=[np.full((9, 9), 255)] * 3), "no mask holds a class: all pixels .* are 255 or -1"),
        (
            changed(masks=[np.where(mask == 1, 255, 0) for mask in scenes(3)[1]]),
            "all pixels that count have the class 0",
        ),
        (changed(masks=[mask[:-1] for mask in scenes(3)[1]]), "the mask of row 0 has .* expected the same size"),
        (changed(masks=[np.full(mask.shape, np.nan) for mask in scenes(3)[1]]), "the mask of row 0 holds NaN or inf"),
        (changed(masks=[mask + 0.5 for mask in scenes(3)[1]]), "numbers that are not whole"),
        (changed(masks=[mask.astype(int) - 7 for mask in scenes(3)[1]]), "the mask of row 0 holds -7"),
        (changed(masks=[mask.astype(int) + 2**32 for mask in scenes(3)[1]]), "the mask of row 0 holds 42949"),
        (changed(masks=[mask.astype(float) - 1e20 for mask in scenes(3)[1]]), "the mask of row 0 holds -10000"),
        (changed(masks=scenes(3)[1][:2]), "there are 3 images and 2 masks"),
        (
            changed(masks=[Image.fromarray(image) for image in scenes(3)[0]]),
            "an image of the mode RGB; expected the class",
        ),
    ],
)
def test_each_fault_is_one_clear_error(data: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ms.Probe.of(data)


def test_images_without_masks_lossy_masks_and_damaged_masks_are_refused(tmp_path: Path) -> None:
    images, masks = scenes(4)
    folder = write(tmp_path / "a", images, masks)
    (folder / "masks" / "002.png").unlink()
    with pytest.raises(DatasetError, match=r"there is no mask in .* for 002\.png; expected a mask of the same name"):
        ms.Probe.of(folder)
    Image.fromarray(masks[2]).save(folder / "masks" / "002.jpg")
    with pytest.raises(DatasetError, match=r"the mask of 002\.png is a JPEG file"):
        ms.Probe.of(folder)
    (folder / "masks" / "002.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"the mask of 002\.png cannot be read"):
        ms.Probe.of(folder)
    with pytest.raises(DatasetError, match=r"holds images and masks\. Leave both out"):
        ms.Probe.of(folder, label="mask")


def test_depths_are_no_classes() -> None:
    images = [np.zeros((90, 90, 3), np.uint8)] * 3
    with pytest.raises(
        DatasetError, match="the mask of row 0 holds 8,099 different numbers; expected the number of a class"
    ):
        ms.Probe.of((images, [np.arange(8100).reshape(90, 90)] * 3))
    objects = [np.arange(8100).reshape(90, 90) % 1200 + 1000 + 1200 * number for number in range(3)]
    with pytest.raises(DatasetError, match="the 3 masks hold 3,600 different numbers"):
        ms.Probe.of((images, objects))


def test_a_large_mask_is_drawn_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, targets = [np.zeros((60, 70, 3), np.uint8)] * 3, [rng.integers(-1, 9, (60, 70)) for _ in range(3)]
    targets[1][targets[1] == 4] = 255
    expected = ms.Probe.of((images, targets), size=None)
    monkeypatch.setattr(masks, "_SORTED", 100)
    found = ms.Probe.of((images, targets), size=None)
    assert found.fingerprint == expected.fingerprint
    assert [found.row_name(row) for row in range(len(found))] == [expected.row_name(row) for row in range(len(found))]


def test_a_mask_is_read_by_no_decoder_that_runs_programs_and_from_files_only(tmp_path: Path) -> None:
    images, targets = scenes(3)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    folder = write(tmp_path / "a", images, targets)
    (folder / "masks/001.png").write_bytes(postscript)
    with pytest.raises(DatasetError, match=r"the mask of 001.png cannot be read"):
        ms.Probe.of(folder)
    for place in ("images", "masks"):
        folder = write(tmp_path / f"pipe in {place}", images, targets)
        (folder / place / "001.png").unlink()
        os.mkfifo(folder / place / "001.png")
        with pytest.raises(DatasetError, match="not a file, but a folder, a pipe or a device"):
            ms.Probe.of(folder, max_corrupt=0.1)
    folder = write(tmp_path / "large", images, targets)
    with (folder / "masks/001.png").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(DatasetError, match="has 1,099,511,627,776 bytes"):
        ms.Probe.of(folder)


def test_texts_about_boxes_are_no_masks(tmp_path: Path) -> None:
    """`images/` and `labels/` of text files, as YOLO has them."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / "0.png")
    (tmp_path / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert not has_masks(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "labels" / "0.png")
    assert has_masks(tmp_path)
