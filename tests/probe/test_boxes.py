"""Images with boxes from every form, the same rows from each; and one error for each fault."""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

import modelselect as ms
from modelselect.errors import DatasetError
from modelselect.probe import boxes as module
from modelselect.probe.boxes import MOST_OVERLAP, _objects
from modelselect.probe.coco import open_coco
from modelselect.utils.boxes import BACKGROUND, Box, Boxes, overlaps

NAMES = ("cup", "plate")
Target = tuple[list[list[float]], list[str]]


def scenes(count: int = 12, seed: int = 0) -> tuple[list[np.ndarray], list[Target]]:
    """Textures of different sizes with a red and a blue shape; every fourth image has none."""
    rng = np.random.default_rng(seed)
    images, targets = [], []
    for number in range(count):
        height, width = rng.integers(48, 70, 2).tolist()
        image = 90 + rng.integers(0, 40, (height, width, 3))
        boxes: list[list[float]] = []
        labels: list[str] = []
        for name, colour in zip(NAMES, ((220, 60, 40), (40, 80, 220)), strict=True) if number % 4 else ():
            w, h = rng.integers(12, 20, 2).tolist()
            x, y = (rng.integers(0, (width - w, height - h))).tolist()
            image[y : y + h, x : x + w] = colour
            boxes.append([float(x), float(y), float(w), float(h)])
            labels.append(name)
        images.append(image.astype(np.uint8))
        targets.append((boxes, labels))
    return images, targets


def coco(targets: list[Target], sizes: list[tuple[int, ...]], /, **settings: Any) -> dict[str, Any]:
    """The content of a file in COCO's format, with category ids that are not in order."""
    ids = {"cup": 7, "plate": 3}
    described = [
        {"id": 100 + number, "file_name": f"{number:03}.png", "width": width, "height": height}
        for number, (height, width) in enumerate(sizes)
    ]
    annotations = [
        {"image_id": 100 + number, "category_id": ids[name], "bbox": box, "iscrowd": 0, "area": box[2] * box[3]}
        for number, (boxes, names) in enumerate(targets)
        for box, name in zip(boxes, names, strict=True)
    ]
    annotations = [{"id": number} | each for number, each in enumerate(annotations)]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"info": {}, "images": described, "annotations": annotations, "categories": categories} | settings


def write(
    folder: Path,
    images: list[np.ndarray],
    targets: list[Target],
    /,
    *,
    images_in: str = "images",
    file: str = "annotations.json",
    **settings: Any,
) -> Path:
    """Image files, and a file in COCO's format."""
    place = folder / images_in
    place.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(place / f"{number:03}.png")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    content = coco(targets, [image.shape[:2] for image in images], **settings)
    (folder / file).write_text(json.dumps(content))
    return folder


