"""Whole runs on data as people have it: what is ranked is what they gave, and names come back as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import modelselect as ms
from modelselect.host.host import get_host
from tests.benchmarking.conftest import folder, toy
from tests.cli.conftest import run
from tests.plugins.zoos.text_models import text_folder

pytestmark = pytest.mark.usefixtures("cache")

NETWORKS = ["embedded:plain.random", "embedded:resnet.textures"]


def scores(dataset: Any, candidates: Any = NETWORKS, **settings: Any) -> list[float | None]:
    """Scores of the candidates on this dataset, in the order of the candidates."""
    board = ms.select(dataset, candidates, estimators=["logme", "knn"], history=False, progress=False, **settings)
    by_name = {row.candidate.name: row.scores for row in board.rows}
    return [by_name[name].get(method) for name in sorted(by_name) for method in ("logme", "knn")]


def test_jpegs_in_cmyk_are_ranked_as_their_conversion_to_rgb(tmp_path: Path) -> None:
    images, labels = toy(0)
    converted = []
    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "print" / f"class{label}" / f"{index:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert("CMYK").save(path, quality=95)
        with Image.open(path) as opened:
            assert opened.mode == "CMYK"
            converted.append(np.asarray(opened.convert("RGB")))
    found = scores(tmp_path / "print")
    assert found == scores((np.stack(converted), labels))
    assert None not in found


@pytest.mark.parametrize("source", ["folder", "arrays", "datasets"])
def test_leading_zeros_tell_classes_apart(tmp_path: Path, source: str) -> None:
    names = ("007", "07", "7")
    images, _ = toy(0)
    labels = [names[index % 3] for index in range(len(images))]
    dataset: Any = (images, labels)
    if source == "folder":
        for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            (tmp_path / "agents" / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "agents" / label / f"{index}.png")
        dataset = tmp_path / "agents"
    elif source == "datasets":
        dataset = datasets.Dataset.from_dict({"image": [Image.fromarray(each) for each in images], "label": labels})
    board = ms.select(dataset, NETWORKS[0], estimators="knn", history=False, progress=False)
    assert board.provenance["dataset"]["classes"] == list(names)
    assert set(board.provenance["dataset"]["label_map"]) == set(names)


def test_emoji_as_names_of_classes_come_back_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "pets", 0)
    (data / "class0").rename(data / "🐈 cats")
    (data / "class1").rename(data / "👩🏽‍🚀")
    (data / "🐈 cats" / "0.png").write_bytes(b"no image")
    line = ["select", str(data), "-c", NETWORKS[0], "-e", "knn", "-q", "--no-history"]
    code, out, err = run(capsys, *line, "--json", tmp_path / "board.json", "--report", tmp_path / "board.html")
    assert code == 0, err
    assert "🐈 cats/0.png" in " ".join(out.split())
    classes = ["🐈 cats", "👩🏽‍🚀"]
    assert ms.Leaderboard.load(tmp_path / "board.json").provenance["dataset"]["classes"] == classes
    assert (
        json.loads((tmp_path / "board.json").read_text(encoding="utf-8"))["provenance"]["dataset"]["classes"] == classes
    )
    page = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert all(name in page for name in classes)


def test_labels_follow_their_rows_when_a_dataset_is_shuffled() -> None:
    images, labels = toy(0)
    table = datasets.Dataset.from_dict({"image": [Image.fromarray(each) for each in images], "label": labels})
    shuffled = table.shuffle(seed=7).select(range(30))
    rows = ms.Probe.of(shuffled, size=None)
    of_content = {each.tobytes(): label for each, label in zip(images, labels, strict=True)}
    assert rows.labels is not None
    assert [of_content[np.asarray(rows.item(i)).tobytes()] for i in range(len(rows))] == rows.labels.tolist()
    order = [next(i for i, each in enumerate(images) if np.array_equal(each, rows.item(n))) for n in range(len(rows))]
    assert order != sorted(order)
    assert scores(shuffled) == scores((images[order], [labels[i] for i in order]))


def test_the_side_that_a_tokenizer_pads_makes_no_difference(tmp_path: Path) -> None:
    texts = [f"the {animal} sat on the {'mat ' * (n % 5)}" for n in range(20) for animal in ("cat", "dog")]
    found = []
    for side in ("right", "left"):
        place = tmp_path / side / "bert"
        text_folder(place)
        file = place / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"padding_side": side}))
        found.append(scores((texts, [0, 1] * 20), f"dir:{place}"))
    assert found[0] == found[1]
    assert None not in found[0]


def test_a_target_transform_makes_the_labels(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", 0)
    plain = ms.Probe.of(ImageFolder(data), size=None)
    turned = ms.Probe.of(ImageFolder(data, target_transform=lambda label: 1 - label), size=None)
    assert plain.labels is not None
    assert turned.labels is not None
    label_of = {plain.item(i).tobytes(): int(plain.labels[i]) for i in range(len(plain))}
    assert len(label_of) == len(turned) == 36
    assert turned.labels.tolist() == [1 - label_of[turned.item(i).tobytes()] for i in range(len(turned))]
    assert turned.fingerprint != plain.fingerprint


@pytest.mark.parametrize("size", [(31, 47), (1, 9), (33, 32), (17, 200)], ids=str)
def test_images_of_odd_sizes_are_ranked_as_torchvision_resizes_them(size: tuple[int, int]) -> None:
    from torchvision import transforms

    rng = np.random.default_rng(0)
    labels = [0, 1] * 12
    grey = [(rng.integers(0, 180, size) + 60 * label).astype(np.uint8) for label in labels]  # as the networks see it
    given = [Image.fromarray(each).convert("RGB") for each in grey]
    (candidate,) = ms.search(NETWORKS[1])
    preprocessing: Any = get_host().zoo("embedded").load(candidate).preprocessing
    mode = transforms.InterpolationMode(preprocessing.interpolation)
    steps = [transforms.Resize(preprocessing.resize, interpolation=mode), transforms.CenterCrop(preprocessing.size)]
    theirs = np.stack([np.asarray(transforms.Compose(steps)(image)) for image in given])
    assert theirs.shape[1:] == (32, 32, 3)
    assert scores((given, labels), NETWORKS[1]) == scores((theirs, labels), NETWORKS[1])
