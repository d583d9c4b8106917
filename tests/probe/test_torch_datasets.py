"""A map-style torch dataset gives the same probe as its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from tests.probe.material import contents, noise

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
