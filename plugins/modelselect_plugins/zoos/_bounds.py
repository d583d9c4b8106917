"""What a folder may hold and ask for, before a library reads it: kinds of files, sizes, layers, references."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelselect.errors import CandidateError
from modelselect.hub import LARGEST_DESCRIPTION
from modelselect_plugins.zoos._support import read_json

MOST_LAYERS = 2_000
"""Layers of a configuration, unless its weights have as many tensors. The deepest published networks have 1,000."""

DEEPEST = 50
"""Levels of objects and lists in a configuration."""

DESCRIPTIONS = (".json", ".txt", ".jinja", ".py")
"""How the names of files end that describe a model."""

_LONGEST_KEY = 200
"""Characters of a key that are looked at. Keys of configurations have some 40."""

_OF_LAYERS = re.compile(r"(^|_)(layers?|depths?|blocks?|stages?)$|^num_\w*(layers|blocks|stages)$")
_OF_REFERENCES = ("backbone", "base_model_name_or_path", "checkpoint_path")
_OF_FILES = ("checkpoint_path", "configuration_files", "fast_tokenizer_files", "transformers_weights")
"""Keys with which transformers' files name another file to read in place of the usual one."""

_USUAL_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json")

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_files(folder: Path) -> None:
    """Raises CandidateError if a file would block or never end, is a loop of links, or is too large to describe."""
    for entry in os.scandir(folder):
        try:
            state = entry.stat()
        except FileNotFoundError:  # a link to nothing, which counts as missing
            continue
        except OSError as error:
            raise CandidateError(f"the {entry.name} cannot be looked at ({error.strerror})") from None
        kind = _KINDS.get(stat.S_IFMT(state.st_mode))
        if kind is not None:
            raise CandidateError(f"the {entry.name} is {kind}; expected a file")
        if entry.name.endswith(DESCRIPTIONS) and state.st_size > LARGEST_DESCRIPTION:
            raise CandidateError(
                f"the {entry.name} has {state.st_size:,} bytes; expected at most {LARGEST_DESCRIPTION:,} in a "
                "description"
            )


def check_configuration(configuration: Mapping[str, Any], tensors: int) -> None:
    """Raises CandidateError if a configuration asks for more layers than there are weights, or for other models.

    Args:
        configuration: the content of `config.json`.
        tensors: number of tensors in the weights.
    """
    most = max(MOST_LAYERS, tensors)
    for path, name, value in _values(configuration, "", "", 0):
        is_count = isinstance(value, int | float) and not isinstance(value, bool)
        if is_count and _OF_LAYERS.search(name) and value > most:
            raise CandidateError(
                f"the config.json asks for {path} = {value:,}, but the weights have {tensors:,} tensors; expected at "
                f"most {most:,} layers"
            )
        is_reference = name in _OF_REFERENCES or path.startswith("auto_map.")
        if isinstance(value, str) and is_reference and re.search(r"://|^(hf[-_]hub|hub|local-dir):|/|--", value):
            raise CandidateError(
                f"the config.json refers to another model ({path} is {value!r}), which would be read without a fixed "
                "revision. Save the whole model into the folder, with save_pretrained"
            )


def check_usual_files(folder: Path) -> None:
    """Raises CandidateError if a folder asks transformers to read another file in place of one with the usual name.

    Only files with the usual names are checked before a library reads them, and only these are part of the revision.
    """
    for file in ("config.json", "tokenizer_config.json"):
        for path, name, value in _values(read_json(folder / file), "", "", 0):
            if name in _OF_FILES and value and value not in _USUAL_FILES:
                raise CandidateError(
                    f"the {file} asks for another file in place of the usual one ({path} is {value!r}), which is not "
                    "read. Give that file the usual name, and leave out the key"
                )


def is_file(path: Path) -> bool:
    """True for a file that can be read to its end: neither a pipe nor a device, nor a loop of links."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


class _Offline:
    """How many threads are inside `without_network`, and what the client's setting was before the first one."""

    lock = threading.Lock()
    inside = 0
    before = False


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """In this context, the client of the Hub fetches nothing: a folder on this machine holds all of its model."""
    from huggingface_hub import constants

    with _Offline.lock:
        if not _Offline.inside:
            _Offline.before = constants.HF_HUB_OFFLINE
        _Offline.inside += 1
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        with _Offline.lock:
            _Offline.inside -= 1
            if not _Offline.inside:
                constants.HF_HUB_OFFLINE = _Offline.before


def _values(value: Any, path: str, name: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """The path of each value, its last key, without the places in lists behind it, and the value."""
    if depth > DEEPEST:
        raise CandidateError(f"the config.json is nested more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            short = str(key)[:_LONGEST_KEY]
            yield from _values(inner, f"{path}.{short}" if path else short, short.rsplit(".", 1)[-1], depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _values(inner, f"{path}[{index}]", name, depth + 1)
    else:
        yield path, name, value
