"""Fine-tuning's methods, early stopping and searches; and that a kill, or a second process, changes no result."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError, DatasetError, InvalidInputError, OutOfMemoryError
from modelselect.verification import FineTuning, Verified, check_method, recipe, verify
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.processes import accelerated
from modelselect.verification.verifier import _validation_split
from tests.verification.test_verifier import DIMENSIONS, QUICK, FitsOnly, Rows, backbone, rows

HARD = FineTuning(epochs=6, backbone_learning_rate=0.01, head_learning_rate=0.02, batch_size=16)

FORK = multiprocessing.get_context("fork")  # what is imported here need not be imported again


def overlapping(per_class: int, seed: int = 0) -> Rows:
    """Three clusters that no line tells apart altogether, so that results of trainings differ."""
    made = rows(per_class, seed=seed)
    noise = np.random.default_rng(100 + seed).normal(scale=4, size=made.inputs.shape)
    return replace(made, inputs=(made.inputs + noise).astype(np.float32))


def with_dropout() -> Backbone:
    """What depends on random numbers and keeps statistics, so that a resumed training shows what it has lost."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return backbone(nn.Sequential(nn.Linear(DIMENSIONS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3)))


def result(found: Verified) -> dict[str, Any]:
    return {**asdict(found), "seconds": 0.0}


class Killed(BaseException):
    """In place of a signal."""


def killed_after(epochs: int) -> Any:
    def progress(done: int, _: int, __: float) -> None:
        if done == epochs:
            raise Killed

    return progress


# --- methods ---------------------------------------------------------------------------------------------------------


def test_a_head_alone_comes_to_what_logistic_regression_finds() -> None:
    training, holdout = overlapping(60), overlapping(200, seed=1)
    features = nn.Identity()
    settings = FineTuning(epochs=60, head_learning_rate=0.01, weight_decay=0.0)
    kept: dict[str, Any] = {}
    found = verify(
        backbone(features), training, holdout, settings, method="head", keep=lambda arrays, _: kept.update(arrays)
    )
    reference = LogisticRegression(C=1e3, max_iter=1000).fit(training.inputs, training.labels)
    assert found.accuracy == pytest.approx(reference.score(holdout.inputs, holdout.labels), abs=0.01)
    assert set(kept) == {"head.weight", "head.bias"}
    logits = holdout.inputs @ kept["head.weight"].T + kept["head.bias"]  # of features as they are, not as scaled
    assert (logits.argmax(1) == holdout.labels).sum() == found.correct


def test_a_head_alone_takes_one_forward_pass_of_the_backbone() -> None:
    class Counting(FitsOnly):
        seen = 0

        def __call__(self, module: nn.Module, batch: torch.Tensor) -> Any:
            self.seen += len(batch)
            assert not module.training
            return super().__call__(module, batch)

    read = Counting(1000)
    verify(backbone(read=read), rows(20), rows(10, seed=1), replace(QUICK, epochs=30, patience=30), method="head")
    assert read.seen == 90


def test_lora_learns_where_the_frozen_features_tell_nothing() -> None:
    module = nn.Sequential(nn.Linear(DIMENSIONS, 8), nn.Linear(8, 8))
    nn.init.zeros_(module[1].weight)
    settings = replace(QUICK, epochs=30, lora_rank=4)
    kept: dict[str, Any] = {}
    found = verify(
        backbone(module), rows(20), rows(30, seed=1), settings, method="lora", keep=lambda a, _: kept.update(a)
    )
    assert verify(backbone(module), rows(20), rows(30, seed=1), settings, method="head").accuracy < 0.5
    assert found.accuracy > 0.9
    assert set(kept) == {"head.weight", "head.bias", *(f"body.{name}" for name in module.state_dict())}
    change = kept["body.1.weight"] - module[1].weight.detach().numpy()
    assert np.linalg.matrix_rank(change, tol=1e-5) <= 4
    assert np.array_equal(kept["body.0.bias"], module[0].bias.detach().numpy())