def encoded(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()


def table(images: list[np.ndarray], targets: list[Target], *, as_lists: bool = False) -> Any:
    """Columns as datasets on the Hub have them: a dict of lists, or a list of dicts."""
    import datasets

    of_class, box = datasets.ClassLabel(names=["plate", "cup"]), datasets.List(datasets.Value("float32"), 4)
    numbers = [[["plate", "cup"].index(name) for name in names] for _, names in targets]
    objects: list[Any]
    if as_lists:
        feature: Any = datasets.List({"bbox": box, "category": of_class})
        objects = [
            [{"bbox": box, "category": label} for box, label in zip(boxes, labels, strict=True)]
            for (boxes, _), labels in zip(targets, numbers, strict=True)
        ]
    else:
        feature = {"bbox": datasets.List(box), "category": datasets.List(of_class)}
        objects = [{"bbox": boxes, "category": labels} for (boxes, _), labels in zip(targets, numbers, strict=True)]
    columns = {"image_id": list(range(len(images))), "image": [{"bytes": encoded(i), "path": None} for i in images]}
    features = datasets.Features({"image_id": datasets.Value("int64"), "image": datasets.Image(), "objects": feature})
    return datasets.Dataset.from_dict(columns | {"objects": objects}, features=features)


def forms(folder: Path) -> dict[str, Any]:
    """The scenes in every form that is read."""
    images, targets = scenes()
    write(folder / "beside", images, targets, images_in=".")
    write(folder / "above", images, targets)
    write(folder / "coco", images, targets, images_in="train2017", file="annotations/instances_train2017.json")
    write(folder / "named", images, targets, images_in="images/train", file="annotations/train.json")
    write(folder / "exported", images, targets, images_in="train", file="train/_annotations.coco.json")
    lines = folder / "lines"
    shutil.copytree(folder / "above/images", lines)
    (lines / "metadata.jsonl").write_text(
        "\n".join(
            json.dumps({"file_name": f"{number:03}.png", "objects": {"bbox": boxes, "categories": names}})
            for number, (boxes, names) in enumerate(targets)
        )
    )
    rows = table(images, targets)
    rows.to_parquet(folder / "table.parquet")
    return {
        "beside": folder / "beside",
        "above": folder / "above",
        "the folder of images": folder / "above/images",
        "coco": folder / "coco",
        "a split of coco": folder / "coco/train2017",
        "named after the split": folder / "named",
        "exported": folder / "exported",
        "file": folder / "coco/annotations/instances_train2017.json",
        "lines": lines,
        "lines alone": lines / "metadata.jsonl",
        "pair": (images, targets),
        "images and arrays": (list(map(Image.fromarray, images)), [(torch.tensor(b), n) for b, n in targets]),
        "rows": list(zip(images, targets, strict=True)),
        "dataset": rows,
        "list of dicts": table(images, targets, as_lists=True),
        "parquet": folder / "table.parquet",
        "frame": rows.to_pandas().drop(columns="image_id"),
    }


def names_of(targets: list[Target]) -> list[str]:
    return [name for _, names in targets for name in names]


def test_every_form_gives_the_same_boxes(tmp_path: Path) -> None:
    images, targets = scenes()
    fingerprints = {}
    for form, data in forms(tmp_path).items():
        probe = ms.Probe.of(data)
        assert (probe.unit, probe.modality) == ("box", "image"), form
        assert probe.labels is not None
        assert probe.groups is not None
        assert probe.class_names == (BACKGROUND, *(NAMES if form != "frame" else ("0", "1"))), form
        assert np.bincount(probe.labels).tolist() == [21, 9, 9], form
        fingerprints[form] = probe.fingerprint
        found: list[list[Any]] = [[] for _ in images]
        for row in range(len(probe)):
            item, group = probe.item(row), int(probe.groups[row])
            assert isinstance(item, Box)
            np.testing.assert_array_equal(np.asarray(item.image), images[group])
            if probe.labels[row]:
                found[group].append(np.array(item.corners) * np.tile(item.image.size, 2))
        for corners, (boxes, _) in zip(found, targets, strict=True):
            expected = [[x, y, x + w, y + h] for x, y, w, h in boxes]
            np.testing.assert_allclose(np.reshape(corners, (-1, 4)), np.reshape(expected, (-1, 4)), atol=1e-4)
    del fingerprints["frame"]  # its classes are numbers, in another order
    assert len(set(fingerprints.values())) == 1, fingerprints


def test_background_overlaps_no_object_as_torchvision_counts_it() -> None:
    images, targets = scenes(40)
    probe = ms.Probe.of((images, targets), size=None)
    again = ms.Probe.of((images, targets), size=None, seed=5)
    assert probe.labels is not None
    assert probe.groups is not None
    corners = np.array([probe.item(row).corners for row in range(len(probe))])
    np.testing.assert_array_equal(corners, np.array([again.item(row).corners for row in range(len(again))]))
    for group, (image, (boxes, _)) in enumerate(zip(images, targets, strict=True)):
        free = corners[(probe.groups == group) & (probe.labels == 0)] * np.tile(image.shape[1::-1], 2)
        assert len(free) == max(1, len(boxes))
        assert (free >= 0).all()
        assert (free[:, 2:] <= image.shape[1::-1]).all()
        own = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes]).reshape(-1, 4)
        theirs = box_iou(torch.tensor(free), torch.tensor(own)).numpy()
        np.testing.assert_allclose(overlaps(free, own), theirs, atol=1e-9)
        assert (theirs <= MOST_OVERLAP + 1e-9).all()


