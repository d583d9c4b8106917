"""Standard errors agree with theory and with fresh samples, and the leaderboard shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import modelselect as ms
from modelselect.errors import InvalidInputError, NotApplicableError
from modelselect.estimators.resampling import replicate, resample


class Mean(ms.Estimator):
    """The mean of the first feature over the labelled rows: a score whose standard error is in every textbook."""

    name = "mean"
    requires = frozenset({"features", "labels"})
    citation = "none"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        return {self.name: float(evidence.features[:, 0].mean())}


class Demanding(Mean):
    """Fails below a number of rows."""

    name = "demanding"

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if evidence.n_rows < self.rows:
            raise NotApplicableError(f"{evidence.n_rows} rows are too few")
        return {self.name: Mean().score(evidence)["mean"]}


class Columns(torch.nn.Module):
    """A backbone whose features are some columns of its input."""

    def __init__(self, *columns: int) -> None:
        super().__init__()
        self.columns = torch.nn.Parameter(torch.tensor(columns, dtype=torch.float32), requires_grad=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, self.columns.long()]


def two_classes(n: int, gaps: list[float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, len(gaps)) normal features; in each column, the class means are a gap apart."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(seed).normal(size=(n, len(gaps)))
    return (noise + labels[:, None] * np.array(gaps)).astype(np.float32), labels


pytestmark = pytest.mark.usefixtures("cache")


def rank(dataset: Any, candidates: Any, **settings: Any) -> ms.Leaderboard:
    return ms.select(dataset, candidates, progress=False, **{"estimators": "centroid", "resamples": 20, **settings})


# --- resamples -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.booleans(), st.integers(0, 3))
@settings(max_examples=60)
def test_a_resample_is_four_fifths_of_every_class_without_copies(sizes: list[int], gap: bool, number: int) -> None:
    labels = np.repeat(np.arange(len(sizes)) - int(gap), sizes)  # with unlabelled rows, which are a stratum, too
    evidence = ms.Evidence.of(features=np.arange(len(labels))[:, None], labels=labels)
    drawn = resample(evidence, number, seed=0)
    assert drawn.features is not None
    assert drawn.labels is not None
    rows = drawn.features[:, 0].astype(int)
    assert (np.diff(rows) > 0).all()
    assert (labels[rows] == drawn.labels).all()
    for label, size in zip(np.unique(labels), sizes, strict=True):
        assert max(1, int(0.8 * size)) <= (drawn.labels == label).sum() <= int(np.ceil(0.8 * size - 1e-9))
    if min(sizes) > 1:
        assert abs(len(rows) - 0.8 * len(labels)) < 1.0001


def test_every_candidate_is_shown_the_same_rows_and_every_resample_others() -> None:
    labels = np.arange(100) % 4
    one, other = (ms.Evidence.of(features=np.arange(100)[:, None] + shift, labels=labels) for shift in (0, 1000))

    def rows(evidence: ms.Evidence, number: int, seed: int = 0) -> list[float]:
        features = resample(evidence, number, seed).features
        assert features is not None
        return (features[:, 0] % 1000).tolist()

    assert rows(one, 3) == rows(other, 3)
    assert rows(one, 3) != rows(one, 4)
    assert rows(one, 3) != rows(one, 3, seed=1)


def test_targets_that_are_no_classes_are_one_stratum() -> None:
    targets = np.random.default_rng(0).normal(size=(50, 2))
    drawn = resample(ms.Evidence.of(features=targets, labels=targets), 0, seed=0)
    assert drawn.features is not None
    assert drawn.features.shape == (40, 2)
    assert (drawn.features == drawn.labels).all()


def wholes(count: int, rows: int, seed: int = 0) -> ms.Evidence:
    """Rows of a whole share most of their feature; one class is in one whole only."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rows)
    features = rng.normal(size=count)[groups] + 0.1 * rng.normal(size=len(groups))
    labels = np.where(groups == count - 1, 2, np.arange(len(groups)) % 2)
    return ms.Evidence.of(features=features[:, None], labels=labels, groups=3 * groups)


