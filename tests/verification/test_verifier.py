"""Fine-tuning: what it promises of the backbone, of the seed, of validation and of bad input."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from torch import nn

from modelselect.candidates.modules import weights_digest
from modelselect.errors import CandidateError, DatasetError
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import get_host
from modelselect.probe.probe import Probe
from modelselect.tasks.metrics import ACCURACY, SPEARMAN, Metric
from modelselect.tasks.objectives import CrossEntropy
from modelselect.verification import FineTuning, verify, wilson_interval
from modelselect.verification.material import validation_split
from modelselect.verification.verifier import training_seconds
from tests.verification.material import DIMENSIONS, QUICK, FitsOnly, Rows, backbone, overlapping, rows


def test_what_can_be_told_apart_is_learned() -> None:
    result = verify(backbone(), rows(20), rows(30, seed=1), QUICK)
    assert result.accuracy > 0.97
    assert result.interval[0] < result.accuracy <= result.interval[1] <= 1
    assert (result.rows, result.training_rows) == (90, 60)
    assert result.accuracy == result.correct / result.rows
    assert result.seconds > 0


def test_the_whole_backbone_is_tuned_not_only_the_head() -> None:
    # Features that are all zero tell a head nothing: only a backbone that moves can learn.
    module = nn.Linear(DIMENSIONS, 8)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    assert verify(backbone(module), rows(20), rows(30, seed=1), QUICK).accuracy > 0.97


def test_frozen_weights_are_thawed_in_the_copy() -> None:
    module = nn.Linear(DIMENSIONS, 8)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    assert verify(backbone(module.requires_grad_(False)), rows(20), rows(9, seed=1), QUICK).accuracy > 0.9
    assert not module.weight.requires_grad


def test_the_given_backbone_and_the_random_state_stay_as_they_were() -> None:
    given_backbone = backbone()
    before, state = weights_digest(given_backbone.module), torch.random.get_rng_state()
    verify(given_backbone, rows(10), rows(5, seed=1), QUICK)
    assert weights_digest(given_backbone.module) == before
    assert not given_backbone.module.training
    assert all(parameter.grad is None for parameter in given_backbone.module.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_result_depends_on_the_seed_and_not_on_what_ran_before() -> None:
    first = verify(backbone(), rows(10), rows(20, seed=1), QUICK, seed=3)
    torch.manual_seed(99)
    torch.rand(7)
    verify(backbone(), rows(6), rows(4, seed=1), QUICK, seed=4)
    again = verify(backbone(), rows(10), rows(20, seed=1), QUICK, seed=3)
    other = verify(backbone(), rows(10), rows(20, seed=1), QUICK, seed=4)
    assert replace(first, seconds=0) == replace(again, seconds=0)
    assert first.training_loss != other.training_loss


def test_inputs_that_cannot_be_kept_give_the_same_result() -> None:
    kept, on_demand = (
        verify(backbone(), rows(10), rows(20, seed=1), QUICK, spool=InputCache(None, limit)) for limit in (None, 1)
    )
    assert replace(on_demand, seconds=0) == replace(kept, seconds=0)


def test_a_class_that_training_lacks_counts_as_errors() -> None:
    result = verify(backbone(), rows(20, classes=(0, 2)), rows(30, seed=1), QUICK)
    assert result.rows == 90
    assert result.accuracy == pytest.approx(2 / 3, abs=0.03)


def test_unlabelled_rows_are_left_out() -> None:
    training, holdout = rows(10), rows(20, seed=1)
    training.labels[::3] = -1
    holdout.labels[:40] = -1
    result = verify(backbone(), training, holdout, QUICK)
    assert (result.rows, result.training_rows) == (20, 20)


def test_a_candidate_that_raises_is_named_by_its_error() -> None:
    with pytest.raises(CandidateError, match="fine-tuning raised ZeroDivisionError: made for 8 pixels"):
        verify(backbone(read=FitsOnly(0, lambda: ZeroDivisionError("made for 8 pixels"))), rows(10), rows(5), QUICK)


def test_unusable_rows_are_refused_with_the_reason() -> None:
    with pytest.raises(DatasetError, match="30 labelled rows of 1 class"):
        verify(backbone(), rows(30, classes=(1,)), rows(5), QUICK)
    with pytest.raises(DatasetError, match="no labelled rows"):
        verify(backbone(), rows(10), Rows(rows(2).inputs, np.full(6, -1)), QUICK)
    with pytest.raises(DatasetError, match=r"training has the classes a, b, c and holdout a, b"):
        verify(backbone(), rows(10), replace(rows(5), class_names=("a", "b")), QUICK)


@settings(max_examples=60)
@given(data=st.data(), count=st.integers(1, 5000))
def test_wilson_interval_is_that_of_scipy(data: st.DataObject, count: int) -> None:
    correct = data.draw(st.integers(0, count))
    expected = binomtest(correct, count).proportion_ci(method="wilson")
    assert wilson_interval(correct, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_learns_the_same() -> None:
    result = verify(backbone(), rows(20), rows(30, seed=1), QUICK, device="cuda")
    again = verify(backbone(), rows(20), rows(30, seed=1), QUICK, device="cuda")
    assert result.accuracy > 0.97
    assert replace(result, seconds=0) == replace(again, seconds=0)


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


def test_validation_takes_its_share_of_every_class_and_never_the_last_row() -> None:
    targets = np.repeat(np.arange(4), [50, 10, 2, 1])
    chosen = validation_split(targets, 0.2, seed=0)
    assert [int(chosen[targets == target].sum()) for target in range(4)] == [10, 2, 1, 0]
    assert not np.array_equal(chosen, validation_split(targets, 0.2, seed=1))
    with pytest.raises(DatasetError, match="no two of one class"):
        verify(backbone(), rows(1), rows(5), replace(QUICK, patience=1))


def test_numbers_that_are_too_few_for_a_validation_split_are_refused() -> None:
    probe = Probe.of((np.eye(3, DIMENSIONS, dtype=np.float32), [0.5, 1.5, 2.5]))
    with pytest.raises(DatasetError, match=r"3 labelled rows, no two .* of similar numbers, .* validation split"):
        training_seconds(backbone(), probe, replace(QUICK, patience=1))


def test_a_batch_is_timed_by_the_objective_of_the_task() -> None:
    class Noted(CrossEntropy):
        seen = 0

        def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            Noted.seen += 1
            return super().loss(outputs, targets)

    task = copy.copy(get_host().tasks["classification"])
    task.objective = Noted()
    assert training_seconds(backbone(), rows(20), QUICK, task=task) > 0
    assert Noted.seen == 3


class Numbers(Rows):
    """Rows of one number each."""

    @property
    def targets(self) -> np.ndarray:
        return self.labels

    @property
    def strata(self) -> np.ndarray:
        return np.zeros(len(self.labels), np.int64)


class Dead(nn.Linear):
    """Gives zeros."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) * 0


