"""Digests of functions, classes and modules that change when their code changes; they identify a user's own code."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import sys
import sysconfig
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


def tensor_bytes(tensor: torch.Tensor) -> Any:
    """The tensor's values as a buffer, for any dtype."""
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


VERSIONED = frozenset({"torch", "torchvision", "timm", "transformers", "numpy", "PIL", "modelselect"})
"""Packages whose code is identified by their version, which is already a part of every stored number's key."""


def code_key(*things: Any) -> str:
    """Digest of the code of functions and classes, and of what this code refers to. For other objects, of their class.

    It covers bytecode (which exists even without source code, as in a notebook); class attributes, defaults and
    closures that are plain values; and the user's own functions and classes that are referred to by name. It does not
    cover what is reached in other ways (`getattr`, a list of functions).

    >>> def halved(x):
    ...     return x / 2
    >>> def doubled(x):
    ...     return x * 2
    >>> code_key(halved) == code_key(doubled)
    False
    """
    digest = hashlib.sha256()
    seen: set[int] = set()
    waiting = [(thing, "") for thing in reversed(things)]
    while waiting:
        thing, root = waiting.pop()
        if isinstance(thing, functools.partial):  # a function with other settings is another function
            named = sorted(thing.keywords.items())
            waiting += [(part, root) for part in (thing.func, *thing.args, *(part for pair in named for part in pair))]
            continue
        thing = _unwrapped(thing)
        if (text := _plain_text(thing)) is not None:
            digest.update(text.encode() + b"\0")
            continue
        if not isinstance(thing, FunctionType | type):
            thing = type(thing)
        own_root = str(thing.__module__).split(".")[0]
        digest.update(f"{own_root}:{thing.__qualname__}\0".encode())
        if id(thing) in seen or own_root in VERSIONED or (own_root != root and root and _is_installed(own_root)):
            continue
        seen.add(id(thing))
        parts = _of_function(thing) if isinstance(thing, FunctionType) else _of_class(thing)
        for name, part in parts:
            digest.update(f"{name}\0".encode())
            waiting.append((part, own_root))
    return digest.hexdigest()


_OF_EACH_MODULE = ("training", "_parameters", "_buffers", "_modules")
"""Attributes that say nothing of a module's settings."""


class ModuleKey(NamedTuple):
    """What a torch module does, apart from its weights.

    Attributes:
        digest: of structure, settings, and the code of its classes. Settings are attributes of submodules: plain
            values, tensors that are not parameters, and functions.
        is_whole: whether the attributes hold nothing else, and no functions, whose digest may miss what they refer to.
    """

    digest: str
    is_whole: bool


def module_key(module: torch.nn.Module) -> ModuleKey:
    """See `ModuleKey`."""
    import torch

    is_whole = True
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module)).encode())
    for name, submodule in module.named_modules():
        texts = [f"{name}:{type(submodule).__module__}.{type(submodule).__qualname__}\0"]
        for attribute, value in sorted(vars(submodule).items()):
            if attribute in _OF_EACH_MODULE:
                continue
            if (text := _plain_text(value)) is not None:
                texts.append(f"{attribute}={text}\0")
            elif isinstance(value, torch.Tensor | np.ndarray):
                digest.update("".join([*texts, f"{attribute}:{tuple(value.shape)}:{value.dtype}\0"]).encode())
                digest.update(tensor_bytes(torch.as_tensor(value)))
                texts = []
            elif callable(value):
                is_whole = False
                texts.append(f"{attribute}:{getattr(value, '__qualname__', '')}:{code_key(value)}\0")
            elif attribute != "_non_persistent_buffers_set":
                is_whole = False
        digest.update("".join(texts).encode())
    types = {type(submodule): None for submodule in module.modules()}
    digest.update(code_key(*types).encode())
    return ModuleKey(digest.hexdigest(), is_whole)


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Code, plain defaults and closures, and what the code refers to by name."""
    yield "code", _code_text(function.__code__)
    yield from (("default", value) for value in function.__defaults__ or ())
    yield from sorted((function.__kwdefaults__ or {}).items())
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType | type | MethodType | functools.partial) or _plain_text(value) is not None:
            yield name, value


def _of_class(kind: type) -> Iterator[tuple[str, Any]]:
    """Its bases, and every method and plain attribute."""
    yield from (("base", base) for base in kind.__bases__)
    for name, value in sorted(vars(kind).items()):
        if isinstance(value, property):
            yield from ((name, part) for part in (value.fget, value.fset) if part is not None)
        elif not name.startswith("__") or isinstance(value, FunctionType):
            value = _unwrapped(value)
            if isinstance(value, FunctionType | type | functools.partial) or _plain_text(value) is not None:
                yield name, value


def _unwrapped(thing: Any) -> Any:
    """The function behind a method or a decorator."""
    while True:
        if isinstance(thing, staticmethod | classmethod | MethodType):
            thing = thing.__func__
        elif isinstance(thing, FunctionType) and hasattr(thing, "__wrapped__"):
            thing = inspect.unwrap(thing)
        else:
            return thing


def _code_text(code: CodeType) -> str:
    """Instructions, names and constants, without line numbers and file names."""
    constants = [
        _code_text(constant)
        if isinstance(constant, CodeType)
        else str(sorted(map(repr, constant)))  # a set's order differs from run to run
        if isinstance(constant, frozenset)
        else repr(constant)
        for constant in code.co_consts
    ]
    return f"{code.co_code.hex()}{code.co_names}{code.co_varnames}{constants}"


def _names(code: CodeType) -> set[str]:
    nested = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*nested)


_PLAIN = frozenset({bool, int, float, complex, str, bytes})


def _plain_text(value: Any) -> str | None:
    """A text for numbers, strings, and tuples, lists and mappings of these; None for anything else."""
    if value is None or type(value) in _PLAIN:
        return repr(value)
    if type(value) in (dict, OrderedDict, tuple, list) and not value:
        return f"{type(value).__name__}()"
    if isinstance(value, tuple | list):
        parts = [_plain_text(part) for part in value]
    elif isinstance(value, Mapping):
        parts = [_plain_text(part) for item in value.items() for part in item]
    else:
        return None
    known = [part for part in parts if part is not None]
    return f"{type(value).__name__}({','.join(known)})" if len(known) == len(parts) else None


@functools.cache
def _is_installed(root: str) -> bool:
    """True for the standard library and installed packages, which a user does not edit between two runs."""
    if root in sys.stdlib_module_names and root != "__main__":
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return False
    folders = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    return any(Path(file).is_relative_to(folder) for folder in folders)
