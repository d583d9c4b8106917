"""What the geometry of the features says after each epoch of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.host.host import get_host
from modelselect.verification import FineTuning, TrainingDynamics, neural_collapse, verify

CLASSES, ROWS, WIDTH = 4, 30, 6


def clusters(spread: float, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), ROWS)
    return np.eye(WIDTH)[labels] + spread * random.normal(size=(len(labels), WIDTH)), labels


def test_nc1_is_the_trace_of_the_papers_formula() -> None:
    x, y = clusters(0.5)
    means = np.stack([x[y == c].mean(axis=0) for c in range(CLASSES)])
    within = sum((x[y == c] - means[c]).T @ (x[y == c] - means[c]) for c in range(CLASSES)) / len(x)
    centred = means - means.mean(axis=0)
    between = centred.T @ centred / CLASSES
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-8)) / CLASSES
    assert neural_collapse(x, y)["nc1"] == pytest.approx(expected, rel=1e-6)


def test_a_collapsed_network_measures_zero_and_a_loose_one_does_not() -> None:
    x, y = clusters(0.0)
    weight = (np.eye(WIDTH) - 1 / CLASSES)[:CLASSES]
    weight[:, CLASSES:] = 0
    collapsed = neural_collapse(x, y, 3 * weight)
    assert all(abs(value) < 1e-12 for value in collapsed.values()), collapsed
    x, y = clusters(1.0)
    loose = neural_collapse(x, y, np.random.default_rng(1).normal(size=(CLASSES, WIDTH)))
    assert all(value > 0.01 for value in loose.values()), loose


def test_persistence_is_that_of_the_estimator() -> None:
    x, y = clusters(0.3)
    dynamics = TrainingDynamics("persistence")
    dynamics.record(x, y, loss=0.5)
    expected = ms.score(x, y, "persistence", components=True)
    assert dynamics.epochs[0] == {"epoch": 1, "loss": 0.5} | {n: expected[n] for n in ("H_sep", "H_tight", "H_ratio")}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [({"watch": "weights"}, "persistence, nc"), ({"watch": []}, "expected one or both"), ({"rows": 1}, "rows is 1")],
)
def test_what_cannot_be_watched_is_refused(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidInputError, match=fault):
        TrainingDynamics(**arguments)


@pytest.mark.parametrize("method", ["full", "head"])
def test_watching_changes_no_training(method: str) -> None:
    zoo = get_host().zoo("embedded")
    backbone = zoo.load(next(iter(ms.search("embedded:resnet.textures"))))
    random = np.random.default_rng(0)
    images = random.integers(0, 200, (40, 32, 32), dtype=np.uint8)
    images[:20, :16] += 50
    probe = ms.Probe.of((images, [0] * 20 + [1] * 20), holdout=0.3)
    assert probe.holdout is not None
    recipe = FineTuning(epochs=2, batch_size=8)
    plain = verify(backbone, probe.training, probe.holdout, recipe, method=method)
    watched = verify(backbone, probe.training, probe.holdout, recipe, method=method, watch=["persistence", "nc"])
    assert (watched.curve, watched.mistakes) == (plain.curve, plain.mistakes)
    assert plain.dynamics == ()
    assert [set(moment) for moment in watched.dynamics] == [
        {"epoch", "H_sep", "H_tight", "H_ratio", "nc1", "nc2_norms", "nc2_angles", "nc3", "nc4"}
    ] * 2
    with pytest.raises(InvalidInputError, match="one training in one process"):
        verify(backbone, probe.training, probe.holdout, FineTuning(epochs=1, trials=2), watch="nc")


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(WIDTH, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, CLASSES))


def test_a_loop_of_ones_own_is_watched_and_left_as_it_was() -> None:
    x, y = clusters(0.5)
    inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    module = network().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    dynamics = TrainingDynamics("nc", rows=50)
    dynamics.after_epoch(module, [(inputs[:60], labels[:60]), (inputs[60:], labels[60:])], loss=1.0)
    assert module.training
    assert module[1].training  # type: ignore[index]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    chosen = dynamics.sample(y)
    assert len(chosen) == 50
    with torch.no_grad():
        features = module.eval()[:2](inputs)[chosen].numpy()  # type: ignore[operator]
    head = module[2]  # type: ignore[index]
    expected = neural_collapse(features, y[chosen], head.weight.detach().numpy(), head.bias.detach().numpy())
    assert {name: dynamics.epochs[0][name] for name in expected} == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InvalidInputError, match="no linear layer"):
        dynamics.after_epoch(torch.nn.ReLU(), [(inputs, labels)])


def test_a_trainer_of_transformers_is_watched(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    x, y = clusters(0.5)
    inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()

        def forward(self, inputs: Any, labels: Any = None) -> Any:
            logits = self.body(inputs)
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    dynamics = TrainingDynamics("nc")
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=40,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    rows = [{"inputs": row, "labels": label} for row, label in zip(inputs, labels, strict=True)]
    callback = dynamics.trainer_callback(lambda: [(inputs, labels)])
    transformers.Trainer(Model(), arguments, train_dataset=rows, callbacks=[callback]).train()
    assert [moment["epoch"] for moment in dynamics.epochs] == [1, 2]
    assert "nc4" in dynamics.epochs[1]


def test_the_measures_are_a_table_and_a_figure(tmp_path: Path) -> None:
    dynamics = TrainingDynamics()
    with pytest.raises(InvalidInputError, match="no epoch was recorded"):
        dynamics.plot()
    for spread in (1.0, 0.1):
        dynamics.record(*clusters(spread))
    table = dynamics.to_pandas()
    assert list(table["epoch"]) == [1, 2]
    assert table["H_ratio"][1] < table["H_ratio"][0]
    dynamics.plot(tmp_path / "dynamics.png")
    assert (tmp_path / "dynamics.png").read_bytes().startswith(b"\x89PNG")
