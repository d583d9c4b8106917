"""Datasets whose own code fails, lies, or holds what nobody expects: one error of ours that says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from modelselect import Probe
from modelselect.errors import DatasetError, ModelSelectError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


class Strange(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, length: Any, item: Any = None, **attributes: Any) -> None:
        self.length, self.item = length, item
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        if isinstance(self.length, BaseException):
            raise self.length
        return self.length  # type: ignore[no-any-return]

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.item, BaseException):
            raise self.item
        return IMAGES[index], index % 2


class Unwilling:
    dtype, shape = np.dtype("f4"), (3,)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array today")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (Strange(OSError("the drive is gone")), "OSError: the drive is gone"),
        (Strange(2.5), "TypeError: 'float' object cannot be interpreted as an integer"),
        (Strange(-1), "ValueError: __len__() should return >= 0"),
        (Strange(12, SystemExit(3)), "SystemExit: 3"),
        (Strange(12, KeyError("x"), targets=[[1], [2, 3]] * 6), "KeyError"),
        (([Unwilling()] * 12, [0, 1] * 6), "RuntimeError: no array today"),
        ((list(IMAGES), [Unwilling()] * 12), "RuntimeError: no array today"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_code_of_a_dataset_raises_is_one_error_that_quotes_it(dataset: Any, said: str) -> None:
    with pytest.raises(ModelSelectError) as caught:
        Probe.of(dataset, max_corrupt=0.5)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["label", "input", "split", "targets"])
@pytest.mark.parametrize("value", [5, 2.5, b"label", [5], object()])
def test_names_that_are_no_texts_are_refused(name: str, value: Any) -> None:
    with pytest.raises(DatasetError, match=f"{name} is "):
        Probe.of((IMAGES, [0, 1] * 6), **{name: value})


@pytest.mark.parametrize(
    "labels",
    [torch.tensor(1), np.array(1), scipy.sparse.csr_matrix(np.eye(12)), [torch.tensor(1)] * 12, [np.array("a")] * 12],
)
def test_labels_without_a_length_are_read_or_refused(labels: Any) -> None:
    with pytest.raises(DatasetError):
        Probe.of((IMAGES, labels))


def test_inputs_that_are_numbers_with_axes_are_refused() -> None:
    with pytest.raises(DatasetError):
        Probe.of(([np.array("a")] * 12, [["x"], ["y"]] * 6))


def test_images_without_masks_are_refused() -> None:
    with pytest.raises(DatasetError):
        Probe.of((IMAGES[:0], np.zeros((0, 8, 8), np.uint8)))


def test_views_of_texts_are_texts() -> None:
    import datasets
    import pyarrow as pa

    texts = [f"text {row}" for row in range(12)]
    table = pa.table({"text": pa.array(texts, pa.string_view()), "label": [0, 1] * 6})
    chosen = datasets.Dataset(table).select(range(4, 12))
    probe = Probe.of(chosen, size=None)
    assert [probe.item(row) for row in range(8)] == texts[4:]
    assert probe.fingerprint == Probe.of((texts[4:], [0, 1] * 4), size=None).fingerprint
