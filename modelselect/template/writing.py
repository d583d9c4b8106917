"""Writes a package with a plugin from the files of the template."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from string import Template

from modelselect.errors import InvalidInputError, did_you_mean
from modelselect.utils.text import REGISTERED_NAME, printable
from modelselect.utils.versions import DISTRIBUTION, __version__

KINDS = ("estimator", "zoo", "task", "extractor", "executor", "encoder", "pool", "protocol", "section", "command")
"""The kinds of plugins that `write` knows."""

LICENSES = ("MIT", "BSD-3-Clause", "Apache-2.0")
"""Licences that `write` knows, as SPDX names."""

_SUFFIX = ".template"
_FILES = files("modelselect.template") / "files"


def write(kind: str, name: str, folder: Path, *, license: str = "MIT", author: str = "") -> list[Path]:
    """Writes a package that registers one plugin: module, tests by the kit, metadata, a workflow for tests.

    Args:
        kind: one of `KINDS`.
        name: of the plugin: lower-case letters, digits, `_` and `-`. The distribution is `modelselect-NAME`.
        folder: where the package goes; it must not exist, or be empty.
        license: one of `LICENSES`.
        author: for the metadata and the licence; empty for "The authors".

    Returns:
        The files, relative to `folder`.

    Raises:
        InvalidInputError: an argument cannot be used, or the folder holds something or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     written = write("estimator", "spread", Path(scratch) / "spread")
    >>> [path.as_posix() for path in written if path.suffix == ".py"]
    ['src/modelselect_spread/__init__.py', 'tests/test_spread.py']
    """
    if kind not in KINDS:
        raise InvalidInputError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    if not REGISTERED_NAME.fullmatch(name) or keyword.iskeyword(name):
        raise InvalidInputError(
            f"the plugin's name is {name!r}; expected lower-case letters, digits, _ and -, as in 'my_estimator'"
        )
    if license not in LICENSES:
        raise InvalidInputError(f"license is {license!r}; expected one of {', '.join(LICENSES)}")
    words = _words(kind, name, license, author)
    written = []
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInputError(f"{str(folder)!r} exists and is not an empty folder; name a new one")
        for path, text in _templates(kind, license):
            target = Path(Template(path).substitute(words))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_text(Template(text).substitute(words), encoding="utf-8")
            written.append(target)
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(folder)!r}: {error.strerror}. Give a writable folder") from error
    return sorted(written)


def _words(kind: str, name: str, license: str, author: str) -> dict[str, str]:
    """What the template's placeholders stand for."""
    module = name.replace("-", "_")
    return {
        "kind": kind,
        "name": name,
        "module": module,
        "package": f"modelselect_{module}",
        "distribution": f"modelselect-{name.replace('_', '-')}",
        "class_name": "".join(part.title() for part in module.split("_")),
        "license": license,
        "author": " ".join(printable(author).replace("\\", "").replace('"', "'").split()) or "The authors",
        "year": str(date.today().year),
        "modelselect": DISTRIBUTION,
        "version": __version__,
    }


def _templates(kind: str, license: str) -> Iterator[tuple[str, str]]:
    """The path, with placeholders, and the text of each file."""
    for file in (
        "pyproject.toml",
        "README.md",
        ".gitignore",
        ".github/workflows/tests.yml",
    ):
        yield file, _text(f"common/{file}")
    yield "LICENSE", _text(f"common/licenses/{license}")
    yield "src/$package/__init__.py", _text(f"{kind}/plugin.py")
    yield "src/$package/py.typed", ""
    yield "tests/test_$module.py", _text(f"{kind}/test_plugin.py")


def _text(path: str) -> str:
    return _FILES.joinpath(*f"{path}{_SUFFIX}".split("/")).read_text(encoding="utf-8")