@pytest.mark.parametrize("number", range(8))
def test_a_resample_holds_whole_sentences_and_images_and_every_class(number: int) -> None:
    evidence = wholes(20, 6)
    drawn = resample(evidence, number, seed=0)
    assert drawn.groups is not None
    assert drawn.labels is not None
    assert set(np.unique(drawn.labels)) == {0, 1, 2}
    assert np.unique(drawn.groups, return_counts=True)[1].tolist() == [6] * len(np.unique(drawn.groups))
    assert len(np.unique(drawn.groups)) in (16, 17)


def test_the_standard_error_of_a_mean_over_wholes_is_that_of_their_means() -> None:
    evidence = wholes(60, 8)
    assert evidence.features is not None
    means = evidence.features[:, 0].reshape(60, 8).mean(axis=1)
    scores = [Mean().score(evidence)] + [Mean().score(resample(evidence, number, 0)) for number in range(400)]
    spread = replicate(scores[0], scores[1:])
    found = np.std([each["mean"] for each in spread])
    assert found == pytest.approx(means.std(ddof=1) / np.sqrt(60), rel=0.12)


# --- standard errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[50, 50], [200, 10, 25, 5], [40, 30, 1, 1]])
def test_the_standard_error_of_a_mean_is_the_textbooks(sizes: list[int]) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    features = rng.normal(size=(len(labels), 1)) * (1 + labels[:, None]) + 10 * labels[:, None]
    within = [n * features[labels == c].var(ddof=1) for c, n in enumerate(sizes) if n > 1]  # singletons add nothing
    expected = np.sqrt(sum(within)) / len(labels)
    found = ms.standard_error(features, labels, Mean(), resamples=500)
    assert found == pytest.approx(expected, rel=0.12)  # 500 resamples know it to 3.2%, one standard deviation


def test_rows_without_a_label_change_no_score_and_no_standard_error_of_one() -> None:
    features, labels = two_classes(100, [1.0])
    alone = ms.standard_error(features, labels, Mean(), resamples=300)
    more = np.concatenate([features, np.full((50, 1), 1e6, dtype=np.float32)])
    found = ms.standard_error(more, np.concatenate([labels, np.full(50, -1)]), Mean(), resamples=300)
    assert found == pytest.approx(alone, rel=0.15)


@pytest.mark.parametrize(("name", "low", "high"), [("logme", 0.75, 1.5), ("centroid", 0.75, 1.8), ("knn", 0.75, 1.8)])
def test_the_standard_error_is_the_deviation_over_fresh_samples(name: str, low: float, high: float) -> None:
    # Between 100 fresh samples the deviation is known to 7%. Deviations of a leave-one-out accuracy come out up to half
    # as large again, because leaving rows out also changes what the others are compared with.
    def sample(seed: int) -> tuple[np.ndarray, np.ndarray]:
        return two_classes(200, [1.5, 1.0, 0.5, 0.0, 0.0, 0.0], seed)

    deviation = np.std([ms.score(*sample(seed), name) for seed in range(100)], ddof=1)
    found = np.mean([ms.standard_error(*sample(1000 + seed), name, resamples=30) for seed in range(5)])
    assert low < found / deviation < high


def test_what_has_no_standard_error_says_why() -> None:
    features, labels = two_classes(40, [1.0, 0.5])
    with pytest.raises(InvalidInputError, match="at least 2"):
        ms.standard_error(features, labels, "logme", resamples=1)
    with pytest.raises(InvalidInputError, match="at least 2"):
        ms.standard_error(features, labels, "logme", resamples=0)
    with pytest.raises(NotApplicableError, match="relative to a pool"):
        ms.standard_error(features, labels, "ncti")
    with pytest.raises(NotApplicableError, match="no rows of the probe"):
        ms.standard_error(None, None, "parameters", metadata={"parameters": 7})
    with pytest.raises(NotApplicableError, match="32 rows are too few"):
        ms.standard_error(features, labels, Demanding(40))
    with pytest.raises(InvalidInputError, match="resamples is -1"):
        rank((features, labels), Columns(0), resamples=-1)


