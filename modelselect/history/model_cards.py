"""Reads fine-tuning results from the cards of models on the Hub.

If a model's card names the base model (the tag `base_model:finetune:...`) and an accuracy on a dataset (the
`model-index`), the card is a published fine-tuning: one result of the base model on that dataset.
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
from modelselect.utils.downloads import answer_within

TASKS = ("image-classification", "text-classification")

_EXPAND = ["model-index", "tags", "createdAt"]
_PAGE = 500
"""Models that are read, checked and recorded together; between two pages the Hub gets a rest."""

PAGE_SECONDS = 600.0
"""Seconds within which the Hub gives a page. Its client waits by itself where it is asked to."""

_PREFIX = "base_model:finetune:"
_NAMELESS = {"", "imagefolder", "image_folder", "generator", "json", "csv", "parquet", "text", "custom", "unknown"}
"""What trainers write for a dataset without a name: each stands for thousands of different datasets."""

_OUTLIER = 5.0
"""A reported accuracy this number of robust standard deviations from the dataset's median is not believed."""

_ENOUGH = 10
"""Fewest results of a dataset for which outliers are looked for."""


def mine(
    history: History,
    *,
    task: str = TASKS[0],
    limit: int | None = None,
    pause: float = 1.0,
    api: Any = None,
) -> Added:
    """Adds the fine-tunings that models on the Hub report.

    Every page is recorded before the next is requested, so that a run which ends early loses nothing. Results that the
    history holds already are not counted again. A complete run leaves a mark, and the next run stops there.

    Args:
        history: to which the results are added.
        task: what the models are for: `image-classification` or `text-classification`.
        limit: the most models to look at; None for all.
        pause: seconds of rest for the Hub between two pages.
        api: a `huggingface_hub.HfApi`; None for one with the user's settings.

    Returns:
        How many results were added, and how many reports were rejected, by reason: no base model, no accuracy, a
        dataset without a name, an impossible accuracy, or one far from what others report on the dataset.

    Raises:
        HistoryError: the Hub cannot be reached, or refuses. All that was read before is kept.
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
    """The models of a task, newest first."""
    models: Iterator[Any] | None = None

    def page() -> list[Any]:
        nonlocal models
        if models is None:
            models = iter(api.list_models(filter=task, sort="created_at", limit=limit, expand=list(_EXPAND)))
        return list(islice(models, _PAGE))

    while True:
        try:
            found = answer_within(PAGE_SECONDS, page)
        except Exception as error:  # also of the client, where an answer is none
            reason = " ".join(str(error).split()) or type(error).__name__
            raise HistoryError(
                f"the Hub could not be read to the end: {reason}. All that was read before is recorded; run the "
                "command again later."
            ) from error
        if not found:
            return
        yield found
        if len(found) == _PAGE:
            time.sleep(pause)


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
    tags = [tag for tag in _list(model.tags) if isinstance(tag, str)]
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
        elif not 0 < value <= 100:  # trainers write 0 if nothing was measured
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
    """(dataset, split, accuracy) of every accuracy in a model index; anything else in the index is skipped."""
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
    """The results that are not far from all known results of their datasets, including these."""
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
