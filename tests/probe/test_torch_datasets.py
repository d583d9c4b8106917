"""A map-style torch dataset gives the same probe as its arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import contents, noise, pixels

# --- torch datasets --------------------------------------------------------------------------------------------------


def test_a_torch_dataset_gives_the_probe_that_its_arrays_give() -> None:
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
            return {"left": noise(row), "right": row % 2}

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


# --- class names and labels ------------------------------------------------------------------------------------------

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class Made(Dataset[Any]):
    """24 rows that a function gives, with attributes."""

    def __init__(self, row: Callable[[int], Any], **attributes: Any) -> None:
        self._row = row
        vars(self).update(attributes)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, row: int) -> Any:
        return self._row(row)


def picture(row: int) -> Image.Image:
    return Image.fromarray(noise(row))


def painted(root: Path, names: Sequence[str], **arguments: Any) -> Any:
    """An `ImageFolder` of six images for each class, in the colour that the class is called."""
    import torchvision

    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (8, 8), COLOURS[name]).save(root / name / f"{i}.png")
    return torchvision.datasets.ImageFolder(str(root), **arguments)


def wrong(probe: Probe) -> int:
    """The number of rows whose class is not called like their colour."""
    assert probe.labels is not None
    return sum(
        tuple(pixels(probe, row)[0, 0]) != COLOURS[probe.class_names[label]] for row, label in enumerate(probe.labels)
    )


def test_joined_folders_with_other_classes_are_matched_by_the_names_of_the_classes(tmp_path: Path) -> None:
    first = painted(tmp_path / "1", ["red", "green", "blue"])
    second = painted(tmp_path / "2", ["green", "red"])
    third = painted(tmp_path / "3", ["red"])
    for joined, rows in (
        (ConcatDataset([first, second]), 30),
        (second + first, 30),
        (ConcatDataset([Subset(first, [0, 17, 3]), ConcatDataset([second, Subset(third, [0])])]), 16),
        (Subset(ConcatDataset([first, second, third]), [35, 0, 20, 17, 25, 8]), 6),
        (random_split(ConcatDataset([first, second]), [20, 10])[0], 20),
    ):
        probe = Probe.of(joined)
        assert len(probe) == rows
        assert wrong(probe) == 0
        assert "different lists of classes" in probe.remarks[0]


def test_joined_folders_with_the_same_classes_keep_their_numbers(tmp_path: Path) -> None:
    first, second = (painted(tmp_path / name, ["red", "green"]) for name in "12")
    other = painted(tmp_path / "3", ["blue"])
    for joined in (ConcatDataset([first, second]), Subset(ConcatDataset([first, second, other]), range(24))):
        probe = Probe.of(joined)
        assert probe.provenance["label_map"] == {"0": 0, "1": 1}
        assert wrong(probe) == 0
        assert probe.remarks == ()


def test_a_joined_dataset_without_names_is_read_by_number_only_if_numbers_have_one_meaning(tmp_path: Path) -> None:
    first, second = painted(tmp_path / "1", ["red", "green", "blue"]), painted(tmp_path / "2", ["green", "red"])
    nameless = Made(lambda row: (picture(row), row % 2))
    probe = Probe.of(ConcatDataset([first, nameless]))
    assert probe.class_names == ("blue", "green", "red")
    assert "1 of the 2 joined datasets have no names of classes" in probe.remarks[0]
    joined = ConcatDataset([first, second, nameless])
    with pytest.raises(DatasetError, match="labels of dataset 2 of the 3 joined ones are numbers without names"):
        Probe.of(joined)
    nameless.classes = ["red", "blue"]  # type: ignore[attr-defined]  # as the message advises
    probe = Probe.of(joined)
    assert probe.labels is not None
    assert Counter(probe.class_names[label] for label in probe.labels) == {"red": 24, "blue": 18, "green": 12}


def test_joined_datasets_of_which_one_yields_names_are_matched_by_name(tmp_path: Path) -> None:
    named = Made(lambda row: (picture(row), ["red", "green"][row % 2]))
    probe = Probe.of(ConcatDataset([painted(tmp_path, ["red", "green", "blue"]), named]))
    assert probe.labels is not None
    assert Counter(probe.class_names[label] for label in probe.labels) == {"red": 18, "blue": 6, "green": 18}
    assert probe.remarks == ()


def test_class_names_that_cannot_join_are_refused(tmp_path: Path) -> None:
    first = painted(tmp_path, ["red", "green"])
    for names, message in (
        (["red", "red"], "one name for two classes"),
        (["blue"], "hold the class number 1, but it has names for 1 classes"),
    ):
        with pytest.raises(DatasetError, match=message):
            Probe.of(ConcatDataset([first, Made(lambda row: (picture(row), row % 2), classes=names)]))


def test_a_target_transform_gives_the_labels_and_takes_the_names_away(tmp_path: Path) -> None:
    transformed = painted(tmp_path, ["red", "green", "blue"], target_transform=lambda label: 2 - label)
    probe = Probe.of(transformed)
    assert probe.class_names == ("0", "1", "2")
    assert [COLOURS["blue"] == tuple(pixels(probe, row)[0, 0]) for row in range(18)] == (
        np.asarray(probe.labels) == 2
    ).tolist()


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"targets": torch.tensor([0, 1] * 12)},
        {"targets": [0, 1] * 12},
        {"targets": np.eye(2)[[0, 1] * 12]},
        {"labels": np.array([[0], [1]] * 12)},
        {"_labels": [0, 1] * 12},
        {"_labels": [1, 0] * 12},
        {"y": np.array([0, 1] * 12)},
        {"samples": [("file", 0), ("file", 1)] * 12},
        {"labels": {"file": 0}},
    ],
)
def test_labels_are_those_that_the_dataset_yields_in_whatever_list_and_form(attributes: Any) -> None:
    for form in (int, torch.tensor, lambda label: torch.tensor([label]), lambda label: np.eye(2)[label], np.int64):
        dataset = Made(lambda row, form=form: (picture(row), form(row % 2)), categories=["cat", "dog"], **attributes)
        probe = Probe.of(dataset)
        assert probe.class_names == ("cat", "dog")
        assert np.asarray(probe.labels).tolist() == [0, 1] * 12


def test_dicts_with_plain_keys_are_pairs_and_datasets_of_hugging_face_in_a_subset_keep_their_names() -> None:
    import datasets

    expected = Probe.of(([picture(row) for row in range(24)], [0, 1] * 12))
    assert contents(Probe.of(Made(lambda row: {"image": picture(row), "label": row % 2, "id": row}))) == contents(
        expected
    )
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    table = datasets.Dataset.from_dict({"image": [picture(row) for row in range(24)], "label": [0, 1] * 12}, features)
    probe = Probe.of(Subset(table, range(24)))  # type: ignore[arg-type]
    assert probe.class_names == ("cat", "dog")
    assert contents(probe) == contents(expected)


def test_rows_that_are_no_pairs_are_refused_and_the_advice_works() -> None:
    for dataset, message, inputs, labels in (
        (
            Made(lambda row: {"left": picture(row), "right": row % 2}),
            "keys 'left', 'right'",
            "[dataset[row]['left'] for row in range(len(dataset))]",
            "[dataset[row]['right'] for row in range(len(dataset))]",
        ),
        (
            Made(lambda row: (picture(row), row % 2, row)),
            "yields 3 values",
            "[dataset[row][0] for row in range(len(dataset))]",
            "[dataset[row][1] for row in range(len(dataset))]",
        ),
        (Made(picture), "yields Image", "[dataset[row] for row in range(len(dataset))]", "None"),
        (
            Made(lambda row: (picture(row),)),
            "yields 1 values",
            "[dataset[row][0] for row in range(len(dataset))]",
            "None",
        ),
    ):
        with pytest.raises(DatasetError, match=message) as refused:
            Probe.of(dataset)
        assert f"give ({inputs}, {labels})" in str(refused.value)
        typed = (eval(inputs, {"dataset": dataset}), eval(labels, {"dataset": dataset}))
        assert len(Probe.of(typed)) == 24


def test_a_loader_is_refused_and_its_dataset_works() -> None:
    loader = DataLoader(Made(lambda row: (picture(row), row % 2)), batch_size=4)
    with pytest.raises(DatasetError, match=r"is a DataLoader.*Give loader\.dataset"):
        Probe.of(loader)
    assert len(Probe.of(loader.dataset)) == 24


def test_a_test_set_among_joined_datasets_is_refused() -> None:
    training, test = (Made(lambda row: (picture(row), row % 2), train=train) for train in (True, False))
    for joined in (training + test, ConcatDataset([training, Subset(test, [0, 1])])):
        with pytest.raises(DatasetError, match="test split"):
            Probe.of(joined)


def test_scaled_images_are_said_to_go_to_the_models_unchanged() -> None:
    from torchvision.transforms import ToTensor

    probe = Probe.of(Made(lambda row: (ToTensor()(picture(row)), row % 2)))
    assert probe.modality == "array"
    assert "give the dataset without ToTensor" in probe.remarks[0]


def test_a_missing_image_is_left_out_and_named() -> None:
    probe = Probe.of(Made(lambda row: (None if row == 5 else picture(row), row % 2)))
    assert probe.skipped == (("row 5", "missing"),)


def test_a_torch_dataset_that_yields_paths_of_images_gives_images(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for i, path in enumerate(paths):
        Image.fromarray(noise(i)).save(path)

    class Paths(Dataset[Any]):
        def __len__(self) -> int:
            return 12

        def __getitem__(self, row: int) -> tuple[str, int]:
            return str(paths[row]), row % 2

    assert contents(Probe.of(Paths())) == [noise(i).tobytes() for i in range(12)]


def test_the_advice_for_rows_without_a_known_input_names_the_known_label() -> None:
    class Encoded(Dataset[Any]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {"input_ids": [row, 1], "attention_mask": [1, 1], "labels": row % 2}

    dataset = Encoded()
    with pytest.raises(DatasetError) as caught:
        Probe.of(dataset)
    typed = str(caught.value).split("give ")[1].rstrip(".")
    probe = Probe.of(eval(typed, {"dataset": dataset}))
    assert probe.labels is not None
    assert probe.labels.tolist() == [0, 1] * 4


def test_a_row_of_another_kind_among_images_is_left_out_and_named() -> None:
    rows = [(picture(row), row % 2) for row in range(20)]
    rows[3] = (0.5, 1)  # type: ignore[assignment]

    class Mixed(Dataset[Any]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, row: int) -> Any:
            return rows[row]

    assert dict(Probe.of(Mixed()).skipped) == {"row 3": "no image, but float"}


def test_names_of_classes_may_be_numbers() -> None:
    dataset = Made(lambda row: (picture(row), row % 2), classes=[7, 9])
    assert Probe.of(dataset).class_names == ("7", "9")


class Rows(Dataset[Any]):
    """A dataset of given rows, with attributes."""

    def __init__(self, rows: Sequence[Any], **attributes: Any) -> None:
        self.rows = rows
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        return self.rows[row]


NUMBERS = [row / 7 for row in range(1, 13)]


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(torch.zeros(12, 3), torch.tensor(NUMBERS)),
        TensorDataset(torch.zeros(12, 3), torch.tensor(NUMBERS)[:, None]),
        TensorDataset(torch.zeros(12, 3), torch.tensor(NUMBERS, dtype=torch.float64)),
        Rows([(np.zeros(3), torch.tensor([number])) for number in NUMBERS]),
        Rows([(np.zeros(3), torch.tensor(number)) for number in NUMBERS], targets=NUMBERS),
        Rows([(np.zeros(3), number) for number in NUMBERS], targets=torch.tensor(NUMBERS)),
        Rows([(np.zeros(3), np.array([number])) for number in NUMBERS], y=np.array(NUMBERS)[:, None]),
    ],
)
def test_numbers_are_read_in_whatever_list_and_form(dataset: Any) -> None:
    probe = Probe.of(dataset)
    assert probe.target_kind == "numbers"
    np.testing.assert_allclose(probe.targets[:, 0], NUMBERS, rtol=1e-6)  # type: ignore[index]


def test_numbers_that_the_list_of_a_dataset_tells_otherwise_are_refused() -> None:
    with pytest.raises(DatasetError, match="has the label"):
        Probe.of(Rows([(np.zeros(3), number) for number in NUMBERS], targets=NUMBERS[::-1]))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("a text", "no image, but text"),
        (("a", "pair"), "no image, but text"),
        (np.zeros(5), "no image, but array"),
        ((Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8))), "no image, but tuple"),
        (None, "missing"),
    ],
)
def test_a_row_of_another_modality_is_left_out_and_named(other: Any, reason: str) -> None:
    rows = [(other if row == 3 else picture(row), row % 2) for row in range(20)]
    assert dict(Probe.of(Rows(rows)).skipped) == {"row 3": reason}


def test_a_pair_that_lacks_a_text_is_left_out_and_named() -> None:
    rows = [(("one", None if row == 3 else f"two {row}"), row % 2) for row in range(20)]
    assert dict(Probe.of(Rows(rows)).skipped) == {"row 3": "missing"}


def test_tuples_that_are_no_pairs_of_texts_are_refused_in_words() -> None:
    with pytest.raises(DatasetError, match="inputs hold tuple"):
        Probe.of(Rows([((picture(row), picture(row)), row % 2) for row in range(20)]))


def test_names_of_classes_may_be_an_array() -> None:
    dataset = Rows([(picture(row), row % 2) for row in range(20)], classes=np.array(["cat", "dog"]))
    assert Probe.of(dataset).class_names == ("cat", "dog")
