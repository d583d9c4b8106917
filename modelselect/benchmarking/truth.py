"""Reads known accuracies and scores from tables, and matches them with candidates and datasets."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.candidate import Candidate
from modelselect.errors import InvalidInputError, did_you_mean
from modelselect.history.database import Database
from modelselect.history.records import ACCURACY

if TYPE_CHECKING:
    import pandas as pd

ALIASES = {"model": ("model", "candidate"), "accuracy": ("accuracy", "value"), "dataset": ("dataset",)}
"""Names that a table may give its columns; the first that the table has counts."""

MISSING = {"", "-", "–", "na", "n/a", "nan", "none", "null"}
"""Cells without a value, in lower case."""

Matrix = dict[str, dict[str, float]]
"""By dataset and model."""


def read_truth(given: Any, columns: Mapping[str, str] | None = None) -> tuple[Matrix, list[str]]:
    r"""Accuracies from 0 to 1, by dataset and model, and notes on how they were read.

    Args:
        given: a CSV file or a DataFrame, long (columns `dataset`, `model` or `candidate`, `accuracy` or `value`) or
            wide (a column `model`, and one for each dataset); a mapping dataset -> model -> accuracy; or a `History`.
            If one accuracy is above 1, all are in per cent. Several results of one model on one dataset count by their
            mean. Empty cells are unknown.
        columns: the table's own names for `dataset`, `model` and `accuracy`, where they differ.

    Raises:
        InvalidInputError: the truth cannot be read; the message says where.

    >>> read_truth({"pets": {"resnet18": 88.0, "vgg11": 85.5}})
    ({'pets': {'resnet18': 0.88, 'vgg11': 0.855}}, [])
    """
    if isinstance(given, Database):
        found = _of_history(given)
    elif _is_matrix(given):
        found = {
            str(d): {str(m): [_number(v, f"truth[{d!r}][{m!r}]")] for m, v in by_model.items()}
            for d, by_model in given.items()
        }
    else:
        frame, called = _frame(given, columns, "truth")
        names = {key: _column(frame, key, columns) for key in ALIASES}
        if names["model"] is None:
            raise InvalidInputError(
                f"{called} has the columns {_listed(frame.columns)}; expected dataset, model and accuracy, or model "
                "and a column for each dataset. Name the table's columns: columns={'model': ...} (--column model=...)."
            )
        if names["accuracy"] is not None and names["dataset"] is not None:
            found = _long(frame, names["dataset"], names["model"], names["accuracy"], called)
        else:
            found = _wide(frame, names["model"], called)
    return _checked(found)


def read_scores(given: Any, columns: Mapping[str, str] | None = None) -> dict[str, Matrix]:
    """Scores by estimator, dataset and model. See `Benchmark.of_scores`.

    Raises:
        InvalidInputError: the table cannot be read.
    """
    if isinstance(given, Mapping):
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
    frame, called = _frame(given, columns, "scores")
    dataset, model = _column(frame, "dataset", columns), _column(frame, "model", columns)
    if dataset is None or model is None:
        raise InvalidInputError(
            f"{called} has the columns {_listed(frame.columns)}; expected dataset, model, and estimator and score or a "
            "column for each estimator. Name the table's own columns: columns={'model': ...} (--column model=...)."
        )
    named = {key: (columns or {}).get(key, key) for key in ("estimator", "score")}
    found: dict[str, Matrix] = {}
    if set(named.values()) <= set(frame.columns):
        for number, row in enumerate(frame.to_dict("records"), 2):
            value = _number(row[named["score"]], f"{called}, line {number}: score")
            if not math.isnan(value):
                by_model = found.setdefault(str(row[named["estimator"]]), {}).setdefault(str(row[dataset]), {})
                _set_once(by_model, str(row[model]), value, f"{called}, line {number}")
        return found
    others = {dataset, model, _column(frame, "accuracy", columns)}
    for estimator in (str(column) for column in frame.columns if column not in others):
        for number, row in enumerate(frame.to_dict("records"), 2):
            value = _number(row[estimator], f"{called}, line {number}: {estimator}")
            if not math.isnan(value):
                by_model = found.setdefault(estimator, {}).setdefault(str(row[dataset]), {})
                _set_once(by_model, str(row[model]), value, f"{called}, line {number}")
    return found


def match(
    truth: Mapping[str, Mapping[str, float]], datasets: Sequence[str], candidates: Sequence[Candidate]
) -> tuple[Matrix, dict[str, str]]:
    """Accuracies of these candidates on these datasets, by dataset and candidate id; and the truth's name of each id.

    A model of the truth matches a candidate by the candidate's id, the id without the revision, the name, or the last
    part of a name that is a path.

    Raises:
        InvalidInputError: the truth lacks a dataset, or knows fewer than two of the candidates on one; or a name
            matches two candidates, or two names match one candidate.
    """
    keys = _keys(candidates)
    found: Matrix = {}
    called: dict[str, str] = {}
    for dataset in datasets:
        if dataset not in truth:
            raise InvalidInputError(
                f"the truth has no dataset {dataset!r}.{did_you_mean(dataset, truth)} The datasets of the truth are "
                f"{_listed(truth)}. Use these names for your datasets."
            )
        found[dataset] = {}
        for model, accuracy in truth[dataset].items():
            meant = keys.get(model, [])
            if len(meant) > 1:
                raise InvalidInputError(
                    f"the truth's model {model!r} matches {_listed(meant)}; expected one candidate. Write the whole id "
                    "in the truth."
                )
            if not meant:
                continue
            if meant[0] in found[dataset]:
                raise InvalidInputError(
                    f"the truth has two accuracies of {meant[0]} on {dataset}, one of them as {model!r}; expected one. "
                    "Use one name for each model."
                )
            found[dataset][meant[0]] = accuracy
            called.setdefault(meant[0], model)
        if len(found[dataset]) < 2:
            raise InvalidInputError(
                f"{len(found[dataset])} of the truth's {len(truth[dataset])} models on {dataset} "
                f"({_listed(truth[dataset])}) are among the {len(candidates)} candidates "
                f"({_listed(c.id for c in candidates)}); expected two or more. Use the candidates' ids or names in the "
                "truth."
            )
    return found, called


def names_of(candidates: Sequence[Candidate], called: Mapping[str, str]) -> dict[str, str]:
    """A table's name for each candidate, by id: the truth's name, otherwise the id, or for a folder the folder's name.

    >>> names_of([Candidate("timm", "resnet18", "a1")], {})
    {'timm:resnet18@a1': 'timm:resnet18'}
    """

    def short(candidate: Candidate) -> str:
        is_folder = os.path.isdir(candidate.name)
        return os.path.basename(candidate.name.rstrip("/")) if is_folder else candidate.unversioned_id

    names = {c.id: called.get(c.id) or short(c) for c in candidates}
    taken = list(names.values())
    return {key: name if taken.count(name) == 1 else key for key, name in names.items()}


def write_truth(truth: Mapping[str, Mapping[str, float]]) -> str:
    r"""A long table in per cent, as `read_truth` reads it.

    >>> print(write_truth({"pets": {"resnet18": 0.88}}), end="")
    dataset,model,accuracy
    pets,resnet18,88.0
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["dataset", "model", "accuracy"])
    for dataset, by_model in truth.items():
        for model, accuracy in by_model.items():
            writer.writerow([dataset, model, round(100 * accuracy, 6)])
    return written.getvalue()


