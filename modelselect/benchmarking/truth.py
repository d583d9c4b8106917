"""Reads known accuracies, scores and facts about models from tables."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.errors import InvalidInputError
from modelselect.history.database import Database
from modelselect.history.records import ACCURACY
from modelselect.host.lookup import TRUTH, find_truth
from modelselect.utils.text import counted, csv_cell, text_of_csv

if TYPE_CHECKING:
    import pandas as pd

ALIASES = {
    "model": ("model", "candidate"),
    "accuracy": ("accuracy", "value"),
    "dataset": ("dataset",),
    "rows": ("rows", "test_rows"),
    "parameters": ("parameters",),
    "family": ("family",),
}
"""Names that a table may give its columns; the first that the table has counts."""

MISSING = {"", "-", "–", "na", "n/a", "nan", "none", "null"}
"""Cells without a value, in lower case."""

Matrix = dict[str, dict[str, float]]
"""By dataset and model."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Known accuracies.

    Attributes:
        accuracies: from 0 to 1, by dataset and model.
        runs: by dataset and model, the results whose mean is the accuracy, where there are several.
        rows: by dataset and model, the number of rows that the accuracy was measured on, where it is known.
        notes: how the accuracies were read.
    """

    accuracies: Matrix = field(default_factory=dict)
    runs: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def renamed(self, names: Mapping[str, Mapping[str, str]]) -> Truth:
        """The truth of some models, by dataset and new name of the model. All others are left out."""

        def of(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
            return {
                dataset: {new: table[dataset][old] for old, new in models.items() if old in table[dataset]}
                for dataset, models in names.items()
                if dataset in table
            }

        return Truth(of(self.accuracies), of(self.runs), of(self.rows), self.notes)


def read_truth(given: Any, columns: Mapping[str, str] | None = None) -> Truth:
    r"""The truth in a table, a mapping or a history.

    Args:
        given: a CSV file or a DataFrame, long (columns `dataset`, `model` or `candidate`, `accuracy` or `value`, and
            perhaps `rows`, the number of test rows) or wide (a column `model`, and one for each dataset); a mapping
            dataset -> model -> accuracy, or a list of accuracies; a `History`; or `truth:NAME`, accuracies that a
            protocol brings. If one accuracy is above 1, all are
            in per cent. Several results of one model on one dataset count by their mean. Empty cells are unknown.
        columns: the table's own names for `dataset`, `model`, `accuracy` and `rows`, where they differ.

    Raises:
        InvalidInputError: the truth cannot be read; the message says where.

    >>> read_truth({"pets": {"resnet18": 88.0, "vgg11": 85.5}}).accuracies
    {'pets': {'resnet18': 0.88, 'vgg11': 0.855}}
    """
    rows: dict[str, dict[str, int]] = {}
    if isinstance(given, str) and given.startswith(TRUTH):
        table = find_truth(given)
        source = f"{table.source} ({table.commit})" if table.commit else table.source
        named = _checked(
            {d: {table.models.get(m, m): [v] for m, v in by.items()} for d, by in table.accuracies.items()}, rows
        )
        notes = (f"The accuracies are those of {source}; licence: {table.licence}.", table.note)
        return replace(named, notes=(*named.notes, *(note for note in notes if note)))
    if isinstance(given, Database):
        found = _of_history(given)
    elif _is_matrix(given):
        found = {
            str(d): {str(m): [_number(v, f"truth[{d!r}][{m!r}]") for v in _several(vs)] for m, vs in by_model.items()}
            for d, by_model in given.items()
        }
    else:
        columns = _only(columns, ("dataset", "model", "accuracy", "rows"))
        frame, called = _frame(given, columns, "truth")
        names = {key: _column(frame, key, columns) for key in ALIASES}
        if names["model"] is None:
            raise InvalidInputError(
                f"{called} has the columns {listed_names(frame.columns)}; expected dataset, model and accuracy, or "
                "model and a column for each dataset. Name the table's columns: columns={'model': ...} "
                "(--column model=...)."
            )
        if names["accuracy"] is not None and names["dataset"] is not None:
            key = names["dataset"], names["model"]
            found = _long(frame, *key, names["accuracy"], called)
            if names["rows"] is not None:
                rows = _rows(frame, *key, names["rows"], called)
        else:
            found = _wide(frame, names["model"], called)
    return _checked(found, rows)


def read_scores(given: Any, columns: Mapping[str, str] | None = None) -> dict[str, Matrix]:
    """Scores by estimator, dataset and model. See `Benchmark.of_scores`.

    Raises:
        InvalidInputError: the table cannot be read.
    """
    if isinstance(given, Mapping) and all(map(_is_matrix, given.values())):
        return {
            str(e): {
                str(d): {
                    str(m): _number(v, f"scores[{e!r}][{d!r}][{m!r}]")
                    for m, v in by_model.items()
                    if not _is_missing(v)
                }
                for d, by_model in by_dataset.items()
            }
            for e, by_dataset in given.items()
        }
    accuracy = _only(columns, ("accuracy",))  # the truth has it, and perhaps this table as well
    columns = _only(columns, ("dataset", "model", "estimator", "score"))
    frame, called = _frame(given, columns, "scores")
    dataset, model = _column(frame, "dataset", columns), _column(frame, "model", columns)
    if dataset is None or model is None:
        raise InvalidInputError(
            f"{called} has the columns {listed_names(frame.columns)}; expected dataset, model, and estimator and score "
            "or a column for each estimator. Name the table's columns: columns={'model': ...} (--column model=...)."
        )
    named = {key: (columns or {}).get(key, key) for key in ("estimator", "score")}
    found: dict[str, Matrix] = {}
    if set(named.values()) <= set(frame.columns):
        for number, row in enumerate(frame.to_dict("records"), 2):
            value = _number(row[named["score"]], f"{called}, line {number}: score")
            if not math.isnan(value):
                place = f"{called}, line {number}"
                estimator = _name(row[named["estimator"]], named["estimator"], place)
                by_model = found.setdefault(estimator, {}).setdefault(_name(row[dataset], dataset, place), {})
                _set_once(by_model, _name(row[model], model, place), value, place)
        return found
    others = {dataset, model, _column(frame, "accuracy", accuracy)}
    for estimator in (str(column) for column in frame.columns if column not in others):
        for number, row in enumerate(frame.to_dict("records"), 2):
            value = _number(row[estimator], f"{called}, line {number}: {estimator}")
            if not math.isnan(value):
                place = f"{called}, line {number}"
                by_model = found.setdefault(estimator, {}).setdefault(_name(row[dataset], dataset, place), {})
                _set_once(by_model, _name(row[model], model, place), value, place)
    return found


def read_models(given: Any, columns: Mapping[str, str] | None = None) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers of parameters and families, by model, where they are known.

    Args:
        given: a CSV file or a DataFrame with the columns `model`, and `parameters` or `family` or both; or a mapping
            model -> field -> value.
        columns: the table's own names for `model`, `parameters` and `family`, where they differ.

    Raises:
        InvalidInputError: the table cannot be read, or has neither parameters nor families.

    >>> read_models({"a": {"parameters": 11e6, "family": "ResNet"}, "b": {"parameters": None}})
    ({'a': 11000000.0}, {'a': 'ResNet'})
    """
    if _is_matrix(given):
        facts = {str(model): dict(known) for model, known in given.items()}
        places = {model: f"models[{model!r}]" for model in facts}
    else:
        columns = _only(columns, ("model", "parameters", "family"))
        frame, called = _frame(given, columns, "models")
        names = {key: _column(frame, key, columns) for key in ("model", "parameters", "family")}
        if names["model"] is None or names["parameters"] is names["family"] is None:
            raise InvalidInputError(
                f"{called} has the columns {listed_names(frame.columns)}; expected model, and parameters or family. "
                "Name the table's columns: columns={'family': ...} (--column family=...)."
            )
        facts, places = {}, {}
        for number, row in enumerate(frame.to_dict("records"), 2):
            model = _name(row[names["model"]], names["model"], f"{called}, line {number}")
            facts[model] = {key: row[name] for key, name in names.items() if name is not None and key != "model"}
            places[model] = f"{called}, line {number}"
    parameters = {m: _number(known.get("parameters"), f"{places[m]}: parameters") for m, known in facts.items()}
    for model, count in parameters.items():
        if count < 0:
            raise InvalidInputError(f"{places[model]}: parameters is {count:g}; expected a number of 0 or more")
    return (
        {model: count for model, count in parameters.items() if not math.isnan(count)},
        {m: str(known["family"]).strip() for m, known in facts.items() if not _is_missing(known.get("family"))},
    )