def test_an_image_is_on_one_side_with_all_its_boxes() -> None:
    images, targets = scenes(16)
    probe = ms.Probe.of((images, targets), size=20, holdout=0.25)
    assert probe.holdout is not None
    training, held = probe.training.wholes, probe.holdout.wholes
    assert training is not None
    assert held is not None
    assert not set(training.groups) & set(held.groups)
    assert training.targets.shape == (len(training), 4)
    for row, group in enumerate(training.groups.tolist()):
        whole, (boxes, names) = training.item(row), targets[group]
        assert isinstance(whole, Boxes)
        expected = [1 + NAMES.index(name) for name in names]
        assert training.targets[row].tolist() == (expected + [0] * len(expected) if expected else [0, -1, -1, -1])
        sides = np.tile(whole.image.size, 2)
        for corners, (x, y, w, h) in zip(whole.corners * sides, boxes, strict=False):
            np.testing.assert_allclose(corners, [x, y, x + w, y + h], atol=1e-3)
        assert (whole.corners[training.targets[row] < 0] == 0).all()


def test_crowds_are_no_rows_and_no_background(tmp_path: Path) -> None:
    images, targets = scenes(8)
    content = coco(targets, [image.shape[:2] for image in images])
    for number, image in enumerate(images):
        crowd = [0, 0, image.shape[1], image.shape[0]] if number < 4 else [0, 0, 5, 5]
        content["annotations"].append({"image_id": 100 + number, "category_id": 99, "bbox": crowd, "iscrowd": 1})
    probe = ms.Probe.of(write(tmp_path / "data", images, targets, annotations=content["annotations"]), size=None)
    assert any("8 boxes of crowds are left out" in remark for remark in probe.remarks)
    assert probe.labels is not None
    assert np.bincount(probe.labels)[1:].tolist() == [6, 6]
    for row in range(len(probe)):
        left, upper, right, lower = probe.item(row).corners
        if probe.labels[row] == 0 and probe.groups[row] < 4:  # type: ignore[index]
            assert (right - left) * (lower - upper) <= MOST_OVERLAP


def test_a_validation_split_is_held_out_and_a_test_split_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split, seed in (("train2017", 0), ("val2017", 1)):
        write(data, *scenes(8, seed), images_in=split, file=f"annotations/instances_{split}.json")
    probe = ms.Probe.of(data, holdout=0.2)
    assert probe.holdout is not None
    assert (probe.provenance["split"], probe.holdout.provenance["split"]) == ("train2017", "val2017")
    write(tmp_path / "other", *scenes(8), images_in="test", file="annotations/instances_test.json")
    with pytest.raises(DatasetError, match="test split"):
        ms.Probe.of(tmp_path / "other")


