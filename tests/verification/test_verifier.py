"""Fine-tuning: what it promises of the backbone, of the seed, of memory and of bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn

from modelselect.candidates.backbone import Backbone, Outputs
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import WholeOutput
from modelselect.errors import CandidateError, DatasetError, InvalidInputError, OutOfMemoryError
from modelselect.extraction.inputs import InputCache
from modelselect.verification import FineTuning, verify, wilson_interval
from modelselect.verification.memory import part_count

DIMENSIONS = 6
QUICK = FineTuning(epochs=12, backbone_learning_rate=0.02, head_learning_rate=0.05, batch_size=16)


@dataclass
class Rows:
    """The part of a probe that fine-tuning reads."""

    inputs: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...] = ("a", "b", "c")

    def __len__(self) -> int:
        return len(self.inputs)

    def item(self, row: int) -> np.ndarray:
        return self.inputs[row]


def rows(per_class: int, *, classes: tuple[int, ...] = (0, 1, 2), seed: int = 0) -> Rows:
    """Three clusters that any line can tell apart."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.array(classes, dtype=np.int64), per_class)
    inputs = random.normal(size=(len(labels), DIMENSIONS)).astype(np.float32)
    inputs[np.arange(len(labels)), labels] += 8
    return Rows(inputs, labels)


def backbone(module: nn.Module | None = None, read: Any = None) -> Backbone:
    if module is None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            module = nn.Sequential(nn.Linear(DIMENSIONS, 8), nn.BatchNorm1d(8), nn.Dropout(0.1))
    preprocessing = CallablePreprocessing(torch.from_numpy, "rows")
    return Backbone(Candidate("test", "tiny"), module.eval(), preprocessing, read or WholeOutput(), "key")


class FitsOnly:
    """A reader on a device with memory for this number of rows; records the sizes of its batches."""

    def __init__(self, room: int, error: Callable[[], Exception] = torch.OutOfMemoryError) -> None:
        self.room, self.error = room, error

    def __call__(self, module: nn.Module, batch: torch.Tensor) -> Outputs:
        if len(batch) > self.room:
            raise self.error()
        return Outputs(module(batch), None)


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


@pytest.mark.parametrize("count", [2, 3, 16, 17, 33])
def test_no_batch_of_one_row_reaches_batch_normalisation(count: int) -> None:
    training = rows(count)  # 3 * count rows, which 16 seldom divides
    training = Rows(training.inputs[:: 3 if count > 2 else 1], training.labels[:: 3 if count > 2 else 1])
    assert verify(backbone(), training, rows(3, seed=1), replace(QUICK, epochs=1)).training_rows == len(training)


@given(rows=st.integers(2, 10_000), largest=st.integers(2, 512))
def test_parts_hold_two_rows_or_more_and_are_no_larger_than_asked(rows: int, largest: int) -> None:
    sizes = [len(part) for part in np.array_split(np.arange(rows), part_count(rows, largest))]
    assert min(sizes) >= 2
    assert max(sizes) <= max(largest, 3)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_where_memory_is_short_a_step_is_computed_in_parts_of_equal_meaning(error: Callable[[], Exception]) -> None:
    def run(read: Any = None) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            module = nn.Linear(DIMENSIONS, 8)  # without batch normalisation, parts add up to the whole
        return verify(backbone(module, read), rows(16), rows(10, seed=1), QUICK)

    roomy, tight = run(), run(FitsOnly(5, error))
    assert (roomy.largest_part, tight.largest_part) == (16, 4)
    assert tight.training_loss == pytest.approx(roomy.training_loss, rel=1e-3)
    assert tight.correct == roomy.correct


def test_no_room_for_two_rows_says_so() -> None:
    with pytest.raises(OutOfMemoryError, match="does not fit into memory on 'cpu'"):
        verify(backbone(read=FitsOnly(1)), rows(10), rows(5), QUICK)


def test_a_loss_that_is_not_finite_costs_the_candidate() -> None:
    class Overflow(nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch) * 1e38 * 1e38

    with pytest.raises(CandidateError, match=r"loss became nan in epoch 1 .* Lower the learning rates"):
        verify(backbone(Overflow(DIMENSIONS, 8)), rows(10), rows(5), QUICK)


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


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 1}, {"warm_up": 1.0}, {"head_learning_rate": 0}, {"backbone_learning_rate": -1.0}],
)
def test_a_recipe_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"FineTuning\({next(iter(wrong))}=.*expected"):
        FineTuning(**wrong)


def test_progress_hears_every_epoch_and_the_loss_falls() -> None:
    heard: list[tuple[int, int, float]] = []
    verify(backbone(), rows(20), rows(5), QUICK, progress=lambda *epoch: heard.append(epoch))
    assert [done for done, _, _ in heard] == list(range(1, QUICK.epochs + 1))
    assert {total for _, total, _ in heard} == {QUICK.epochs}
    assert heard[-1][2] < heard[0][2]


@given(warm_up=st.floats(0, 0.99), steps=st.integers(1, 500))
def test_learning_rates_rise_to_their_peak_once_and_then_fall(warm_up: float, steps: int) -> None:
    factors = [FineTuning(warm_up=warm_up).learning_rate_factor(step, steps) for step in range(steps)]
    peak = int(np.argmax(factors))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[peak] == 1


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