def test_a_metric_that_is_not_defined_says_whether_targets_or_predictions_do_not_differ() -> None:
    task = copy.copy(get_host().tasks["regression"])
    task.metrics = (SPEARMAN,)
    made = Numbers(np.zeros((40, DIMENSIONS), np.float32), np.arange(40.0)[:, None], target_kind="numbers")
    dead = Dead(DIMENSIONS, 8)
    with pytest.raises(CandidateError, match="the predictions for the 40 held-out rows do not differ: the training"):
        verify(backbone(dead), made, made, QUICK, task=task)
    with pytest.raises(CandidateError, match=r"the targets of the 40 held-out rows do not differ\. Give"):
        verify(backbone(dead), made, replace(made, labels=np.ones((40, 1))), QUICK, task=task)


def mean_recall(targets: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.mean([(predictions[targets == label] == label).mean() for label in np.unique(targets)]))


def test_classes_are_judged_by_the_metric_of_the_task() -> None:
    task = copy.copy(get_host().tasks["classification"])
    task.metrics = (Metric("mean_recall", "mean recall", mean_recall), ACCURACY)
    training, held = overlapping(30), overlapping(40, seed=1)
    kept = np.flatnonzero((held.labels > 0) | (np.arange(len(held.labels)) % 5 == 0))  # the first class is rare
    held = replace(held, inputs=held.inputs[kept], labels=held.labels[kept])
    result, by_accuracy = (verify(backbone(), training, held, QUICK, task=each) for each in (task, None))
    wrong = np.bincount([target for _, target, _ in result.mistakes], minlength=len(result.class_rows))
    of_mistakes = np.mean(1 - wrong / np.array(result.class_rows))
    assert result.accuracy == pytest.approx(of_mistakes)
    assert result.accuracy != by_accuracy.accuracy
    assert by_accuracy.metrics == {}
    assert result.metrics == {"mean_recall": result.accuracy, "accuracy": pytest.approx(by_accuracy.accuracy)}
    assert result.interval[0] < result.accuracy < result.interval[1]
