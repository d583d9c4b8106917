"""What the shipped zoos share: checks for libraries, matching of names, metadata checks, one-line reasons."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from modelselect.candidates.metadata import metadata_fault
from modelselect.errors import CandidateError, ExpressionError, StoreError, did_you_mean
from modelselect.hub import LARGEST_DESCRIPTION
from modelselect.probe.images import UnreadableError, content_of
from modelselect.store.store import Store
from modelselect.utils.paths import expanded
from modelselect.utils.versions import numeric_versions

T = TypeVar("T")

_REGISTRIES: dict[tuple[Path, str], Any] = {}
"""What was built of kept registries in this process, by the store's path and the key."""

_SETTINGS = re.compile(r"(?P<name>.+)\?(?P<settings>\w+=[^=&?]*(&\w+=[^=&?]*)*)", re.DOTALL)


def split_settings(pattern: str) -> tuple[str, dict[str, str]]:
    """The part before a trailing `?key=value&...`, and the settings in it, which say how a model is used.

    >>> split_settings("owner/name?pooling=cls&max_length=128")
    ('owner/name', {'pooling': 'cls', 'max_length': '128'})
    >>> split_settings("models/bert-?")
    ('models/bert-?', {})
    """
    match = _SETTINGS.fullmatch(pattern)
    if match is None:
        return pattern, {}
    return match["name"], dict(setting.split("=") for setting in match["settings"].split("&"))


def with_settings(name: str, settings: Mapping[str, str]) -> str:
    """The name of a model with settings; equal settings always give the same name.

    >>> with_settings("owner/name", {"pooling": "cls", "max_length": "128"})
    'owner/name?max_length=128&pooling=cls'
    """
    return "?".join([name, "&".join(f"{key}={settings[key]}" for key in sorted(settings))]) if settings else name


