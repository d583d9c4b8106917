"""Datasets by name, such as `data:cifar10`: where the datasets of published benchmarks are today."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from modelselect.errors import DatasetError, did_you_mean
from modelselect.utils.paths import expanded

PREFIX = "data:"
VARIABLE = "MODELSELECT_DATA"
"""The environment variable with the folder in which `data:NAME` looks for a folder or file NAME before the Hub."""

_GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class NamedDataset:
    """A dataset of published benchmarks.

    Attributes:
        name: after `data:`.
        title: its usual name.
        hub: id on the Hub, `owner/name[:config]`; empty if no copy there can be read.
        classes: number of classes.
        rows: number of rows of `split`.
        size_bytes: of a download of all splits, roughly.
        input: name of the column of images; None if it is found.
        label: name of the column of labels; None if it is found.
        split: to draw from; None for the usual one, train.
        needs: what a user has to do before the download, such as accepting terms.
        obstacle: why the dataset cannot be used; empty if it can.
    """

    name: str
    title: str
    hub: str
    classes: int
    rows: int
    size_bytes: int
    input: str | None = None
    label: str | None = None
    split: str | None = None
    needs: str = ""
    obstacle: str = ""

    @property
    def expression(self) -> str:
        return PREFIX + self.name

    @property
    def folder(self) -> Path | None:
        """The folder or file of the user with this dataset; None if there is none."""
        place = os.environ.get(VARIABLE)
        path = expanded(place) / self.name if place else None
        return path if path is not None and path.exists() else None

    @property
    def is_here(self) -> bool:
        """Whether the dataset can be read without a download."""
        return self.folder is not None or (self.hub != "" and _is_cached(self.hub.partition(":")[0]))

    @property
    def place(self) -> str:
        """The path, or the id on the Hub, that the dataset is read from.

        Raises:
            DatasetError: the dataset cannot be used.
        """
        if self.folder is not None:
            return str(self.folder)
        if self.obstacle or not self.hub:
            raise DatasetError(
                f"{self.expression} ({self.title}) cannot be read: {self.obstacle or 'no copy on the Hub is known'}. "
                f"Set {VARIABLE} to a folder with a folder {self.name!r} of class folders, or in the layout of its "
                "authors."
            )
        return self.hub


def find_dataset(expression: str) -> NamedDataset:
    """The dataset that `data:NAME` names.

    Raises:
        DatasetError: there is no such name.

    >>> find_dataset("data:cifar100").label
    'fine_label'
    """
    name = expression.removeprefix(PREFIX)
    if name not in DATASETS:
        raise DatasetError(
            f"there is no dataset {expression!r}.{did_you_mean(name, DATASETS)} The named datasets are "
            f"{', '.join(DATASETS)}."
        )
    return DATASETS[name]


def _is_cached(repository: str) -> bool:
    """Whether the Hub's client or `datasets` holds the repository. `datasets` is not imported: that takes seconds."""
    from huggingface_hub import constants

    datasets = sys.modules.get("datasets")
    kept = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    kept = kept if datasets is None else datasets.config.HF_DATASETS_CACHE
    places = (
        Path(constants.HF_HUB_CACHE) / f"datasets--{repository.replace('/', '--')}",
        Path(kept) / repository.replace("/", "___"),
    )
    return any(place.is_dir() for place in places)


_NO_COPY = "no copy on the Hub is known that holds the labels of each image; unpack the archives of its authors"

_ON_KAGGLE = "it is on Kaggle as {}, which asks for an account"