def test_lora_puts_adapters_into_convolutions_and_leaves_the_source_classifier() -> None:
    class Convolutional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
            self.classifier = nn.Linear(8, 5)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.trunk(batch).mean((2, 3)))

    module = Convolutional()
    training = Rows(np.random.default_rng(0).normal(size=(20, 1, 6, 6)).astype(np.float32), np.arange(20) % 3)
    kept: dict[str, Any] = {}
    verify(
        backbone(module, HeadInput("classifier")),
        training,
        training,
        QUICK,
        method="lora",
        keep=lambda a, _: kept.update(a),
    )
    changed = {name for name, before in module.state_dict().items() if not np.array_equal(kept[f"body.{name}"], before)}
    assert changed == {"trunk.0.weight"}


def test_lora_does_not_apply_without_layers_and_says_so() -> None:
    with pytest.raises(CandidateError, match=r"neither linear layers nor plain convolutions.*Use verify='full'"):
        verify(backbone(nn.LayerNorm(DIMENSIONS)), rows(10), rows(5), QUICK, method="lora")


def test_a_method_that_is_unknown_or_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="verify is 'heads'; expected one of 'full'"):
        verify(backbone(), rows(10), rows(5), method="heads")
    monkeypatch.setattr(recipe.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidInputError, match=r"needs peft.*pip install 'modelselect-automl\[lora\]'"):
        check_method("lora")


def test_sgd_follows_torchs() -> None:
    """One step of one batch, against torch's optimizer by hand."""
    training = rows(5)
    kept: dict[str, Any] = {}
    settings = FineTuning(
        epochs=1, batch_size=64, optimizer="sgd", momentum=0.0, warm_up=0.0, weight_decay=0.0,
        backbone_learning_rate=0.1, head_learning_rate=0.1,
    )  # fmt: skip
    module = nn.Linear(DIMENSIONS, 4)
    verify(backbone(module), training, training, settings, seed=7, keep=lambda a, _: kept.update(a))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        head = nn.Linear(4, 3)
    whole = nn.Sequential(module, head)
    loss = nn.functional.cross_entropy(whole(torch.from_numpy(training.inputs)), torch.from_numpy(training.labels))
    expected = [
        p - 0.1 * g for p, g in zip(whole.parameters(), torch.autograd.grad(loss, [*whole.parameters()]), strict=True)
    ]
    names = ["body.weight", "body.bias", "head.weight", "head.bias"]
    for name, value in zip(names, expected, strict=True):
        np.testing.assert_allclose(kept[name], value.detach().numpy(), rtol=1e-5, atol=1e-6)


# --- early stopping --------------------------------------------------------------------------------------------------


def test_the_best_epochs_weights_are_kept_and_training_stops_once_none_is_better() -> None:
    heard: list[int] = []
    settings = replace(HARD, epochs=40, patience=3)
    found = verify(
        with_dropout(), overlapping(20), overlapping(60, seed=1), settings, progress=lambda done, *_: heard.append(done)
    )
    assert found.epochs == len(heard) < 40
    assert found.epochs == found.kept_epoch + 3
    assert (found.training_rows, found.validation_rows) == (48, 12)
    assert found.validation_accuracy is not None


def test_held_out_rows_decide_nothing() -> None:
    settings = replace(HARD, epochs=12, patience=2)
    holdout = overlapping(30, seed=1)
    other = replace(holdout, labels=np.roll(holdout.labels, 30))
    weights: list[dict[str, Any]] = [{}, {}]
    for kept, held in zip(weights, (holdout, other), strict=True):
        verify(with_dropout(), overlapping(20), held, settings, keep=lambda a, _, kept=kept: kept.update(a))
    for name, value in weights[0].items():
        assert np.array_equal(value, weights[1][name])


def test_validation_takes_its_share_of_every_class_and_never_the_last_row() -> None:
    targets = np.repeat(np.arange(4), [50, 10, 2, 1])
    chosen = _validation_split(targets, 0.2, seed=0)
    assert [int(chosen[targets == target].sum()) for target in range(4)] == [10, 2, 1, 0]
    assert not np.array_equal(chosen, _validation_split(targets, 0.2, seed=1))
    with pytest.raises(DatasetError, match="no two of one class"):
        verify(backbone(), rows(1), rows(5), replace(QUICK, patience=1))