def test_an_image_that_cannot_be_read_costs_its_rows(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", *scenes(12))
    (folder / "images/005.png").write_bytes(b"nothing")
    (folder / "images/006.png").unlink()
    probe = ms.Probe.of(folder, max_corrupt=0.5)
    assert {name.rpartition(" of ")[2] for name, _ in probe.skipped} == {"005.png", "006.png"}


def changed(boxes: Any = None, labels: Any = None) -> tuple[list[np.ndarray], list[Any]]:
    images, targets = scenes(6)
    found: list[Any] = list(targets)
    found[1] = (targets[1][0] if boxes is None else boxes, targets[1][1] if labels is None else labels)
    return images, found


BOX = [1.0, 2.0, 9.0, 9.0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed(boxes=[BOX, [30.0, 2.0, 90.0, 9.0]]), r"leaves the image of \d+ x \d+ pixels"),
        (changed(boxes=[BOX, [-9.0, 2.0, 20.0, 9.0]]), r"the box \(-9, 2, 20, 9\) in row 1 leaves"),
        (changed(boxes=[BOX, [1.0, 2.0, -9.0, 9.0]]), "has a width of -9"),
        (changed(boxes=[BOX, [1.0, 2.0, 9.0, 0.0]]), "a height of 0"),
        (changed(boxes=[BOX, [1.0, float("nan"), 9.0, 9.0]]), "holds NaN or infinity"),
        (changed(boxes=[BOX, [1.0, 2.0, 10**400, 9.0]]), r"expected \(x, y, width, height\) for each"),
        (changed(boxes=[BOX, [1.0, 2.0, 9.0]]), r"expected \(x, y, width, height\) for each"),
        (changed(labels=["cup"]), "has 2 boxes and 1 class;"),
        (changed(labels=["cup", None]), "a class in row 1 is None"),
        (changed(labels=["cup", 3]), "both numbers and names"),
        (changed(labels=["cup", "background"]), "a class of boxes is called 'background'"),
        (([np.zeros((20, 20, 3), np.uint8)], [([BOX], ["a"])] * 2), "1 images and 2 lists of boxes"),
    ],
)
def test_a_wrong_box_or_class_is_one_clear_error(data: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        ms.Probe.of(data)


def test_no_boxes_and_one_class_alone_are_errors(tmp_path: Path) -> None:
    images, targets = scenes(4)
    nothing: list[Target] = [([], []) for _ in images]
    for data in (write(tmp_path / "none", images, nothing), table(images, nothing)):
        with pytest.raises(DatasetError, match="none of the 4 images has a box"):
            ms.Probe.of(data)
    small = [np.zeros((1, 1, 3), np.uint8)] * 3
    with pytest.raises(DatasetError, match="all objects have the class 'cup', and they fill the images"):
        ms.Probe.of((small, [([[0, 0, 1, 1]], ["cup"])] * 3))
    only = [(boxes[:1], names[:1]) for boxes, names in targets]
    assert ms.Probe.of((images, only)).class_names == (BACKGROUND, "cup")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"categories": [{"id": 7, "name": "cup"}]}, "the category_id 3, and there is no category with this id"),
        ({"images": [{"id": 1, "file_name": "000.png"}]}, "there is no image with this id"),
        ({"images": [{"id": 1, "file_name": 999 * "long/" + ".png"}], "annotations": []}, "are in none of"),
        ({"categories": [{"id": 7}]}, "is no file of annotations as COCO has them"),
        ({"categories": [{"id": 7, "name": "cup"}, {"id": 3, "name": "background"}]}, "is called 'background'"),
        ({"images": []}, "names no images"),
        ({"categories": []}, r"no category with this id \(there are none\)"),
        ({"categories": [{"id": "\ud800" + 999 * "x", "name": "cup"}]}, r"there are '\\ud800x{10,60}\.\.\.\)"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    folder = write(tmp_path / "data", *scenes(4), **settings)
    with pytest.raises(DatasetError, match=said):
        ms.Probe.of(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"category_id": None}, "has the category_id None, and there is no category"),
        ({"category_id": [7]}, r"is no file of annotations as COCO has them \(TypeError: category_id is \[7\]\)"),
        ({"bbox": [1, 2, 3]}, r"\(TypeError: a bbox is \[1, 2, 3\]\)"),
        ({"image_id": None}, "is of image None, and there is no image"),
    ],
)
def test_an_annotation_of_nothing_is_one_clear_error(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    images, targets = scenes(4)
    annotations = coco(targets, [image.shape[:2] for image in images])["annotations"]
    annotations[1] |= change
    with pytest.raises(DatasetError, match=said):
        ms.Probe.of(write(tmp_path / "data", images, targets, annotations=annotations))


def test_ids_that_are_given_twice_are_errors(tmp_path: Path) -> None:
    """The second image would take the boxes of both."""
    images, targets = scenes(4)
    described = coco(targets, [image.shape[:2] for image in images])["images"]
    described[3]["id"] = described[1]["id"]
    with pytest.raises(DatasetError, match=r"two images in .* have the id 101: '001.png' and '003.png'"):
        ms.Probe.of(write(tmp_path / "a", images, targets, images=described))
    categories = [{"id": 7, "name": "cup"}, {"id": 3, "name": "plate"}, {"id": 7, "name": "jug"}]
    with pytest.raises(DatasetError, match=r"two categories in .* have the id 7: 'cup' and 'jug'"):
        ms.Probe.of(write(tmp_path / "b", images, targets, categories=categories))


def test_boxes_without_a_side_are_left_out_of_a_file_and_counted(tmp_path: Path) -> None:
    """COCO's own training file has some."""
    images, targets = scenes(8)
    expected = ms.Probe.of(write(tmp_path / "a", images, targets))
    annotations = coco(targets, [image.shape[:2] for image in images])["annotations"]
    annotations.insert(2, annotations[2] | {"bbox": [3.0, 4.0, 5.0, 0.0]})
    found = ms.Probe.of(write(tmp_path / "b", images, targets, annotations=annotations))
    assert found.fingerprint == expected.fingerprint
    assert "1 box without a width or a height is left out." in found.remarks


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    """Outlines take most of a file, and are not needed."""
    images, targets = scenes(4)
    annotations = coco(targets, [image.shape[:2] for image in images])["annotations"]
    outline = {"segmentation": [[float(number) for number in range(20_000)]]}
    folder = write(tmp_path / "data", images, targets, annotations=[each | outline for each in 20 * annotations])
    size = (folder / "annotations.json").stat().st_size
    tracemalloc.start()
    try:
        (open_rows,) = open_coco(folder).values()
        assert len(open_rows()) > 20 * len(annotations)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size


def test_a_size_that_is_none_is_read_from_the_image(tmp_path: Path) -> None:
    images, targets = scenes(4)
    described = coco(targets, [image.shape[:2] for image in images])["images"]
    expected = ms.Probe.of(write(tmp_path / "a", images, targets)).fingerprint
    for number, (width, height) in enumerate([(10**400, 9), (-1, 9), ("9", 9), (float("nan"), 9)]):
        described[number] |= {"width": width, "height": height}
    assert ms.Probe.of(write(tmp_path / "b", images, targets, images=described)).fingerprint == expected


def test_a_crowded_image_gets_a_bounded_number_of_boxes_of_background() -> None:
    """Their number bounds the work, which is that of comparing each with each object."""
    places = np.stack(np.meshgrid(np.arange(0, 400, 8), np.arange(0, 400, 8)), axis=-1).reshape(-1, 2)
    boxes = np.hstack([places, np.full((len(places), 2), 2)]).astype(float)
    image = np.zeros((400, 400, 3), np.uint8)
    objects = [(boxes, ["cup"] * len(boxes)), ([], [])]
    probe = ms.Probe.of(([image, image[:, ::-1]], objects), size=None)
    assert probe.labels is not None
    assert np.bincount(probe.labels).tolist() == [1000 + 1, len(boxes)]


def test_one_crowded_image_does_not_make_all_others_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole images are padded to the same number of boxes, and 5,000 for each of 50,000 would take gigabytes."""
    monkeypatch.setattr(module, "_MOST_CELLS", 1)
    monkeypatch.setattr(module, "_FEWEST_BOXES", 20)
    images, targets = scenes(8)
    x, y = np.meshgrid(np.arange(0, 40, 5), np.arange(0, 40, 5))
    crowd = np.stack([x.ravel(), y.ravel(), np.full(64, 3), np.full(64, 3)], axis=1)
    targets[1] = (crowd.tolist(), 32 * list(NAMES))
    probe = ms.Probe.of((images, targets), size=None)
    wholes = probe.wholes
    assert wholes is not None
    assert wholes.targets.shape == (8, 20)
    assert sorted(set(wholes.targets[1])) == [0, 1, 2]
    corners = wholes.item(1).corners * np.tile(images[1].shape[1::-1], 2)
    kept = [box[:2].round().tolist() in crowd[:, :2].tolist() for box in corners[wholes.targets[1] > 0]]
    assert len(kept) == sum(kept) == pytest.approx(10, abs=3)
    assert any("1 image has more than 20 boxes" in remark for remark in probe.remarks)


def test_images_that_are_missing_or_of_another_size_or_outside_are_named(tmp_path: Path) -> None:
    images, targets = scenes(4)
    folder = write(tmp_path / "data", images, targets)
    shutil.move(folder / "images", tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"such as '000.png', are in none of"):
        ms.Probe.of(folder)
    smaller = [image[: len(image) // 2] for image in images]
    folder = write(tmp_path / "other", images, targets)
    write(folder, smaller, [([], []) for _ in images], file="unread.json")
    with pytest.raises(DatasetError, match=r"are said to be in an image of \d+ x \d+ pixels, and it has"):
        ms.Probe.of(folder)
    described = coco(targets, [image.shape[:2] for image in images])["images"]
    described[1]["file_name"] = "../../elsewhere/001.png"
    probe = ms.Probe.of(write(tmp_path / "third", images, targets, images=described), max_corrupt=0.9)
    assert {reason for _, reason in probe.skipped} == {"the image's path leaves the dataset's folder"}
    several = write(tmp_path / "two", images, targets, file="annotations/instances.json")
    write(several, images, targets, file="instances.json")
    with pytest.raises(DatasetError, match="several files of annotations for one split"):
        ms.Probe.of(several)


def test_a_number_without_a_name_and_an_unknown_one(tmp_path: Path) -> None:
    images, targets = scenes(6)
    numbered = [(boxes, [NAMES.index(name) + 4 for name in names]) for boxes, names in targets]
    assert ms.Probe.of((images, numbered)).class_names == (BACKGROUND, "4", "5")
    rows = table(images, targets)
    rows = rows.map(lambda row: {"objects": {**row["objects"], "category": [-1 for _ in row["objects"]["category"]]}})
    with pytest.raises(DatasetError, match="the class -1 of a box is unknown: the classes have the numbers 0, 1"):
        ms.Probe.of(rows)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ({"bbox": True, "categories": ["cup"]}, "the objects in row 1 are"),
        ({"bbox": [BOX], "categories": True}, "the objects in row 1 are"),
        (3, "the objects in row 1 are"),
        ({"bbox": [BOX]}, "1 box, 0 classes"),
        ({"bbox": [BOX], "categories": ["cup", "cup"]}, "1 box, 2 classes"),
    ],
)
def test_objects_of_another_form_are_one_clear_error(objects: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        _objects(objects, "bbox", "categories", None, "row 1")


def test_columns_of_images_and_objects_can_be_named() -> None:
    images, targets = scenes(6)
    rows = table(images, targets).rename_columns({"image": "photo", "objects": "things"})
    assert ms.Probe.of(rows, input="photo", label="things").unit == "box"
    frame = table(images, targets).to_pandas()
    frame["objects"] = [{"bbox": each["bbox"]} for each in frame["objects"]]
    with pytest.raises(DatasetError, match="expected one for the class"):
        ms.Probe.of(frame)


def test_a_turned_image_of_a_table_is_upright() -> None:
    import datasets

    image = Image.fromarray(np.zeros((30, 60, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    content = io.BytesIO()
    image.save(content, "JPEG", exif=exif)
    rows = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": content.getvalue(), "path": None}] * 3,
            "objects": [{"bbox": [[2.0, 40.0, 10.0, 15.0]], "category": ["cup"]}] * 3,
        }
    ).cast_column("image", datasets.Image())
    probe = ms.Probe.of(rows)
    assert probe.item(0).image.size == (30, 60)