def sound(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that is known and valid; files from others may hold anything under any key.

    >>> sound({"parameters": 5, "license": {"name": "MIT"}, "family": None})
    {'parameters': 5}
    """
    return {k: value for k, value in metadata.items() if value is not None and metadata_fault(k, value) is None}


def language_codes(given: Any) -> tuple[str, ...] | None:
    """The codes of languages that a card or a configuration names, each once and in lower case; None if it names none.

    >>> language_codes(["de", "EN", "en"]), language_codes("fr"), language_codes({"x": 1})
    (('de', 'en'), ('fr',), None)
    """
    named = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
    codes = dict.fromkeys(each.strip().lower() for each in named if isinstance(each, str) and each.strip())
    return tuple(codes) or None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if the file is missing, damaged, or holds something else."""
    content = json_of(file)
    return content if isinstance(content, dict) else {}


def json_of(file: Path) -> Any:
    """The value in a JSON file; None if the file is missing, damaged, too large, or no file."""
    try:
        return json.loads(content_of(file, LARGEST_DESCRIPTION))
    except (UnreadableError, OSError, ValueError, RecursionError):
        return None


LONGEST_SIDE = 10_000
"""Maximum side of an input in pixels: a configuration may ask for more than fits into memory."""

LARGEST_AREA = 4096 * 4096
"""Pixels of an input. One image of this size takes 200 MB, and a forward pass some times that."""


def check_sides(size: Iterable[Any]) -> None:
    """Raises CandidateError for inputs of an implausible size."""
    sides = tuple(size)
    if any(isinstance(side, int | float) and side > LONGEST_SIDE for side in sides):
        raise CandidateError(
            f"the configuration asks for inputs of size {sides}; expected at most {LONGEST_SIDE:,} pixels on a side"
        )
    numbers = [side for side in sides if isinstance(side, int | float)]
    if len(numbers) >= 2 and abs(numbers[-1] * numbers[-2]) > LARGEST_AREA:
        raise CandidateError(
            f"the configuration asks for inputs of {numbers[-2]:,} x {numbers[-1]:,} pixels; expected at most "
            f"{LARGEST_AREA:,} pixels"
        )


def is_glob(pattern: str) -> bool:
    """True if the pattern may match several names.

    >>> is_glob("resnet*"), is_glob("resnet18")
    (True, False)
    """
    return any(character in pattern for character in "*?[")


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names of the form `architecture.tag` that match a glob, which without a tag matches all. Case is ignored.

    >>> matching("*18", ["resnet18.a", "resnet18.b", "vit.a"])
    ['resnet18.a', 'resnet18.b']
    """
    wanted = pattern.lower()
    globs = [wanted] if "." in wanted else [wanted, f"{wanted}.*"]
    return [name for name in names if any(fnmatch.fnmatchcase(name.lower(), glob) for glob in globs)]


def missing_library(library: str) -> str | None:
    """None if the library can be imported, else one line: why not, and the command that fixes this.

    The store keeps that a library could be imported, until something is installed next to it. A process that has
    imported torch asks the library itself.
    """
    key, store = _importable_key(library), Store()
    with contextlib.suppress(StoreError):
        if key is not None and "torch" not in sys.modules and store.get(key) is not None:
            return None
    missing = _why_not_imported(library)
    with contextlib.suppress(StoreError):
        if key is not None and missing is None and store.get(key) is None:
            store.put(key, {})
    return missing


def _importable_key(library: str) -> str | None:
    """The key under which the store keeps that a library can be imported; None if it is not installed as usual."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        found = None if library in sys.modules and sys.modules[library] is None else importlib.util.find_spec(library)
        if found is not None and found.origin is not None:
            folder = Path(found.origin).parent.parent  # each installation changes it
            changed = folder.stat().st_mtime_ns
            return Store.key("importable", library=library, python=sys.version, folder=str(folder), changed=changed)
    return None


def _why_not_imported(library: str) -> str | None:
    try:
        importlib.import_module(library)
    except Exception as error:  # a library that fails on import may raise anything
        together = () if library == "huggingface_hub" else ("torch", "torchvision")  # the versions have to match
        packages = " ".join(dict.fromkeys((*together, library)))
        return f"{library} cannot be imported ({one_line(error)}); fix this with: pip install --upgrade {packages}"
    return None


def first_missing(*libraries: str) -> str | None:
    """`missing_library` of the first library that cannot be imported; None if all can."""
    return next(filter(None, map(missing_library, libraries)), None)


def required(library: str) -> ModuleType:
    """The library.

    Raises:
        ExpressionError: the library cannot be imported; the message says how to fix this.
    """
    missing = _why_not_imported(library)
    if missing is not None:
        raise ExpressionError(f"the zoo {library!r} cannot be used here: {missing}")
    return importlib.import_module(library)


def kept_registry(library: str, build: Callable[[Mapping[str, Any]], T]) -> T | None:
    """What `build` makes of the document that `keep_registry` has kept; None if there is none.

    It is read and built once a process, since it is asked for once a candidate. Callers must not change it.
    """
    if (key := _registry_key(library)) is None:
        return None
    store = Store()
    if (store.path, key) not in _REGISTRIES:
        with contextlib.suppress(StoreError):
            if (entry := store.get(key)) is not None:
                _REGISTRIES[store.path, key] = build(entry.metadata)
    found: T | None = _REGISTRIES.get((store.path, key))
    return found


def keep_registry(library: str, document: Mapping[str, Any]) -> None:
    """Keeps in the store which models a library has, as JSON, until its version or that of torch changes."""
    store = Store()
    if (key := _registry_key(library)) is not None:
        outdated = _REGISTRIES.get((store.path, key), document) is None  # `build` made nothing of the one that is kept
        with contextlib.suppress(StoreError):
            if outdated or store.get(key) is None:
                store.put(key, {}, document)
                _REGISTRIES.pop((store.path, key), None)


def _registry_key(library: str) -> str | None:
    versions = numeric_versions((library, "torch", "torchvision", "modelselect-automl"))
    return Store.key("registry", library=library, versions=versions) if library in versions else None


def torch_checkpoints() -> Path:
    """The folder in which torch keeps weights that it has downloaded.

    torch is asked only if it is imported already, since importing it takes seconds.
    """
    if (torch := sys.modules.get("torch")) is not None:
        return Path(torch.hub.get_dir()) / "checkpoints"
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return expanded(home) / "hub" / "checkpoints"


def unknown_name(zoo: str, name: str, known: Iterable[str]) -> ExpressionError:
    """The error for an exact name that the zoo lacks."""
    advice = did_you_mean(name, known) or f" `modelselect search '{zoo}:*'` lists all names."
    return ExpressionError(f"zoo {zoo!r} has no {name!r}.{advice}")


def is_unsafe_pickle(error: Exception) -> bool:
    """True if torch refused to read a pickle because that would run code from the file."""
    return re.search("weights only load failed|weights_only=True", str(error), re.IGNORECASE) is not None


def unsafe_pickle(file: str) -> str:
    """Why a pickle was refused."""
    return (
        f"the {file} is a pickle of more than tensors; reading it would run code from the file, so it was refused. Ask "
        "its author for safetensors"
    )


def one_line(error: BaseException) -> str:
    r"""`Type: first line of the message`.

    >>> one_line(ValueError("bad\nvery bad"))
    'ValueError: bad'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


_FILLING = ("add_", "clamp_", "copy_", "erfinv_", "fill_", "mul_", "normal_", "sub_", "uniform_", "zero_")


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """In this context, new modules have shapes but no values, and initialising them costs nothing.

    >>> import torch
    >>> with without_values():
    ...     layer = torch.nn.Linear(2, 3)
    >>> layer.weight.device.type, tuple(layer.weight.shape)
    ('meta', (3, 2))
    """
    import torch
    from torch.overrides import TorchFunctionMode

    filling = {getattr(torch.Tensor, name) for name in _FILLING}

    class Unfilled(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            named = kwargs or {}
            if func in filling or getattr(func, "__module__", None) == torch.nn.init.__name__:
                tensor = args[0] if args else named.get("tensor")
                if tensor is not None and tensor.is_meta:  # it would only change values, and there are none
                    return tensor
            return func(*args, **named)

    with torch.device("meta"), Unfilled():
        yield