# --- searches --------------------------------------------------------------------------------------------------------


def test_of_a_grid_the_point_that_validates_best_is_kept() -> None:
    module = nn.Linear(DIMENSIONS, 8)  # features that are all zero: only a backbone that moves can learn
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    settings = replace(HARD, epochs=12, backbone_learning_rate=(1e-7, 0.02), head_learning_rate=(0.05, 0.04))
    found = verify(backbone(module), rows(20), rows(30, seed=1), settings)
    assert (found.backbone_learning_rate, found.trials) == (0.02, 4)
    assert found.accuracy > 0.9
    head = verify(backbone(), rows(20), rows(30, seed=1), settings, method="head")
    assert head.trials == 2  # for which the backbone's learning rate is nothing to choose


def test_hopeless_trials_are_given_up_at_the_first_rung() -> None:
    heard: list[int] = []
    settings = replace(HARD, epochs=9, head_learning_rate=(0.05, 1e-8, 1e-9, 1e-10))
    training = overlapping(60)
    found = verify(
        backbone(nn.Identity()), training, training, settings, method="head",
        progress=lambda done, *_: heard.append(done),
    )  # fmt: skip
    assert found.head_learning_rate == 0.05
    assert heard == [*range(1, 10), 10, 19, 28]


def test_a_search_looks_around_the_given_rates_and_finds_none_that_is_worse() -> None:
    poor = replace(HARD, epochs=9, backbone_learning_rate=1e-3, head_learning_rate=1e-3)
    found = verify(backbone(), rows(20), rows(30, seed=1), replace(poor, trials=9))
    alone = verify(backbone(), rows(20), rows(30, seed=1), replace(poor, patience=9))
    assert found.trials == 9
    assert 1e-4 <= found.head_learning_rate <= 1e-2
    assert found.validation_accuracy >= alone.validation_accuracy  # type: ignore[operator]


def test_a_trial_that_fails_costs_that_trial_alone() -> None:
    settings = replace(HARD, head_learning_rate=(1e30, 0.05), optimizer="sgd", backbone_learning_rate=0.01)
    found = verify(backbone(), rows(20), rows(30, seed=1), settings)
    assert found.head_learning_rate == 0.05
    with pytest.raises(CandidateError, match=r"none of the 2 trials finished\. The last one failed: the loss became"):
        verify(backbone(), rows(20), rows(30, seed=1), replace(settings, head_learning_rate=(1e30, 1e31)))


def test_a_search_where_memory_is_short_begins_every_trial_with_what_fits() -> None:
    read = FitsOnly(5)
    found = verify(backbone(read=read), rows(10), rows(5, seed=1), replace(HARD, epochs=2, trials=3))
    assert found.largest_part == 4
    with pytest.raises(OutOfMemoryError):
        verify(backbone(read=FitsOnly(1)), rows(10), rows(5, seed=1), replace(HARD, epochs=2, trials=3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "adam"}, {"momentum": 1.0}, {"trials": 0}, {"patience": 0}, {"validation": 1.0}, {"epochs": 2.5},
        {"precision": "float8"}, {"lora_rank": 0}, {"head_learning_rate": ()}, {"weight_decay": (0.1, -1)},
        {"backbone_learning_rate": float("nan")}, {"trials": True},
    ],
)  # fmt: skip
def test_every_setting_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"FineTuning\({next(iter(wrong))}=.*expected"):
        FineTuning(**wrong)


def test_two_ways_to_search_at_once_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="Give either trials or several values"):
        FineTuning(trials=4, weight_decay=(0.0, 0.1))


