"""Samples are stratified, and rare classes stay."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelselect.probe.sampling import allocate, choose_holdout

CLASS_SIZES = st.lists(st.integers(0, 400), min_size=1, max_size=30).filter(lambda counts: sum(counts) > 0)


# --- the sampler -----------------------------------------------------------------------------------------------------


@given(CLASS_SIZES, st.integers(1, 3000))
def test_a_stratified_sample_has_the_size_asked_for_and_never_more_than_there_is(counts: list[int], size: int) -> None:
    chosen = allocate(counts, size)
    assert chosen.sum() == min(size, sum(counts))
    assert (chosen >= 0).all()
    assert (chosen <= counts).all()


@given(CLASS_SIZES, st.integers(1, 3000))
def test_every_class_is_within_one_row_of_its_share_unless_rare_classes_must_be_kept(
    counts: list[int], size: int
) -> None:
    chosen, present = allocate(counts, size), np.array(counts) > 0
    size = min(size, sum(counts))
    shares = size * np.array(counts) / sum(counts)
    if size < present.sum() or (shares[present] >= 1).all():
        assert (np.abs(chosen - shares) < 1).all()
    else:
        assert (chosen[present] >= 1).all()
        assert (chosen[shares < 1] <= 1).all()
        assert (chosen < shares + 1).all()


@given(CLASS_SIZES, st.integers(1, 3000))
def test_a_larger_class_never_gets_fewer_rows(counts: list[int], size: int) -> None:
    order = np.argsort(counts, kind="stable")
    chosen = allocate(counts, size)
    for small, large in itertools.pairwise(order):
        assert counts[small] == counts[large] or chosen[small] <= chosen[large]


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=200), st.floats(0.01, 0.99), st.integers(0, 5))
def test_the_holdout_takes_its_share_of_every_class_and_leaves_some(labels: list[int], share: float, seed: int) -> None:
    array = np.array(labels, np.int64)
    held_out = choose_holdout(array, share, seed)
    for label in range(-1, 7):
        count, taken = int((array == label).sum()), int(held_out[array == label].sum())
        if label == -1 or count < 2:
            assert taken == 0
        else:
            assert 1 <= taken < count
            assert taken <= max(1, np.ceil(share * count))
    assert (choose_holdout(array, share, seed) == held_out).all()
