"""Folders that `datasets` reads: what may be in them, before it reads a byte. They may come from somebody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError

CARDS = ("README.md", ".huggingface.yaml")
"""Files in which a dataset names its configurations, and these name files."""

DESCRIPTIONS = (*CARDS, "dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")
"""Files that `datasets` reads whole."""

LARGEST_DESCRIPTION = 16_000_000
"""Bytes of a file that describes a dataset. That of a dataset of 2,000 configurations has some 2 MB."""


def check_files(root: Path) -> None:
    """Raises for a folder with a pipe, a device, or a description without bounds.

    Raises:
        DatasetError: reading such a file might never end.
    """
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                state = path.stat()
            except OSError:
                continue  # a link to nothing: who needs the file says so
            if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
                raise DatasetError(f"{path} is a pipe or a device; expected files. Remove it from the folder.")
            if name in DESCRIPTIONS and state.st_size > LARGEST_DESCRIPTION:
                raise DatasetError(
                    f"{path} has {state.st_size:,} bytes; expected at most {LARGEST_DESCRIPTION:,}. Give the tables "
                    "of the dataset by split."
                )


def check_cards(root: Path) -> None:
    """Raises for a dataset whose description names files elsewhere, which `datasets` would look for at once.

    Raises:
        DatasetError: an address or a file outside the folder is named, or the description would be endless once its
            references to parts of itself are written out.
        Exception: of the Hub's client and of YAML, for a description that is damaged.
    """
    import huggingface_hub
    import yaml  # type: ignore[import-untyped]

    readme, standalone = (root / name for name in CARDS)
    described: list[Any] = []
    if readme.is_file():
        described.append(huggingface_hub.DatasetCard.load(readme).data.to_dict())
    if standalone.is_file():
        described.append(yaml.safe_load(standalone.read_text("utf-8")))
    for name in _named_files(described, root):
        if "://" in name or "::" in name or name.startswith(("/", "~")) or ".." in name.split("/"):
            raise outside(root, name)


def outside(root: Path, name: str) -> DatasetError:
    """The error for a dataset that names a file elsewhere."""
    return DatasetError(
        f"the dataset in {root} names a file outside that folder ({name}), so it was not opened. Give the "
        "tables of each split, or a copy of the dataset with all files in its folder."
    )


def _named_files(described: Any, root: Path) -> Iterator[str]:
    """The names and patterns of files in a description."""
    waiting: list[tuple[bool, Any]] = [(False, described)]
    visited = 0
    while waiting:
        names_files, value = waiting.pop()
        visited += 1
        if visited > _MOST_PARTS:
            raise DatasetError(
                f"the description of the dataset in {root} has more than {_MOST_PARTS:,} parts. Give the tables of "
                "each split."
            )
        if isinstance(value, str) and names_files:
            yield value
        elif isinstance(value, list):
            waiting += [(names_files, part) for part in value]
        elif isinstance(value, dict):
            waiting += [(names_files or key in ("data_files", "data_dir"), part) for key, part in value.items()]


_MOST_PARTS = 1_000_000
"""Values in a description, with a part that it refers to counted in every place."""
