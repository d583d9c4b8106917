"""The estimator `evidence`: its pieces, and what it does where parts are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import ScoreWarning
from modelselect.estimators.posterior import Pool, posterior
from modelselect.testing import estimator_checks
from modelselect_plugins.estimators.evidence import PooledEvidence
from modelselect_plugins.estimators.knn import KNN


@pytest.mark.parametrize(("name", "check"), estimator_checks(PooledEvidence()))
def test_it_keeps_the_promises_of_estimators(name: str, check: Any) -> None:
    check()


def evidence(gap: float, seed: int = 0, **others: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], 20)
    return {"features": rng.normal(size=(60, 6)) + gap * labels[:, None], "labels": labels, **others}


class View:
    """A history of some candidates and two datasets."""

    def __init__(self, accuracies: Any, probe: Any = None, names: str = "abc") -> None:
        self._accuracies = np.array(accuracies, dtype=float)
        self._probe = np.full(self._accuracies.shape, np.nan) if probe is None else np.array(probe, dtype=float)
        self.positions = {f"shelf:{name}": index for index, name in enumerate(names)}

    def measured(self) -> Any:
        return self._accuracies

    def performance(self, metric: str, scale: str) -> Any:
        assert (metric, scale) == ("evidence:probe", "raw")
        return self._probe


def pool(history: Any = None, parameters: tuple[int, ...] = (10, 20, 30)) -> Pool:
    return Pool(("shelf:a", "shelf:b", "shelf:c"), tuple({"parameters": 10**6 * size} for size in parameters), history)


def scores(*gaps: float) -> list[dict[str, float]]:
    fields = [evidence(gap, seed) for seed, gap in enumerate(gaps)]
    return [dict(PooledEvidence().score(ms.Evidence.of(**each))) for each in fields]


def test_the_pieces_are_probe_and_size_without_a_history() -> None:
    pieces = {piece.name: piece for piece in PooledEvidence().pieces(scores(0.0, 1.0, 3.0), pool())}
    assert list(pieces) == ["probe", "size"]
    assert np.all(np.diff(pieces["probe"].values) > 0)
    assert np.all(np.diff(pieces["size"].values) > 0)
    assert (pieces["probe"].reliability, pieces["size"].reliability) == (0.68, 0.55)


def test_results_on_other_datasets_lead_and_change_the_reliabilities() -> None:
    view = View([[0.9, 0.8], [0.7, 0.7], [0.5, 0.6]])
    pieces = {piece.name: piece for piece in PooledEvidence().pieces(scores(0.0, 1.0, 3.0), pool(view))}
    assert list(pieces) == ["history", "probe", "size"]
    assert np.all(np.diff(pieces["history"].values) < 0)


def test_the_worked_example_holds_through_the_estimator() -> None:
    """The same figures as of the pieces alone, in `test_evidence_pieces.py`."""
    view = View(np.array([[90, 80, 85, 60, 82], [70, 72, 66, 41, 60]]).T, names="abcde")
    facts: list[dict[str, Any]] = [{"parameters": 1e6 * size} for size in (25, 11, 5, 3, 60)]
    for place, top1 in ((0, 76), (1, 70), (2, 72), (4, 78)):
        facts[place] |= {"source_dataset": "imagenet-1k", "source_accuracy": top1}
    components = [{"rows": 1000.0, "dimension": 8.0, "knn/knn": value} for value in (0.9, 0.7, 0.8, 0.2, 0.5)]
    given = PooledEvidence([KNN()]).pieces(components, Pool(tuple(view.positions), tuple(facts), view))
    assert [piece.name for piece in given] == ["history", "probe", "size", "imagenet"]
    found = posterior(given, 5)
    np.testing.assert_allclose(found.mean, [1.3020, 0.0021, 0.0568, -1.5292, 0.0796], atol=1e-4)
    np.testing.assert_allclose(found.variance, [0.4484, 0.4484, 0.4484, 0.4708, 0.4484], atol=1e-4)
    assert found.probability_better(0, 2) == pytest.approx(0.9057, abs=1e-4)


def test_a_candidate_without_results_is_judged_by_similar_ones() -> None:
    view = View([[0.9, 0.8], [0.5, 0.6], [np.nan, np.nan]])
    similar = {p.name: p for p in PooledEvidence().pieces(scores(0.0, 1.0, 3.0), pool(view))}["similar"]
    assert np.isnan(similar.values[:2]).all()
    assert np.isfinite(similar.values[2])


def test_candidates_that_were_not_run_are_as_wide_as_their_facts_say() -> None:
    view = View([[0.9, 0.8], [0.5, 0.6], [np.nan] * 2, [np.nan] * 2], names="abcd")
    facts = tuple({"parameters": 10**6, "feature_dim": width} for width in (768, 64, 768, 64))
    given = PooledEvidence().pieces([{}] * 4, Pool(tuple(view.positions), facts, view))
    similar = {piece.name: piece.values for piece in given}["similar"]
    assert similar[2] > similar[3]


def test_without_labels_the_size_ranks() -> None:
    estimator = PooledEvidence()
    found = [
        dict(estimator.score(ms.Evidence.of(features=evidence(0.0)["features"], metadata={"parameters": size})))
        for size in (10, 1000, 100)
    ]
    assert estimator.combine(found).argsort().tolist() == [0, 2, 1]


def test_without_anything_all_are_equal() -> None:
    estimator = PooledEvidence()
    found = [dict(estimator.score(ms.Evidence.of(metadata={}))) for _ in range(3)]
    assert estimator.combine(found).tolist() == [0.0, 0.0, 0.0]


def test_fewer_rows_than_half_the_dimension_leave_out_logme_and_ncti() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 10)
    with pytest.warns(
        ScoreWarning, match=r"20 rows are few for .* by 64 numbers: .* logme and ncti .* With 32 labelled rows or more"
    ):
        wide = [dict(PooledEvidence().score(ms.Evidence.of(features=rng.normal(size=(20, 64)), labels=labels)))] * 2
    for each in wide:
        assert "etran/energy" in each or any(name.startswith("etran/") for name in each)
    changed = [dict(wide[0]), {**wide[1], **{k: 1e6 for k in wide[1] if k.startswith(("logme/", "ncti/"))}}]
    assert PooledEvidence().combine(changed).tolist() == [0.0, 0.0]


def test_members_have_a_part_in_the_key() -> None:
    assert PooledEvidence([KNN()]).key != PooledEvidence().key


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -5, 0, "12M", True, 10**400, [1], None, {}, ["a"], ()])
@pytest.mark.parametrize("fact", ["parameters", "input_size", "family", "modality", "source_accuracy"])
@pytest.mark.filterwarnings("error")
def test_a_candidate_with_an_odd_fact_is_one_without_this_fact(fact: str, odd: Any) -> None:
    """Zoos of plugins and other people's histories may give anything as a fact."""
    view = View([[0.9, 0.8], [0.7, 0.6], [np.nan, np.nan]])
    facts = tuple({"parameters": 10**6, "source_dataset": "ImageNet-1k", fact: value} for value in (20, odd, 30))
    found = PooledEvidence().pieces(scores(0.0, 1.0, 2.0), Pool(("shelf:a", "shelf:b", "shelf:c"), facts, view))
    assert {"probe", "history", "similar"} <= {piece.name for piece in found}
    PooledEvidence().score(ms.Evidence.of(**evidence(1.0), metadata=facts[1]))
