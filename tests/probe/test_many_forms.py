"""A dataset in whatever form people have it gives one probe.

`pytest -m attack` draws datasets at random, and compares each form with the plainest one: arrays or lists.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from modelselect.probe.probe import Probe
from tests.probe.test_torch_datasets import Rows

PARTS = (
    "hello",
    "café",
    "עברית",
    "😀",
    "a,b;c\td|e",
    'say "hi"',
    "line\nbreak",
    " lead",
    "trail ",
    "NA",
    "007",
    "\u2028",
)
NAMES = ("pos", "neg", "Pos", "ノート", "a b", "a,b", "a;b", 'q"q', "yes", "x\ty", "a/b", "[a]", "100%", "unknown")


def contents(probe: Probe) -> list[tuple[Any, Any]]:
    """The input of each row, and its label by name."""
    rows = []
    for row in range(len(probe)):
        item = probe.item(row)
        content = item if isinstance(item, str) else (np.asarray(item).shape, np.asarray(item).tolist())
        targets: Any = None if probe.targets is None else probe.targets[row]
        if probe.labels is not None:
            targets = probe.class_names[targets] if targets >= 0 else None
        rows.append((content, np.float32(targets).tolist() if isinstance(targets, np.ndarray) else targets))
    return rows


def of_texts(rng: random.Random, folder: Path) -> Iterator[Any]:
    """The forms of a table of texts with labels, the plainest one first."""
    rows = range(rng.choice([4, 12, 30]))
    texts = [" ".join(rng.choice(PARTS) for _ in range(rng.choice([1, 2, 4]))) + f" {row}" for row in rows]
    names, count = rng.sample(NAMES, 3), rng.choice([2, 3])
    kind = rng.choice(["names", "numbers", "classes", "ids"])
    ids = [2**62 + 1, 2**62, 3]
    values: dict[str, Any] = {"names": names, "classes": [1, 4, 5], "ids": ids}
    labels = [round(rng.uniform(-5, 5), 3) + 0.0001 if kind == "numbers" else values[kind][row % count] for row in rows]
    yield texts, labels
    frame, table = pd.DataFrame({"text": texts, "label": labels}), pa.table({"text": texts, "label": labels})
    yield from (frame, frame.convert_dtypes(dtype_backend="pyarrow"), frame.set_index(frame.index[::-1]), table)
    yield from ((pd.Series(texts), pd.Series(labels)[::-1][::-1]), list(zip(texts, labels, strict=True)))
    yield [text.encode() for text in texts], tuple(labels)
    hub = datasets.Dataset(table)
    yield from (hub, hub.select(rows[::-1]).select(rows[::-1]), {"train": hub}, datasets.DatasetDict(train=hub))
    pairs = list(zip(texts, labels, strict=True))
    yield from (Rows(pairs), Rows(pairs, targets=labels), Rows([{"text": t, "label": each} for t, each in pairs]))
    yield from (Subset(Rows([*pairs[:1], *pairs]), range(1, len(pairs) + 1)), ConcatDataset([Rows([p]) for p in pairs]))
    if kind == "names":
        yield frame.assign(label=pd.Categorical(labels, [*names, "unused"]))
        yield Rows([(text, names.index(str(name))) for text, name in pairs], classes=np.array(names))
    frame.to_csv(folder / "a.csv", index=False, sep=rng.choice([",", ";", "\t", "|"]), encoding="utf-8-sig")
    frame.to_csv(folder / "b.csv", quoting=1, lineterminator="\r\n", encoding="utf-16")
    frame.to_json(folder / "c.jsonl", orient="records", lines=True)
    frame.to_parquet(folder / "d.parquet")
    yield from (str(folder / name) for name in ("a.csv", "b.csv", "c.jsonl", "d.parquet"))


def of_numbers(rng: random.Random) -> Iterator[Any]:
    """The forms of an array of numbers or of pixels with labels, the plainest one first."""
    made, rows = np.random.default_rng(rng.randrange(1 << 30)), rng.choice([4, 12, 25])
    shape = rng.choice([(1,), (5,), (4, 7), (3, 8, 9)])
    inputs: Any = made.normal(size=(rows, *shape)).astype(rng.choice(["f4", "f8"]))
    if rng.random() < 0.4:
        inputs = made.integers(0, 256, (rows, 6, 9, 3), dtype=np.uint8)
    several = np.stack([np.arange(rows) % 2, 1 - np.arange(rows) % 2, np.arange(rows) % 4 == 0], 1).astype(float)
    labels = rng.choice([np.arange(rows) % 3, np.arange(rows) % 2 == 0, made.normal(size=rows), several])
    yield inputs, labels
    yield from ((list(inputs), labels.tolist()), (np.asfortranarray(inputs), labels), (inputs, list(labels)))
    tensors, targets = torch.from_numpy(inputs.copy()), torch.from_numpy(labels.copy())
    whole, pairs = TensorDataset(tensors, targets), list(zip(tensors, targets, strict=True))
    yield from ((tensors, targets), whole, Subset(whole, range(rows)), Rows(pairs), Rows(pairs, targets=targets))
    yield from (Rows(pairs, y=labels.tolist()), Rows([{"x": x, "y": y} for x, y in pairs]))
    if labels.ndim == 1:
        yield from ((inputs, labels[:, None]), TensorDataset(tensors, targets[:, None]), (inputs, pa.array(labels)))
        yield inputs, pd.Series(labels, index=made.permutation(rows))
    if labels.dtype == np.float64:
        yield TensorDataset(tensors, targets.float())
    if inputs.ndim == 2:
        yield from ((pd.DataFrame(inputs), labels), (np.asmatrix(inputs), labels))
        yield pa.table({f"c{place}": column for place, column in enumerate(inputs.T)}), labels


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(60))
def test_every_form_of_a_dataset_gives_its_probe(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    forms = of_texts(rng, tmp_path) if seed % 2 else of_numbers(rng)
    expected = contents(Probe.of(next(forms), size=None))
    for place, form in enumerate(forms, 1):
        assert contents(Probe.of(form, size=None)) == expected, (seed, place, type(form))
