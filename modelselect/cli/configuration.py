"""The file of options: a table `[tool.modelselect]` in pyproject.toml, or a modelselect.toml.

Its keys are options of `select` and `benchmark`. The command line counts more than the file, and so does an environment
variable. Python's `select()` reads no file: its arguments say everything.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand

from modelselect.errors import InvalidInputError, did_you_mean
from modelselect.utils.text import printable

_LOGGER = logging.getLogger(__name__)

OWN_FILE = "modelselect.toml"
PROJECT_FILE = "pyproject.toml"
TABLE = "tool.modelselect"
MAX_BYTES = 1_000_000
_LONGEST_TEXT = 10_000
"""Characters of a text, at most."""
_MOST_STEPS = 10_000_000
"""Squared dots of the lines of a file, together: `a.a.a = 1` takes TOML's reader so many steps."""
_LONGEST = 100
"""Characters of a key or a value in a message."""

POOLS = ("candidates", "pool")
"""Two names of one option: what a run without candidates chooses from."""

VARIABLES: Mapping[str, str] = MappingProxyType(
    {"pool": "MODELSELECT_POOL", "history": "MODELSELECT_HISTORY", "cache_dir": "MODELSELECT_CACHE"}
)
"""Options that every command reads in an environment variable, which the file sets if nobody else does."""

PATHS = ("history", "cache_dir")
CONSENT: Mapping[str, str] = MappingProxyType(
    {
        "trust_remote_code": "lets candidates run their code",
        "yes": "agrees to what a command asks",
        "push": "publishes results",
        "public": "publishes results",
        "ray_address": "sends the dataset and code to another machine",
        "track": "sends results to an experiment tracker",
    }
)
"""Options that a file may not set, since files come with the projects and datasets of others; and what they do."""

BOUNDS = ("max_download", "max_time")
"""Options that a file may only lower: what a run spends without asking."""

NEEDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("verify", "epochs", "trials", "patience"), ("top_k", "tune", "save", "push")),
    (("confidence",), ("budget",)),
)
"""Options that have no meaning without one of others: then those of the file are left out."""


class Configuration(NamedTuple):
    """What a file says.

    Attributes:
        path: the file; None if there is none.
        options: values by the names of the options, with `_` for `-`.
    """

    path: Path | None = None
    options: Mapping[str, Any] = MappingProxyType({})

    def __str__(self) -> str:
        """`/home/me/project/pyproject.toml sets top-k, epochs`."""
        return f"{printable(str(self.path))} sets {', '.join(name.replace('_', '-') for name in self.options)}"

    def defaults(self) -> dict[str, dict[str, Any]]:
        """By command and parameter, what an option is where the command line does not have it."""
        if not self.options:
            return {}
        from modelselect.evaluation.keywords import BenchmarkKeywords

        known = _fields()
        named = {known[key].name if key in known else key: value for key, value in self.options.items()}
        left = {name: value for name, value in named.items() if name not in VARIABLES}
        shared = {name: value for name, value in left.items() if name in BenchmarkKeywords.__annotations__}
        return {"select": left, "benchmark": shared}

    @contextlib.contextmanager
    def in_environment(self) -> Iterator[None]:
        """Sets the environment variables that stand for options, if they are not set, until the end."""
        added = {VARIABLES[key]: value for key, value in self.options.items() if key in VARIABLES}
        added = {variable: value for variable, value in added.items() if variable not in os.environ}
        os.environ |= added
        try:
            yield
        finally:
            for variable in added:
                os.environ.pop(variable, None)


class ConfiguredCommand(TyperCommand):
    """A command that leaves out options of the file that have no meaning without others. The log names the file.

    It says where an option of one value is given twice, since only the last one counts.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = [] if ctx.resilient_parsing else self.make_parser(ctx).parse_args(args=list(args))[2]
        left: list[str] = super().parse_args(ctx, args)
        for option in sorted({each for each in given if given.count(each) > 1 and _takes_one(each)}, key=given.index):
            value = printable(str(ctx.params[option.name]))
            typer.echo(f"{option.opts[0]} is given {given.count(option)} times; the last counts: {value}", err=True)
        if isinstance(ctx.obj, Configuration) and ctx.obj.options:
            _LOGGER.info(ctx.obj)
            source = ctx.get_parameter_source("budget")
            if source is not None and source.name == "DEFAULT_MAP" and not ctx.resilient_parsing:
                where = printable(str(ctx.obj.path))
                typer.echo(f"{where} sets budget = {printable(str(ctx.params['budget']))}", err=True)
        for dependent, needed in NEEDS:
            for name in dependent:
                source = ctx.get_parameter_source(name)
                if source is not None and source.name == "DEFAULT_MAP" and not any(map(ctx.params.get, needed)):
                    ctx.params[name] = None
        return left


def _takes_one(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag or parameter.count)


def read(folder: Path) -> Configuration:
    """The options of the first file in the folder or its parents, up to the root of a repository or the home folder.

    Raises:
        InvalidInputError: a file cannot be read, or has an option that does not exist, exists twice, or is no value.
    """
    for path, table in _tables(folder):
        return Configuration(path, _checked(path, table))
    return Configuration()


def _tables(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    folder = folder.absolute()  # functions of os.path take a folder that may not be searched, or no home, for none
    for place in (folder, *folder.parents):
        if os.path.isfile(own := place / OWN_FILE):
            yield own, _parsed(own)
        if os.path.isfile(project := place / PROJECT_FILE) and _names_us(project):
            tool = _parsed(project).get("tool")
            table = tool.get("modelselect") if isinstance(tool, dict) else None
            if table is not None:
                yield project, table
        if os.path.exists(place / ".git") or str(place) == os.path.expanduser("~"):
            return


def _names_us(path: Path) -> bool:
    """Whether the file may hold our table. One that cannot be read is somebody else's."""
    with contextlib.suppress(OSError):
        return b"modelselect" in _start_of(path)
    return False