def _keys(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """The candidate ids that each name matches; a more exact match hides the others."""
    keys: dict[str, list[str]] = {}
    spelt = [(c.id, (c.id, c.unversioned_id, c.name, c.name.rstrip("/").rsplit("/", 1)[-1])) for c in candidates]
    for spellings in zip(*(names for _, names in spelt), strict=True):
        meant: dict[str, list[str]] = {}
        for (key, _), spelling in zip(spelt, spellings, strict=True):
            meant.setdefault(spelling, []).append(key)
        keys = meant | keys
    return keys


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
        frame, called = given.rename(columns=str), f"the {what} table"
    elif isinstance(given, str | os.PathLike):
        path = Path(given)
        called = path.name
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # pandas' own errors among them
            raise InvalidInputError(f"{str(path)!r} cannot be read as a CSV file: {error}") from error
        frame.columns = frame.columns.str.strip()
    else:
        raise InvalidInputError(f"{what} is a {type(given).__name__}; expected a CSV file, a DataFrame or a mapping")
    absent = [column for column in (columns or {}).values() if column not in frame.columns]
    if absent:
        raise InvalidInputError(f"{called} has the columns {_listed(frame.columns)}, and lacks {_listed(absent)}")
    return frame, called


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
        value = _number(row[accuracy], f"{called}, line {number}: {accuracy}")
        found.setdefault(str(row[dataset]).strip(), {}).setdefault(str(row[model]).strip(), []).append(value)
    return found


def _wide(frame: pd.DataFrame, model: str, called: str) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for dataset in (str(column) for column in frame.columns if column != model):
        for number, row in enumerate(frame.to_dict("records"), 2):
            value = _number(row[dataset], f"{called}, line {number}: {dataset}")
            found.setdefault(dataset, {}).setdefault(str(row[model]).strip(), []).append(value)
    return found


def _checked(found: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Matrix, list[str]]:
    """Mean accuracies from 0 to 1, and notes. An impossible accuracy is an error and never left out in silence."""
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
    repeated = sum(len(values) > 1 for by_model in known.values() for values in by_model.values())
    notes = []
    if repeated:
        notes.append(f"{repeated:,} accuracies are means of several results of one model on one dataset.")
    means = {
        dataset: {model: sum(values) / len(values) / scale for model, values in by_model.items() if values}
        for dataset, by_model in known.items()
    }
    means = {dataset: by_model for dataset, by_model in means.items() if by_model}
    if not means:
        raise InvalidInputError(
            "the truth holds no accuracy; expected the accuracies of two models or more on one dataset or more"
        )
    return means, notes


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in MISSING


def _number(value: Any, where: str) -> float:
    """The number in a cell; NaN if the cell is empty."""
    if _is_missing(value):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
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


def _listed(names: Any) -> str:
    shown = [str(name) for name in names]
    return (", ".join(shown[:5]) or "none") + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
