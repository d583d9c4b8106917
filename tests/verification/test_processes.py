"""Several processes train one model as one does, and the caller's settings stay."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from modelselect.errors import InvalidInputError
from modelselect.verification import verify
from modelselect.verification.processes import accelerated
from tests.verification.material import DIMENSIONS, FORK, HARD, QUICK, backbone, overlapping, result, rows


def test_the_callers_own_accelerator_keeps_its_settings() -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    with accelerated("cpu", "float32"):  # as if there were none yet, and put back to that afterwards
        own = Accelerator(cpu=True, mixed_precision="no")
        before = dict(AcceleratorState._shared_state), dict(PartialState._shared_state)
        verify(backbone(), rows(5), rows(5, seed=1), replace(QUICK, epochs=1))
        assert (dict(AcceleratorState._shared_state), dict(PartialState._shared_state)) == before
        assert own.mixed_precision == "no"
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'float16' would only be emulated on this processor"):
        verify(backbone(), rows(5), rows(5), replace(QUICK, precision="float16"))


def run_together(folder: Path, environment: dict[str, str]) -> None:
    """One of several processes that train one model; its result goes to a file."""
    torch.set_num_threads(1)
    os.environ.update(environment)
    torch.manual_seed(1)
    kept: dict[str, Any] = {}
    found = verify(
        backbone(nn.Linear(DIMENSIONS, 8)), overlapping(20), overlapping(40, seed=1), replace(HARD, patience=6),
        folder=folder, keep=lambda a, _: kept.update(a),
    )  # fmt: skip
    weights = {name: value.tolist() for name, value in kept.items()}
    (folder / f"found-{environment.get('RANK', 'alone')}.json").write_text(json.dumps([result(found), weights]))


def test_two_processes_train_one_model_as_one_does(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    folders = [tmp_path / "two", tmp_path / "one"]
    environments = [{"RANK": rank, "LOCAL_RANK": rank, **common} for rank in ("0", "1")]
    processes = [FORK.Process(target=run_together, args=(folders[0], environment)) for environment in environments]
    processes.append(FORK.Process(target=run_together, args=(folders[1], {})))
    for folder in folders:
        folder.mkdir()
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    paths = [folders[0] / "found-0.json", folders[0] / "found-1.json", folders[1] / "found-alone.json"]
    (first, weights), (second, none), (alone, expected) = (json.loads(path.read_text()) for path in paths)
    assert none == {}  # the first process keeps the weights
    assert first == second
    assert first["training_loss"] == pytest.approx(alone["training_loss"], rel=1e-3)
    assert abs(first["correct"] - alone["correct"]) <= 1
    for name, value in expected.items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-2, atol=1e-3)