def write_truth(
    truth: Mapping[str, Mapping[str, float]], rows: Mapping[str, Mapping[str, int]] = MappingProxyType({})
) -> str:
    r"""A long table in per cent, as `read_truth` reads it. It has a column `rows` if a number of test rows is known.

    >>> print(write_truth({"pets": {"resnet18": 0.88}}), end="")
    dataset,model,accuracy
    pets,resnet18,88.0
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    counted = any(rows.values())
    writer.writerow(["dataset", "model", "accuracy", *(["rows"] if counted else [])])
    for dataset, by_model in truth.items():
        for model, accuracy in by_model.items():
            known = [rows.get(dataset, {}).get(model, "")] if counted else []
            writer.writerow([csv_cell(dataset), csv_cell(model), round(100 * accuracy, 6), *known])
    return written.getvalue()


def _several(given: Any) -> Sequence[Any]:
    """The results of a list, or the only one."""
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _is_matrix(given: Any) -> bool:
    return isinstance(given, Mapping) and all(isinstance(by_model, Mapping) for by_model in given.values())


def _of_history(history: Database) -> dict[str, dict[str, list[float]]]:
    names = {dataset: str(facts.get("name", dataset)) for dataset, facts in history.datasets().items()}
    found: dict[str, dict[str, list[float]]] = {}
    for result in history.results(metric=ACCURACY):
        by_model = found.setdefault(names.get(result.dataset, result.dataset), {})
        by_model.setdefault(result.candidate, []).append(result.value)
    return found


def _frame(given: Any, columns: Mapping[str, str] | None, what: str) -> tuple[pd.DataFrame, str]:
    """The table, and its name for messages."""
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        frame, called = given.set_axis([str(column) for column in given.columns], axis=1), f"the {what} table"
    elif isinstance(given, str | os.PathLike):
        path = Path(given)
        called = path.name
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # pandas' own errors among them
            raise InvalidInputError(f"{str(path)!r} cannot be read as a CSV file: {error}") from error
        if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first cells of longer rows for an index
            raise InvalidInputError(
                f"{called} has rows with more cells than its first line, which names the columns "
                f"({listed_names(frame.columns)}). Name all columns, or remove the other cells."
            )
        frame = frame.map(text_of_csv)
        frame.columns = frame.columns.str.strip()
    else:
        raise InvalidInputError(f"{what} is a {type(given).__name__}; expected a CSV file, a DataFrame or a mapping")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()]
        raise InvalidInputError(f"{called} has several columns named {listed_names(twice.unique())}; rename them")
    absent = [column for column in (columns or {}).values() if column not in frame.columns]
    if absent:
        raise InvalidInputError(
            f"{called} has the columns {listed_names(frame.columns)}, and lacks {listed_names(absent)}"
        )
    return frame, called


def _only(columns: Mapping[str, str] | None, keys: Sequence[str]) -> dict[str, str]:
    """The columns that a table may have; one call names the columns of several tables."""
    if columns is not None and not isinstance(columns, Mapping):
        raise InvalidInputError(
            f"columns is {type(columns).__name__}; expected a mapping such as {{'accuracy': 'top1'}}, or None"
        )
    if unknown := [key for key in columns or {} if key not in (*ALIASES, "estimator", "score")]:
        raise InvalidInputError(
            f"columns names {listed_names(unknown)}; expected only {', '.join((*ALIASES, 'estimator', 'score'))}"
        )
    return {key: name for key, name in (columns or {}).items() if key in keys}


def _column(frame: pd.DataFrame, key: str, columns: Mapping[str, str] | None) -> str | None:
    """The table's name for a column; None if the table has no such column."""
    if columns and key in columns:
        return columns[key]
    return next((name for name in ALIASES[key] if name in frame.columns), None)


