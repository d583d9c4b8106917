"""What tests of the history share: an empty one, a full one, tables and model cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelselect.history import History, Result
from modelselect.history.records import TABLES
from tests.hub.server import Hub


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


def some_results(count: int, writer: int = 0) -> list[Result]:
    return [Result(f"timm:model{i}", f"data{writer}", "accuracy", i / count) for i in range(count)]


GRAPH = '{"nodes":[{"id":0,"operation":"Relu"}],"edges":[]}'


def full_history(path: Path) -> History:
    history = History(path)
    history.record(some_results(5))
    history.describe_candidate("timm:model0", {"parameters": 3, "license": "MIT"}, graph=GRAPH)
    history.describe_dataset("data0", {"classes": 4})
    history.keep_proxy("data0", "hub:clip", [[1.0, 2.0], [3.0, 5.0]])
    return history


def content(history: History) -> list[list[tuple[object, ...]]]:
    return [history.rows(table) for table in TABLES]


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def card(dataset: str, value: Any, *, base: str | None = "google/vit", metric: str = "accuracy", **more: Any) -> Any:
    """What the API says of a model that was fine-tuned on a dataset."""
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": dataset, "type": dataset, **more},
        "metrics": [{"type": metric, "value": value}, {"type": "loss", "value": 0.3}],
    }
    tags = [f"base_model:{base}", f"base_model:finetune:{base}"] if base else []
    return {
        "tags": [*tags, "vit"],
        "model-index": [{"name": "m", "results": [result]}],
        "pipeline_tag": "image-classification",
    }


def publish(hub: Hub, name: str, facts: dict[str, Any], day: int = 1) -> None:
    hub.model(name, {"config.json": b"{}"}, createdAt=f"2026-03-{day:02d}T00:00:00.000Z", **facts)