# --- after a kill ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "head", "lora"])
@pytest.mark.parametrize(
    "settings", [HARD, replace(HARD, optimizer="sgd", patience=4, epochs=10)], ids=["adamw", "sgd"]
)
def test_a_resumed_training_ends_as_one_that_was_never_killed(
    tmp_path: Path, method: str, settings: FineTuning
) -> None:
    def run(folder: Path | None, progress: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        kept: dict[str, Any] = {}
        found = verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), settings,
            method=method, seed=3, folder=folder, progress=progress, keep=lambda a, _: kept.update(a),
        )  # fmt: skip
        return result(found), kept

    whole, weights = run(None)
    for epoch in (1, 2):
        with pytest.raises(Killed):
            run(tmp_path / "run", killed_after(epoch))
    epochs: list[int] = []
    again, same = run(tmp_path / "run", lambda done, *_: epochs.append(done))
    assert again == whole
    assert all(np.array_equal(value, same[name]) for name, value in weights.items())


def test_a_training_where_memory_is_short_is_resumed_with_what_fits(tmp_path: Path) -> None:
    def run(folder: Path | None, progress: Any = None) -> dict[str, Any]:
        short = replace(with_dropout(), read=FitsOnly(5))
        training, holdout = overlapping(20), overlapping(20, seed=1)
        return result(verify(short, training, holdout, HARD, folder=folder, progress=progress))

    whole = run(None)
    assert whole["largest_part"] == 4
    with pytest.raises(Killed):
        run(tmp_path, killed_after(2))
    assert Checkpoint(tmp_path / "training.pt").load()["part"] == 4  # type: ignore[index]
    assert run(tmp_path) == whole


def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path) -> None:
    whole = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), HARD)
    with pytest.raises(Killed):
        verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), HARD, folder=tmp_path, progress=killed_after(3)
        )
    path = tmp_path / "training.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert Checkpoint(path).load() is None
    again = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), HARD, folder=tmp_path)
    assert result(again) == result(whole)


class Noting(FitsOnly):
    """A reader that notes every batch that is trained on, where a kill cannot take it."""

    def __init__(self, path: Path) -> None:
        super().__init__(1000)
        self.path = path

    def __call__(self, module: nn.Module, batch: torch.Tensor) -> Any:
        if module.training:
            with self.path.open("a") as file:
                file.write(".")
        return super().__call__(module, batch)

    @property
    def batches(self) -> int:
        return len(self.path.read_text()) if self.path.exists() else 0


def run_to_the_end(folder: Path, trials: int) -> None:
    """What is killed: fine-tuning into a folder; its result goes to a file."""
    torch.set_num_threads(1)
    made = replace(with_dropout(), read=Noting(folder / "batches"))
    settings = replace(HARD, epochs=8, trials=trials)
    found = verify(made, overlapping(20), overlapping(40, seed=1), settings, folder=folder / "run")
    (folder / "found.json").write_text(json.dumps(result(found)))


@pytest.mark.parametrize(("trials", "kills"), [(1, (10, 21)), (6, (10, 40))])
def test_a_process_killed_in_the_midst_goes_on_from_its_last_epoch(
    tmp_path: Path, trials: int, kills: tuple[int, ...]
) -> None:
    def start(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        process = FORK.Process(target=run_to_the_end, args=(folder, trials))
        process.start()
        return process

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for batches in kills:
        process = start(killed)
        while Noting(killed / "batches").batches < batches:
            assert process.is_alive()
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (killed / "found.json").exists()
    for folder in (killed, whole):
        process = start(folder)
        process.join(timeout=120)
        assert process.exitcode == 0
    assert (killed / "found.json").read_text() == (whole / "found.json").read_text()
    per_epoch = 4 if trials == 1 else 3  # a search keeps rows for validation
    repeated = Noting(killed / "batches").batches - Noting(whole / "batches").batches
    assert 0 <= repeated <= per_epoch * len(kills)


# --- accelerate ------------------------------------------------------------------------------------------------------


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


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_cuda_device_resumes_in_every_precision(tmp_path: Path, precision: str) -> None:
    settings = replace(HARD, precision=precision, patience=6)
    whole = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings, device="cuda")
    with pytest.raises(Killed):
        verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), settings,
            device="cuda", folder=tmp_path, progress=killed_after(3),
        )  # fmt: skip
    again = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings, device="cuda", folder=tmp_path)
    assert result(again) == result(whole)
    assert whole.accuracy > 0.5