def _long(
    frame: pd.DataFrame, dataset: str, model: str, accuracy: str, called: str
) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for number, row in enumerate(frame.to_dict("records"), 2):
        if "metric" in row and str(row["metric"]) != "accuracy":
            continue
        place = f"{called}, line {number}"
        value = _number(row[accuracy], f"{place}: {accuracy}")
        known = found.setdefault(_name(row[dataset], dataset, place), {})
        known.setdefault(_name(row[model], model, place), []).append(value)
    return found


def _name(value: Any, column: str, where: str) -> str:
    """The name of a dataset or a model in a cell."""
    name = "" if _is_nothing(value) else str(value).strip()
    if not name:
        raise InvalidInputError(f"{where}: {column} is empty; expected a name. Leave out such lines.")
    return name


def _rows(frame: pd.DataFrame, dataset: str, model: str, rows: str, called: str) -> dict[str, dict[str, int]]:
    """Numbers of test rows, where they are known; the first of several results counts."""
    found: dict[str, dict[str, int]] = {}
    for number, row in enumerate(frame.to_dict("records"), 2):
        value = _number(row[rows], f"{called}, line {number}: {rows}")
        if math.isnan(value):
            continue
        if value < 1 or value != int(value):
            raise InvalidInputError(
                f"{called}, line {number}: {rows} is {row[rows]!r}; expected the number of rows that the accuracy was "
                "measured on, or an empty cell"
            )
        found.setdefault(str(row[dataset]).strip(), {}).setdefault(str(row[model]).strip(), int(value))
    return found