# --- replicates ------------------------------------------------------------------------------------------------------


def test_what_candidates_have_in_common_does_not_make_their_gap_uncertain() -> None:
    features, labels = two_classes(60, [0.0])
    common = 100 * np.random.default_rng(1).normal(size=(60, 1))
    better, worse = common + 0.2 + 0.1 * features, common - 0.1 * features
    columns = []
    for each in (better, worse):
        evidence = ms.Evidence.of(features=each, labels=labels)
        again = [Mean().score(resample(evidence, number, 0)) for number in range(30)]
        columns.append([components["mean"] for components in replicate(Mean().score(evidence), again)])
    first, second = columns
    assert np.std(first) > 5
    assert np.std(np.subtract(first, second)) < 0.1


# --- the leaderboard -------------------------------------------------------------------------------------------------


def test_the_leaderboard_shows_scores_with_their_standard_errors(tmp_path: Path) -> None:
    board = rank(two_classes(200, [3.0, 3.0, 0.2]), [Columns(0), Columns(1)])
    assert board.best.score is not None
    assert f"± {board.best.standard_error:.2g}" in str(board)
    assert board.best.standard_errors == {"centroid": board.best.standard_error}
    assert board.provenance["settings"]["resamples"] == 20
    path = tmp_path / "board.json"
    board.save(path)
    assert ms.Leaderboard.load(path) == board


def test_how_sure_a_score_is_does_not_say_how_sure_the_first_place_is() -> None:
    dataset = two_classes(200, [3.0, 1.0, 0.2])
    pool = [Columns(0), Columns(1), Columns(2)]
    with_errors, without = rank(dataset, pool), rank(dataset, pool, resamples=0)
    assert with_errors.confidence == without.confidence
    assert [row.probability_best for row in with_errors.rows] == [row.probability_best for row in without.rows]


def test_the_standard_error_on_the_leaderboard_is_that_of_bare_arrays() -> None:
    features, labels = two_classes(60, [1.0, 0.4])
    board = rank(ms.Probe.of((features, labels), size=None), Columns(0, 1))
    assert board.best.standard_error == pytest.approx(ms.standard_error(features, labels, "centroid", resamples=20))


def test_a_leaderboard_without_resamples_has_no_standard_errors() -> None:
    board = rank(two_classes(40, [1.0, 0.5]), [Columns(0), Columns(1)], resamples=0)
    assert board.best.standard_error is None
    assert board.best.standard_errors == {}
    assert "±" not in str(board)


def test_a_file_from_before_there_were_standard_errors_is_read(tmp_path: Path) -> None:
    board = rank(two_classes(40, [1.0, 0.5]), [Columns(0), Columns(1)], resamples=0)
    document = json.loads(board.to_json())
    for row in document["rows"]:
        for name in ("standard_error", "standard_errors"):
            del row[name]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    assert ms.Leaderboard.load(path) == board


def test_ranks_and_scores_that_are_relative_to_the_pool_are_combined_anew_for_every_resample() -> None:
    dataset = two_classes(120, [2.0, 1.6, 0.3, 1.0])
    pool = [Columns(0, 3), Columns(1, 3), Columns(2, 3)]
    board = rank(dataset, pool, estimators=["ncti", "centroid", "parameters"])
    for row in board.rows:
        assert set(row.standard_errors) == {"ncti", "centroid"}  # other rows would not change a parameter count
        assert row.standard_error is not None
    assert any(row.standard_error for row in board.rows)


def test_a_score_that_looks_at_no_rows_has_no_standard_error() -> None:
    board = rank(two_classes(40, [1.0, 0.5]), [Columns(0), Columns(0, 1)], estimators="parameters")
    assert board.best.standard_error is None
