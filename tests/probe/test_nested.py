"""Nested probes: each contains the smaller ones."""

from __future__ import annotations

import itertools

import numpy as np

import modelselect as ms
from modelselect.budget.budget import round_sizes
from modelselect.probe.nested import nest
from tests.estimators.test_resampling import two_classes


def test_nested_probes_hold_whole_sentences_and_at_first_every_tag() -> None:
    rng = np.random.default_rng(0)
    sentences = [[f"w{number}" for number in rng.integers(0, 99, rng.integers(3, 30))] for _ in range(120)]
    tags = [["A" if rng.random() < 0.7 else "B" for _ in words] for words in sentences]
    tags[70][1] = "C"
    probe = ms.Probe.of((sentences, tags), size=None)
    sizes = round_sizes(len(probe), 3)
    parts = nest(probe, sizes)
    assert probe.groups is not None
    counts = np.bincount(probe.groups)
    assert len(parts) == len(sizes) > 2
    for size, part in zip(sizes, parts, strict=True):
        assert size <= len(part.rows) < size + 30
        assert part.probe.labels is not None
        assert set(part.probe.labels) == {0, 1, 2}
        there, own = np.unique(probe.groups[part.rows], return_counts=True)
        np.testing.assert_array_equal(own, counts[there])
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller.rows) < set(larger.rows)
    assert len(nest(ms.Probe.of((sentences[:1], [["A", *["B"] * (len(sentences[0]) - 1)]]), size=None), [1, 2])) == 1


def test_nested_probes_grow_and_are_stratified() -> None:
    labels = np.repeat([0, 1, 2], [600, 250, 150])
    probe = ms.Probe.of((np.random.default_rng(0).normal(size=(1000, 3)), labels), size=None)
    parts = nest(probe, round_sizes(1000, 3))
    assert [len(part.rows) for part in parts] == [125, 250, 500, 1000]
    assert parts[-1].probe is probe
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller.rows) < set(larger.rows)
    for part in parts:
        assert part.probe.labels is not None
        shares = np.bincount(part.probe.labels) / len(part.rows)
        np.testing.assert_allclose(shares, [0.6, 0.25, 0.15], atol=2 / len(part.rows))
        places = np.concatenate(part.places)
        assert sorted(places) == list(range(len(part.rows)))
        for block, where in zip(part.blocks, part.places, strict=True):
            for row in (0, len(block) - 1):
                np.testing.assert_array_equal(block.item(row), part.probe.item(where[row]))
                np.testing.assert_array_equal(block.item(row), probe.item(part.rows[where[row]]))


def test_a_part_has_the_fingerprint_of_its_rows_wherever_they_come_from() -> None:
    rows, labels = two_classes(40, [1.0])
    part = ms.Probe.of((rows, labels), size=None).take(np.arange(10, 30))
    alone = ms.Probe.of((rows[10:30], labels[10:30]), size=None)
    assert part.fingerprint == alone.fingerprint
    assert len(part.training) == 40
