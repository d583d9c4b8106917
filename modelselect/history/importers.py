"""Adds the results of CSV tables to a history: long tables, published or the user's own, and timm's of ImageNet."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelselect.errors import InvalidInputError
from modelselect.history.history import History
from modelselect.history.records import ACCURACY, FINE_TUNING, Added, Result, is_name

_COLUMNS = ("candidate", "dataset", "metric", "value")
_TIMM_COLUMNS = ("model", "top1")


def import_csv(
    history: History,
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    metric: str | None = None,
    zoo: str | None = None,
    per_cent: bool | None = None,
    source: str | None = None,
    recipe: str | None = None,
) -> Added:
    r"""Adds a long table: one row for each candidate, dataset and metric.

    Rows without a number, or with an accuracy outside 0 to 1 (in per cent: 0 to 100), are rejected and counted.
    Accuracies count as published, unless you name the recipe of fine-tuning that all of them were measured under.
    Accuracies compare only under one recipe, so name one only for results of your own that share it.

    Args:
        history: to which the results are added.
        path: of a CSV file with a header.
        columns: the file's own names for `candidate`, `dataset`, `metric` and `value`, where they differ.
        metric: of all rows, if the file has no such column.
        zoo: the zoo of ids that the file gives without one: `timm`, `hub`, ...
        per_cent: whether accuracies are in per cent; None means: if one of them is above 1.
        source: where the table comes from, for the provenance; None for the file's name.
        recipe: a name for the recipe of fine-tuning behind all accuracies of the table; None for published results.
            To add to results that the history has already, give the name that `modelselect history show` prints.

    Raises:
        InvalidInputError: there is no such file, a column is missing, an id has no zoo, or the recipe is no name.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "known.csv").write_text("model,dataset,accuracy\nresnet18,food101,82.1\nvgg11,food101,140\n")
    >>> history = History(folder / "history.sqlite")
    >>> names = {"candidate": "model", "value": "accuracy"}
    >>> print(import_csv(history, folder / "known.csv", columns=names, metric="accuracy", zoo="torchvision"))
    1 new results, 0 known already, 1 rejected (accuracy outside 0 to 1)
    """
    path = Path(path)
    if recipe is not None and not is_name(recipe):
        raise InvalidInputError(
            f"recipe is {recipe!r}; expected one line of text that names a recipe, such as 'adamw, 20 epochs', or None "
            "for published results"
        )
    measured_under = {} if recipe is None else {FINE_TUNING: {"recipe": recipe.strip()}}
    named = {column: (columns or {}).get(column, column) for column in _COLUMNS}
    if metric is not None:
        del named["metric"]
    rows = list(_read(path, tuple(named.values())))
    metrics = [row[named["metric"]] if metric is None else metric for row in rows]
    values = [_number(row[named["value"]]) for row in rows]
    measured = [value for value, name in zip(values, metrics, strict=True) if name == ACCURACY]
    scale = 100.0 if per_cent or (per_cent is None and any(value > 1 for value in measured)) else 1.0
    provenance = {"source": source or path.name}
    return history.record(
        Result(
            _candidate(row[named["candidate"]], zoo, path),
            row[named["dataset"]],
            name,
            value / scale if name == ACCURACY else value,
            measured_under if name == ACCURACY else {},
            provenance,
        )
        for row, name, value in zip(rows, metrics, values, strict=True)
    )


def import_timm(history: History, path: str | Path) -> Added:
    """Adds one of timm's result tables, `results-imagenet.csv` and the like: top-1 accuracies of pre-trained models.

    These are accuracies of the models as published, without fine-tuning, on the dataset that the file is named after.
    Numbers of parameters become facts about the candidates.

    Args:
        history: to which the results are added.
        path: of the table, or of a folder that holds `results-*.csv`.

    Raises:
        InvalidInputError: there is no such table, or a column is missing.
    """
    path = Path(path)
    if path.is_dir():
        tables = sorted(path.glob("results-*.csv"))
        if not tables:
            raise InvalidInputError(f"{str(path)!r} holds no results-*.csv; expected timm's result tables")
        return sum((import_timm(history, table) for table in tables), Added())
    dataset = path.stem.removeprefix("results-")
    rows = list(_read(path, _TIMM_COLUMNS))
    facts = {f"timm:{row['model']}": _timm_facts(row) for row in rows}
    added = history.record(
        Result(
            f"timm:{row['model']}",
            dataset,
            ACCURACY,
            _number(row["top1"]) / 100,
            {"fine_tuned": False, **{k: row[k] for k in ("img_size", "crop_pct", "interpolation") if row.get(k)}},
            {"source": f"pytorch-image-models, {path.name}"},
        )
        for row in rows
    )
    history.describe_candidates(facts)
    history.describe_dataset(dataset, {"name": dataset})
    return added


def _timm_facts(row: Mapping[str, str]) -> dict[str, Any]:
    millions = _number(row.get("param_count", "").replace(",", ""))
    return {
        "architecture": row["model"].split(".")[0],
        "parameters": round(millions * 1e6) if millions > 0 else None,
    }


def _read(path: Path, wanted: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in wanted if column not in (reader.fieldnames or ())]
            if missing:
                raise InvalidInputError(
                    f"{path.name} has the columns {', '.join(reader.fieldnames or ()) or 'none'}, and lacks "
                    f"{', '.join(missing)}. Name the file's own columns: columns={{'value': 'accuracy'}} "
                    "(--column value=accuracy)."
                )
            for row in reader:
                yield {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{str(path)!r} cannot be read as a CSV file: {error}") from error


def _candidate(name: str, zoo: str | None, path: Path) -> str:
    if zoo is not None and not name.startswith(f"{zoo}:"):
        name = f"{zoo}:{name}"
    if name and ":" not in name:
        raise InvalidInputError(
            f"{path.name} names the candidate {name!r} without a zoo; expected zoo:name. Name the zoo of such "
            "candidates: zoo='timm' (--zoo timm)"
        )
    return name.split("@")[0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
