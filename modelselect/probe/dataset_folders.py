"""Folders that `datasets` reads: what may be in them, before it reads a byte. They may come from somebody else."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.utils.json_stream import fault_of_rows

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
        Exception: of YAML, for a description that is damaged.
    """
    described = [_described(path) for name in CARDS if (path := root / name).is_file()]
    for name in _named_files(described, root):
        if "://" in name or "::" in name or name.startswith(("/", "~")) or ".." in name.split("/"):
            raise outside(root, name)


def check_json(path: Path) -> None:
    """Raises DatasetError for JSON on which the parser of Arrow would end this process."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        if (fault := fault_of_rows(file)) is not None:
            raise DatasetError(
                f"the table {path} {fault}; expected an object for each row, with values for its columns."
            )


def outside(root: Path, name: str) -> DatasetError:
    """The error for a dataset that names a file elsewhere."""
    return DatasetError(
        f"the dataset in {root} names a file outside that folder ({name}), so it was not opened. Give the "
        "tables of each split, or a copy of the dataset with all files in its folder."
    )


def _described(card: Path) -> Any:
    """What a description says in YAML.

    Raises:
        DatasetError: it is nested too deeply, or has too many parts, so that reading it would take minutes.
        Exception: it is no YAML.
    """
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    text = card.read_text("utf-8")
    if card.suffix == ".md":
        found = REGEX_YAML_BLOCK.search(text)
        text = found[2] if found else ""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or number > _MOST_PARTS:
            raise _too_large(card)
    return yaml.load(text, Loader=loader)


def _too_large(card: Path) -> DatasetError:
    return DatasetError(
        f"the description of the dataset in {card} has more than {_MOST_PARTS:,} parts or {_DEEPEST} levels. Give the "
        "tables of each split."
    )


def _named_files(described: Sequence[Any], root: Path) -> Iterator[str]:
    """The names and patterns of files in a description."""
    waiting: list[tuple[bool, Any]] = [(False, list(described))]
    visited = 0
    while waiting:
        names_files, value = waiting.pop()
        visited += 1
        if visited > _MOST_PARTS:
            raise _too_large(root)
        if isinstance(value, str) and names_files:
            yield value
        elif isinstance(value, list):
            waiting += [(names_files, part) for part in value]
        elif isinstance(value, dict):
            waiting += [(names_files or key in ("data_files", "data_dir"), part) for key, part in value.items()]


_MOST_PARTS = 200_000
"""Values in a description, with a part that it refers to counted in every place: `datasets` reads 10,000 a second."""

_DEEPEST = 100
"""Levels of a description."""
