"""Evidence goes to the store batch by batch."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import torch

import modelselect as ms
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.own_modules import ModuleZoo, OwnModule
from modelselect.extraction.devices import Compute
from modelselect.extraction.inputs import InputCache
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