DATASETS: Mapping[str, NamedDataset] = MappingProxyType(
    {
        dataset.name: dataset
        for dataset in (
            NamedDataset("aircraft", "FGVC Aircraft", "Donghyun99/FGVC-Aircraft", 100, 3_334, 3 * _GIGABYTE),
            NamedDataset(
                "birdsnap",
                "Birdsnap",
                "sasha/birdsnap",
                500,
                39_860,
                60 * _GIGABYTE,
                needs="some of the original images are gone, so the rows differ from those of the papers",
            ),
            NamedDataset("caltech101", "Caltech-101", "dpdl-benchmark/caltech101", 102, 3_060, _GIGABYTE // 7),
            NamedDataset("cars", "Stanford Cars", "tanganke/stanford_cars", 196, 8_144, 2 * _GIGABYTE),
            NamedDataset("cifar10", "CIFAR-10", "uoft-cs/cifar10", 10, 50_000, _GIGABYTE // 7, "img", "label"),
            NamedDataset("cifar100", "CIFAR-100", "uoft-cs/cifar100", 100, 50_000, _GIGABYTE // 7, "img", "fine_label"),
            NamedDataset("cub200", "CUB-200-2011", "", 200, 5_994, _GIGABYTE, obstacle=_NO_COPY),
            NamedDataset("dogs", "Stanford Dogs", "", 120, 12_000, _GIGABYTE, obstacle=_NO_COPY),
            NamedDataset("dtd", "Describable Textures", "tanganke/dtd", 47, 3_760, _GIGABYTE // 2),
            NamedDataset("eurosat", "EuroSAT", "tanganke/eurosat", 10, 21_600, _GIGABYTE // 10),
            NamedDataset(
                "fashion_mnist", "Fashion-MNIST", "zalando-datasets/fashion_mnist", 10, 60_000, _GIGABYTE // 30
            ),
            NamedDataset(
                "flowers", "Oxford Flowers 102", "dpdl-benchmark/oxford_flowers102", 102, 1_020, _GIGABYTE // 3
            ),
            NamedDataset("food", "Food-101", "ethz/food101", 101, 75_750, 5 * _GIGABYTE),
            NamedDataset(
                "germ",
                "Micro-organisms",
                "",
                8,
                473,
                _GIGABYTE // 5,
                obstacle="it is at https://www.kaggle.com/dsv/4032122",
            ),
            NamedDataset(
                "imagenet",
                "ImageNet-1k (validation)",
                "ILSVRC/imagenet-1k",
                1_000,
                50_000,
                170 * _GIGABYTE,
                split="validation",
                needs="the terms on its page have to be accepted",
            ),
            NamedDataset(
                "intel",
                "Intel image classification",
                "",
                6,
                14_034,
                _GIGABYTE // 3,
                obstacle=_ON_KAGGLE.format("puneet6060/intel-image-classification"),
            ),
            NamedDataset("mnist", "MNIST", "ylecun/mnist", 10, 60_000, _GIGABYTE // 50),
            NamedDataset(
                "nature",
                "Natural images",
                "",
                8,
                4_139,
                _GIGABYTE // 5,
                obstacle="it is that of P. Roy et al., arXiv 1807.10108",
            ),
            NamedDataset("nabirds", "NABirds", "", 555, 23_929, 9 * _GIGABYTE, obstacle=_NO_COPY),
            NamedDataset("pets", "Oxford-IIIT Pets", "timm/oxford-iiit-pet", 37, 3_680, _GIGABYTE, label="label"),
            NamedDataset("resisc", "RESISC45", "timm/resisc45", 45, 18_900, _GIGABYTE // 2),
            NamedDataset(
                "sports",
                "100 sports",
                "",
                100,
                13_581,
                _GIGABYTE // 2,
                obstacle=_ON_KAGGLE.format("gpiosenka/sports-classification"),
            ),
            NamedDataset("sun397", "SUN397", "tanganke/sun397", 397, 19_850, 37 * _GIGABYTE),
            NamedDataset("voc2007", "PASCAL VOC 2007", "", 20, 5_011, _GIGABYTE, obstacle=_NO_COPY),
            NamedDataset(
                "weather",
                "Weather phenomena",
                "",
                11,
                4_117,
                _GIGABYTE // 2,
                obstacle="it is at https://doi.org/10.7910/DVN/M8JQCR",
            ),
            NamedDataset(
                "yoga",
                "Yoga poses",
                "",
                6,
                703,
                _GIGABYTE // 5,
                obstacle=_ON_KAGGLE.format("lakshmanarajak/yoga-dataset"),
            ),
        )
    }
)
"""The named datasets, by name. The copies on the Hub are those of others; they may change or go away."""