def _wide(frame: pd.DataFrame, model: str, called: str) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for dataset in (str(column) for column in frame.columns if column != model):
        for number, row in enumerate(frame.to_dict("records"), 2):
            value = _number(row[dataset], f"{called}, line {number}: {dataset}")
            name = _name(row[model], model, f"{called}, line {number}")
            found.setdefault(dataset, {}).setdefault(name, []).append(value)
    return found


def _checked(found: Mapping[str, Mapping[str, Sequence[float]]], rows: dict[str, dict[str, int]]) -> Truth:
    """Accuracies from 0 to 1. An impossible accuracy is an error and never left out in silence."""
    known = {d: {m: [v for v in vs if not math.isnan(v)] for m, vs in by.items()} for d, by in found.items()}
    highest = max((v for by in known.values() for vs in by.values() for v in vs), default=0.0)
    scale = 100.0 if highest > 1 else 1.0
    for dataset, by_model in known.items():
        for model, values in by_model.items():
            for value in values:
                if not 0 <= value <= scale:
                    raise InvalidInputError(
                        f"the accuracy of {model} on {dataset} is {value:g}; expected all accuracies from 0 to 1, or "
                        "all from 0 to 100"
                    )
    runs = {
        dataset: {model: tuple(v / scale for v in values) for model, values in by_model.items() if len(values) > 1}
        for dataset, by_model in known.items()
    }
    repeated = sum(map(len, runs.values()))
    means_of = counted(repeated, "accuracy is a mean", "accuracies are means")
    notes = [f"{means_of} of several results of one model on one dataset."] if repeated else []
    means = {
        dataset: {model: sum(values) / len(values) / scale for model, values in by_model.items() if values}
        for dataset, by_model in known.items()
    }
    means = {dataset: by_model for dataset, by_model in means.items() if by_model}
    if not means:
        raise InvalidInputError(
            "the truth holds no accuracy; expected the accuracies of two models or more on one dataset or more"
        )
    return Truth(means, {d: by_model for d, by_model in runs.items() if by_model}, rows, tuple(notes))


def _is_nothing(value: Any) -> bool:
    """True for what tables hold in cells without a value: None, NaN, pandas' NA and NaT."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (_is_float(value) and math.isnan(value))


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def _is_missing(value: Any) -> bool:
    """True also for the words that stand for a number that is unknown; as a name, such a word is one."""
    if _is_nothing(value):
        return True
    return isinstance(value, str) and value.strip().lower() in MISSING


def _number(value: Any, where: str) -> float:
    """The number in a cell; NaN if the cell is empty."""
    if _is_missing(value):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise InvalidInputError(f"{where} is {value!r}; expected a finite number, or an empty cell for an unknown one")
    return number


def _set_once(by_model: dict[str, float], model: str, value: float, where: str) -> None:
    if model in by_model:
        raise InvalidInputError(
            f"{where} is a second score of {model}; expected one for each estimator, dataset and model"
        )
    by_model[model] = value


def listed_names(names: Any) -> str:
    """Names in a message: five of them, and how many more there are."""
    shown = [str(name) for name in names]
    return (", ".join(shown[:5]) or "none") + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