def _start_of(path: Path) -> bytes:
    """The content of a file, up to one byte more than it may have."""
    if not path.stat().st_size:  # as files of /proc say, some of which never end
        return b""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _content(path: Path) -> bytes:
    try:
        content = _start_of(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}. Make it readable.") from error
    if len(content) > MAX_BYTES:
        raise InvalidInputError(f"{path} has more than {MAX_BYTES:,} bytes; expected a few lines of options")
    return content


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        text = _content(path).decode("utf-8")
        if sum(line.count(".") ** 2 for line in text.splitlines()) > _MOST_STEPS:
            raise RecursionError
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError and a TOMLDecodeError are ValueErrors
        reason = "tables are nested too deeply" if isinstance(error, RecursionError) else error
        raise InvalidInputError(f"{path} is not valid TOML: {reason}. Correct the file, or remove it.") from error


def _checked(path: Path, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise InvalidInputError(f"{TABLE} in {path} is {_shown(table)}; expected a table: [{TABLE}]")
    known = (*_fields(), *POOLS)
    found: dict[str, Any] = {}
    for written, value in table.items():
        key = written.replace("-", "_")
        if key in CONSENT:
            raise InvalidInputError(
                f"{path} sets {_shown(written)}, which {CONSENT[key]}. Only the command line may do this; remove the "
                "line."
            )
        if key not in known and isinstance(value, dict):
            raise InvalidInputError(
                f"{path} holds the section {_shown(written)}, but options stand without sections: move its lines up"
                + (f", under [{TABLE}]" if path.name == PROJECT_FILE else "")
            )
        if key not in known:
            near = did_you_mean(written[:_LONGEST].replace("_", "-"), [name.replace("_", "-") for name in known])
            raise InvalidInputError(f"{path} sets {_shown(written)}, but there is no such option.{near}")
        key = "pool" if key in POOLS else key
        if key in found:
            raise InvalidInputError(f"{path} sets {_shown(written)} twice, in two spellings; remove one of them")
        found[key] = _value(path, written, key, value)
        if key in BOUNDS:
            _check_not_raised(path, written, key, value)
    return found


def _check_not_raised(path: Path, written: str, key: str, value: Any) -> None:
    """Raises `InvalidInputError` if the bound is no bound, or is higher than without the file."""
    from modelselect.budget.bounds import Bounds

    try:
        asked, usual = Bounds.of(**{key: value}), Bounds.of()
    except InvalidInputError as error:
        raise InvalidInputError(f"{path} sets {_shown(written)}: {error}") from None
    if asked.download > usual.download or asked.seconds > usual.seconds:
        raise InvalidInputError(
            f"{path} sets {_shown(written)} to {_shown(value)}, but without the file the bounds are {usual}. A file "
            f"may only lower them; remove the line, and type --{key.replace('_', '-')} {value}."
        )


def _value(path: Path, written: str, key: str, value: Any) -> Any:
    """A value as the command line would have it: text, a list of texts, or the state of a flag."""
    kind = _fields()[key].metadata["option"].type if key in _fields() else str
    if key == "history" and value is False:
        return ""
    if kind is bool and isinstance(value, bool):
        return value
    texts = [str(each) for each in (value if isinstance(value, list) else [value]) if _is_scalar(each)]
    if not texts or kind is bool or len(texts) != (len(value) if isinstance(value, list) else 1):
        expected = "true or false" if kind is bool else "text, a number, or a list of texts"
        raise InvalidInputError(f"{path} sets {_shown(written)} to {_shown(value)}; expected {expected}")
    if kind is list:
        return texts
    if key in PATHS and texts[0] not in ("", "off") and "://" not in texts[0]:
        return str(path.parent / os.path.expanduser(texts[0]))
    return "" if key == "history" and texts[0] == "off" else ",".join(texts)


def _is_scalar(value: Any) -> bool:
    """Whether the value is a text or a number that a command line and an environment variable can have."""
    if isinstance(value, str):
        return "\0" not in value and len(value) <= _LONGEST_TEXT
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _shown(value: Any) -> str:
    """The value for a message."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no numbers of thousands of digits
        return "a number with too many digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@functools.cache
def _fields() -> Mapping[str, Any]:
    """The fields of `Settings` by the names of their options."""
    from modelselect.cli.options import option_name
    from modelselect.evaluation.keywords import Keywords, settings_in

    return {
        option_name(field).lstrip("-").replace("-", "_"): field
        for field in settings_in(Keywords)
        if field.metadata["option"] is not None
    }


def applies(arguments: Sequence[str]) -> bool:
    """Whether a command line needs the file: `doctor` reports a broken one, and help and version ignore it."""
    is_command = bool(arguments) and not arguments[0].startswith("-")
    return is_command and arguments[0] != "doctor" and "--help" not in arguments
