"""Evidence goes to the store batch by batch."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.errors import StoreError
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.own_modules import ModuleZoo, OwnModule
from modelselect.extraction.devices import Compute
from modelselect.extraction.inputs import InputCache
from modelselect.store import Store
from tests.extraction.material import FIELDS


def test_features_stream_to_the_store_and_are_read_from_its_file(tmp_path: Path) -> None:
    rows, dimensions = 6000, 2048
    numbers = np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32)
    probe = ms.Probe.of((numbers, np.arange(rows) % 3), size=None)
    zoo = ModuleZoo({"wide": OwnModule(torch.nn.Sequential(torch.nn.Linear(16, dimensions), torch.nn.ReLU()))}, probe)
    context = EvaluationContext(
        probe=probe,
        source=None,
        estimators=(),
        cache_dir=tmp_path,
        spool=InputCache(tmp_path / "spool"),
        compute=Compute("cpu", 64),
        trust_remote_code=False,
        seed=0,
        zoos={"module": zoo},
    )
    loader = Loader(context, next(iter(zoo.search("*"))))
    _ = loader.backbone, probe.labels
    tracemalloc.start()
    features = Gatherer(loader).forward(probe, FIELDS).arrays["features"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert features.shape == (rows, dimensions)
    assert peak < features.nbytes / 2, f"{peak:,} bytes"
    with torch.no_grad():
        expected = loader.backbone.module(torch.from_numpy(numbers))
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def small(folder: Path) -> Loader:
    """A candidate of four features on a probe of 30 rows, with a store in the folder."""
    numbers = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    probe = ms.Probe.of((numbers, np.arange(30) % 3))
    torch.manual_seed(0)
    zoo = ModuleZoo({"small": OwnModule(torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU()))}, probe)
    context = EvaluationContext(probe=probe, cache_dir=folder, spool=InputCache(None), zoos={"module": zoo})
    return Loader(context, next(iter(zoo.search("*"))))


def _remove(path: Path) -> None:
    path.unlink()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _fold(path: Path) -> None:
    path.unlink()
    (path / "something").mkdir(parents=True)


@pytest.mark.parametrize("kind", ["features", "source_probabilities", "extraction"])
@pytest.mark.parametrize("harm", [_remove, _flip, _fold])
def test_a_part_of_a_forward_pass_that_is_lost_is_made_again(
    tmp_path: Path, kind: str, harm: Callable[[Path], None]
) -> None:
    first = small(tmp_path)
    before = Gatherer(first).forward(first.context.probe, FIELDS)
    (record,), rows = Gatherer(first).recorded()
    (path,) = (tmp_path / "entries" / kind).rglob("*.safetensors")
    harm(path)
    again = small(tmp_path)
    after = Gatherer(again).forward(again.context.probe, FIELDS)
    assert after.passes == (0 if kind == "extraction" else 30)
    np.testing.assert_array_equal(after.arrays["features"], before.arrays["features"])
    (healed,), healed_rows = Gatherer(again).extractions()
    assert (healed["feature_dim"], healed_rows) == (record["feature_dim"], rows) == (4, 30)


def test_a_lost_record_is_made_again_where_only_scores_are_needed(tmp_path: Path) -> None:
    loader = small(tmp_path)
    Gatherer(loader).forward(loader.context.probe, FIELDS)
    for kind in ("features", "extraction"):
        Store(tmp_path).remove(Keys(loader).evidence(kind, loader.context.probe))
    (record,), rows = Gatherer(small(tmp_path)).recorded()
    assert (record["feature_dim"], rows) == (4, 30)


def test_a_record_that_another_process_evicts_at_once_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, get = small(tmp_path), Store.get

    def evicted(self: Store, key: str) -> object:
        return None if key.startswith("extraction-") else get(self, key)

    monkeypatch.setattr(Store, "get", evicted)
    (record,), rows = Gatherer(loader).recorded()
    assert (record["feature_dim"], rows) == (4, 30)


def test_features_are_not_evicted_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, left = Store.put, []

    def evicting(self: Store, key: str, *more: object, **settings: object) -> None:
        put(self, key, *more, **settings)  # type: ignore[arg-type]
        if key.startswith("extraction-"):
            Store(tmp_path).evict(max_bytes=0)
            left.extend(info.kind for info in Store(tmp_path).entries())

    monkeypatch.setattr(Store, "put", evicting)
    loader = small(tmp_path)
    found = Gatherer(loader).forward(loader.context.probe, FIELDS)
    assert (found.passes, left) == (30, sorted(FIELDS))


@pytest.mark.parametrize("times", [1, 3])
def test_features_that_are_removed_before_they_are_read_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    put, removed = Store.put, []

    def removing(self: Store, key: str, *more: object, **settings: object) -> None:
        put(self, key, *more, **settings)  # type: ignore[arg-type]
        if key.startswith("extraction-") and len(removed) < times:
            removed.append(shutil.rmtree(tmp_path / "entries" / "features"))

    monkeypatch.setattr(Store, "put", removing)
    loader = small(tmp_path)
    if times == 3:
        with pytest.raises(StoreError, match="3 times"):
            Gatherer(loader).forward(loader.context.probe, FIELDS)
        return
    found = Gatherer(loader).forward(loader.context.probe, FIELDS)
    assert found.passes == 60
    assert found.arrays["features"].shape == (30, 4)
