"""Reads protocols from a TOML file, and the tables next to it."""

from __future__ import annotations

import contextlib
import csv
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from modelselect.errors import InvalidInputError
from modelselect.protocols.protocol import (
    Architectures,
    Experiment,
    Method,
    Protocol,
    Published,
    Training,
    TruthTable,
    Values,
)

_TABLES = {"experiment", "method", "published", "truth", "training", "architectures", "fine_tuning"}


def read_protocols(path: Path, truths: Mapping[str, TruthTable] = MappingProxyType({})) -> list[Protocol]:
    """The protocols of a TOML file.

    The file has `document`, and a `[[protocol]]` for each protocol, whose keys are the attributes of `Protocol`.
    `truth` is a name among `truths`. `[[protocol.experiment]]`, `[[protocol.method]]` and `[[protocol.published]]` hold
    the attributes of `Experiment`, `Method` and `Published`. The figures of `[[protocol.published]]` may stand in a CSV
    file next to the TOML file, which `table` names: a column `method`, and one for each dataset. `like` names a
    protocol above in the file, which gives all keys that the protocol has not.

    Raises:
        InvalidInputError: the file cannot be read, or has a key that no protocol has; the message names the file.

    >>> from modelselect.host import get_host
    >>> [p.name for p in get_host().protocols.values() if p.name.startswith("blog")]
    ['blog-cifar10']
    """
    with _faults_of(path):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_keys(path, "the file", content, {"document", "protocol"})
        whole: dict[str, Mapping[str, Any]] = {}
        for table in content["protocol"]:
            whole[table["name"]] = {**whole[table["like"]], **table} if "like" in table else table
        return [_protocol(path, content["document"], truths, table) for table in whole.values()]


def read_truths(path: Path) -> dict[str, TruthTable]:
    """The known accuracies of a TOML file, by name.

    There is a table `[truth.NAME]` for each, with the attributes of `TruthTable`. The accuracies stand in a CSV file
    next to the TOML file, which `table` names: columns `dataset`, `model` and `accuracy`.

    Raises:
        InvalidInputError: as `read_protocols`.
    """
    with _faults_of(path):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_keys(path, "the file", content, {"truth"})
        return {name: _truth(path, name, table) for name, table in content["truth"].items()}


@contextlib.contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except InvalidInputError:
        raise
    except KeyError as error:
        raise InvalidInputError(f"{path.name} lacks {error}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"{path.name} cannot be read: {error}") from error


def _protocol(path: Path, document: str, truths: Mapping[str, TruthTable], table: Mapping[str, Any]) -> Protocol:
    name = str(table["name"])
    plain = {field.name for field in fields(Protocol)} - {"document", "experiments", "methods"}
    _check_keys(path, f"protocol {name!r}", table, plain | _TABLES | {"like"})
    known = {key: _frozen(value) for key, value in table.items() if key not in _TABLES | {"like"}}
    if (truth := table.get("truth")) is not None and truth not in truths:
        raise InvalidInputError(
            f"{path.name}: protocol {name!r} has the truth {truth!r}; expected one of {', '.join(truths) or 'none'}"
        )
    return Protocol(
        **known,
        document=document,
        truth=None if truth is None else truths[truth],
        experiments=tuple(Experiment(**each) for each in table.get("experiment", [])),
        methods=tuple(Method(**each) for each in table.get("method", [])),
        published=tuple(_published(path, each) for each in table.get("published", [])),
        training=_made(Training, table.get("training")),
        architectures=_made(Architectures, table.get("architectures")),
        fine_tuning=None if (given := table.get("fine_tuning")) is None else {k: _frozen(v) for k, v in given.items()},
    )


def _made(kind: type, table: Mapping[str, Any] | None) -> Any:
    return None if table is None else kind(**{key: _frozen(value) for key, value in table.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _published(path: Path, table: Mapping[str, Any]) -> Published:
    known = {key: value for key, value in table.items() if key != "table"}
    if "table" in table:
        known["values"] = _wide(path.parent / table["table"])
    return Published(**known)


def _truth(path: Path, name: str, table: Mapping[str, Any]) -> TruthTable:
    known = {key: value for key, value in table.items() if key != "table"}
    return TruthTable(name=name, accuracies=_long(path.parent / table["table"]), **known)


def _wide(path: Path) -> Values:
    """Figures by method and dataset; empty cells are absent."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("method"): {name: float(cell) for name, cell in row.items() if cell} for row in rows}


def _long(path: Path) -> Values:
    found: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["dataset"], {})[row["model"]] = float(row["accuracy"])
    return found


def _check_keys(path: Path, what: str, table: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise InvalidInputError(
            f"{path.name}: {what} has the key {unknown[0]!r}; expected one of {', '.join(sorted(known))}"
        )
