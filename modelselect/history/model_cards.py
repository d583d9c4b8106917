"""The Hub's own evidence: what its models report of their fine-tuning, and what they were fine-tuned from.

A model on the Hub whose card says what it was fine-tuned from (the tag `base_model:finetune:...`) and how accurate it
is on which dataset (its `model-index`) is one published fine-tuning: a result of the base model on that dataset.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from modelselect.errors import HistoryError
from modelselect.history.history import History
from modelselect.history.records import ACCURACY, Added, Result, is_finite, is_text

TASKS = ("image-classification", "text-classification")

_EXPAND = ["model-index", "tags", "createdAt"]
_PAGE = 500
"""Models that are read, judged and recorded together; between two pages the Hub is given a rest."""

_PREFIX = "base_model:finetune:"
_NAMELESS = {"", "imagefolder", "image_folder", "generator", "json", "csv", "parquet", "text", "custom", "unknown"}
"""What trainers call a dataset that has no name: thousands of different ones."""

_OUTLIER = 5.0
"""Robust standard deviations from the median of a dataset, beyond which a reported accuracy is not believed."""

_ENOUGH = 10
"""Results of a dataset from which outliers can be told."""


def mine(
    history: History,
    *,
    task: str = TASKS[0],
    limit: int | None = None,
    pause: float = 1.0,
    api: Any = None,
) -> Added:
    """Adds the fine-tunings that models on the Hub report.

    Every page is recorded before the next is asked for, so that a run which ends early loses nothing; what is known
    already is not counted again. A pass that came to its end leaves a mark, and the next stops where that one began.

    Args:
        history: to add to.
        task: what the models are for: `image-classification` or `text-classification`.
        limit: models to look at, at most; None for all.
        pause: seconds of rest for the Hub between two pages.
        api: a `huggingface_hub.HfApi`; None for one of the user's settings.

    Returns:
        What was added, and how many reports were rejected: without a base model, without an accuracy or a named
        dataset, impossible, or far from what others report of the dataset.

    Raises:
        HistoryError: the Hub cannot be reached, or refuses. What was read until then is kept.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    mark = f"mined {task}"
    stop_at = history.mark(mark)
    newest: str | None = None
    total, looked_at, complete = Added(), 0, True
    for page in _pages(api, task, limit, pause):
        fresh = [model for model in page if stop_at is None or _created(model) > stop_at]
        newest = newest or (_created(page[0]) if page else None)
        looked_at += len(fresh)
        total += _record(history, fresh)
        if len(fresh) < len(page):
            break
    else:
        complete = limit is None or looked_at < limit
    if complete and newest:
        history.set_mark(mark, max(newest, stop_at or ""))
    return total


def _pages(api: Any, task: str, limit: int | None, pause: float) -> Iterator[Sequence[Any]]:
    """The models of a task, the newest first."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        models = iter(api.list_models(filter=task, sort="created_at", limit=limit, expand=list(_EXPAND)))
        while page := list(islice(models, _PAGE)):
            yield page
            if len(page) == _PAGE:
                time.sleep(pause)
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())
        raise HistoryError(
            f"the Hub could not be read to the end: {reason}. What was read until then is recorded; run it again later."
        ) from error


def _record(history: History, models: Sequence[Any]) -> Added:
    rejected: Counter[str] = Counter()
    found = [result for model in models for result in _results(model, rejected)]
    believed = list(_without_outliers(history, found, rejected))
    added = history.record(believed)
    for dataset in {result.dataset for result in believed}:
        history.describe_dataset(dataset, {"name": dataset.removeprefix("hub:")})
    return added + Added(rejected=dict(rejected))


def _results(model: Any, rejected: Counter[str]) -> Iterator[Result]:
    """The results that one model reports."""
    tags = [tag for tag in model.tags or () if isinstance(tag, str)]
    base = next((tag.removeprefix(_PREFIX) for tag in tags if tag.startswith(_PREFIX)), None)
    reports = list(_reports(getattr(model, "model_index", None)))
    if base is None or "/" not in base:
        rejected["no base model"] += len(reports)
        return
    for dataset, split, value in reports:
        if dataset is None:
            rejected["dataset without a name"] += 1
        elif not isinstance(value, (int, float)) or isinstance(value, bool) or not is_finite(value):
            rejected["accuracy is no number"] += 1
        elif not 0 < value <= 100:  # 0 is what trainers write where nothing was measured
            rejected["accuracy outside 0 to 100 per cent"] += 1
        else:
            yield Result(
                f"hub:{base}",
                f"hub:{dataset}",
                ACCURACY,
                value / 100 if value > 1 else float(value),
                {"fine_tuned": model.id, **({"split": split} if split else {})},
                {"source": "model-index of the Hub"},
            )


def _reports(index: Any) -> Iterator[tuple[str | None, str | None, Any]]:
    """(dataset, split, accuracy) of every accuracy in a model index, whatever else its author wrote there."""
    for entry in _list(index):
        for result in _list(_get(entry, "results")):
            dataset = _get(result, "dataset")
            name = _dataset(_get(dataset, "type"), _get(dataset, "config"))
            split = _get(dataset, "split")
            for metric in _list(_get(result, "metrics")):
                if str(_get(metric, "type")).lower() == ACCURACY:
                    yield name, split if isinstance(split, str) else None, _get(metric, "value")


def _dataset(name: Any, config: Any) -> str | None:
    if not isinstance(name, str) or name.strip().lower() in _NAMELESS:
        return None
    named = name.strip().lower()
    if isinstance(config, str) and config not in ("", "default", name):
        named = f"{named}/{config}"
    return named if is_text(named) else None


def _without_outliers(history: History, found: Iterable[Result], rejected: Counter[str]) -> Iterator[Result]:
    """Those that are not far from what is known of their datasets, these results among it."""
    by_dataset: dict[str, list[Result]] = {}
    for result in found:
        by_dataset.setdefault(result.dataset, []).append(result)
    for dataset, results in by_dataset.items():
        known = {result.id: result.value for result in history.results(dataset=dataset, metric=ACCURACY)}
        values = list((known | {result.id: result.value for result in results}).values())
        median = statistics.median(values)
        spread = 1.4826 * statistics.median(abs(value - median) for value in values)
        for result in results:
            if len(values) >= _ENOUGH and spread > 0 and abs(result.value - median) > _OUTLIER * spread:
                rejected["far from what others report"] += 1
            else:
                yield result


def _created(model: Any) -> str:
    created = model.created_at
    return created.isoformat() if hasattr(created, "isoformat") else str(created or "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
