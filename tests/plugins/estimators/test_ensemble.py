"""The ensemble: ranks counted by hand, members that may be silent, weights never learned on what they judge."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError, InvalidScoreWarning, NotApplicableError, ScoreWarning
from modelselect.estimators.ranks import mean_rank, normalised_ranks
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators.ensemble import Ensemble, learn_weights
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.leep import LEEP


class Fixed(ms.Estimator):
    """Says of a candidate what its metadata hold, or that it does not apply."""

    requires = frozenset({"metadata"})
    citation = "none"

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.metadata is not None
        if self.name not in evidence.metadata:
            raise NotApplicableError(f"{self.name} has nothing to say")
        return {"said": evidence.metadata[self.name]}


def pool(**said: list[float | None]) -> list[dict[str, dict[str, float]]]:
    n = len(next(iter(said.values())))
    return [{"metadata": {k: v for k, values in said.items() if (v := values[i]) is not None}} for i in range(n)]


def test_the_score_is_the_mean_normalised_rank() -> None:
    candidates = pool(a=[1.0, 2.0, 3.0], b=[30.0, -5.0, 30.0])
    members = Ensemble([Fixed("a"), Fixed("b")])
    assert ms.score_pool(candidates, members).tolist() == [0.375, 0.25, 0.875]
    weighted = Ensemble([Fixed("a"), Fixed("b")], weights={"a": 3.0, "b": 1.0})
    assert ms.score_pool(candidates, weighted).tolist() == [0.1875, 0.375, 0.9375]


def test_a_silent_member_leaves_the_candidate_to_the_others() -> None:
    candidates = pool(a=[1.0, 2.0, 3.0], b=[5.0, None, 4.0])
    assert ms.score_pool(candidates, Ensemble([Fixed("a"), Fixed("b")])).tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(NotApplicableError, match="a has nothing to say; b has nothing to say"):
        ms.score_pool(pool(c=[1.0, 2.0]), Ensemble([Fixed("a"), Fixed("b")]))


def test_components_are_the_members_own() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    features, probabilities = rng.normal(size=(40, 3)), rng.dirichlet(np.ones(4), 40)
    members = Ensemble([KNN(), LEEP()])
    components = ms.score(features, labels, members, components=True, source_probabilities=probabilities)
    assert components == {
        "knn/knn": ms.score(features, labels, "knn"),
        "leep/leep": ms.score(None, labels, "leep", source_probabilities=probabilities),
    }
    assert members.requires == {"features", "labels", "source_probabilities"}
    with pytest.raises(NotApplicableError, match="relative to a pool"):
        ms.score(features, labels, members, source_probabilities=probabilities)


def test_the_identity_of_an_ensemble_is_that_of_its_members_and_weights() -> None:
    assert Ensemble([KNN(1)]).key == Ensemble([KNN(1)]).key
    assert len({Ensemble(m).key for m in ([KNN(1)], [KNN(3)], [LEEP()], None)}) == 4
    assert Ensemble([KNN()], {"knn": 2.0}).key != Ensemble([KNN()]).key

    class Corrected(Fixed):
        version = 2

    Corrected.__qualname__ = Fixed.__qualname__
    assert Ensemble([Corrected("a")]).key != Ensemble([Fixed("a")]).key
    assert not Ensemble([KNN()]).stochastic


def test_members_need_names_of_their_own_and_weights_a_member() -> None:
    with pytest.raises(InvalidInputError, match="knn, knn"):
        ms.score_pool([{"features": [[0.0], [1.0]], "labels": [0, 1]}], Ensemble([KNN(1), KNN(3)]))
    for weights in ({"a": -1.0}, {"b": 1.0}, {"a": 0.0}):
        with pytest.raises(InvalidInputError, match="expected numbers of 0 or more"):
            ms.score_pool(pool(a=[1.0, 2.0]), Ensemble([Fixed("a")], weights))


class Wide(Fixed):
    """Says that its score is invalid where the metadata say so."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        if (evidence.metadata or {}).get("wide"):
            warnings.warn(f"{self.name} is inflated", InvalidScoreWarning, stacklevel=2)
        return super().score(evidence)


def test_a_member_whose_score_of_one_candidate_is_invalid_has_no_vote_in_the_pool() -> None:
    candidates = pool(a=[1.0, 2.0, 3.0], b=[9.0, 2.0, 1.0], wide=[1.0, None, None])
    members = Ensemble([Fixed("a"), Wide("b")])
    with pytest.warns(ScoreWarning, match="left out of the mean rank: b is inflated") as caught:
        assert ms.score_pool(candidates, members).tolist() == [0.0, 0.5, 1.0]
    assert [w.category for w in caught] == [ScoreWarning], "the ensemble's own score is valid"
    assert ms.score_pool(candidates[1:], members).tolist() == [0.5, 0.5]


@pytest.mark.filterwarnings("ignore::modelselect.errors.InvalidScoreWarning")
def test_a_member_whose_score_is_invalid_votes_where_no_other_member_scores_a_candidate() -> None:
    candidates = pool(a=[1.0, None, 3.0], b=[9.0, 2.0, 1.0], wide=[None, 1.0, None])
    with pytest.warns(InvalidScoreWarning, match="b is inflated"):
        assert ms.score_pool(candidates, Ensemble([Fixed("a"), Wide("b")])).tolist() == [0.5, 0.5, 0.5]
    with pytest.warns(InvalidScoreWarning):
        assert ms.score_pool(candidates, Ensemble([Wide("b")])).tolist() == [1.0, 0.5, 0.0]


def test_weights_count_for_the_members_that_vote() -> None:
    candidates = pool(a=[1.0, 2.0, 3.0], b=[9.0, 2.0, 1.0], c=[5.0, 5.0, 7.0], wide=[1.0, None, None])
    members = [Fixed("a"), Wide("b"), Fixed("c")]
    with pytest.warns(ScoreWarning):
        found = ms.score_pool(candidates, Ensemble(members, {"a": 1.0, "b": 5.0, "c": 3.0}))
    assert found.tolist() == [0.1875, 0.3125, 1.0]


def results(seed: int = 0) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Five datasets of 20 candidates: one member that knows, a copy of it, a weaker one, and noise."""
    rng = np.random.default_rng(seed)
    truth = {f"dataset-{i}": rng.normal(size=20) for i in range(5)}
    scores = {}
    for name, values in truth.items():
        knows = values + 0.5 * rng.normal(size=20)
        weaker = values + 1.5 * rng.normal(size=20)
        scores[name] = {"knows": knows, "copy": 10 * knows, "weaker": weaker, "noise": rng.normal(size=20)}
    return scores, truth


def test_learned_weights_follow_what_helps_and_beat_equal_ones() -> None:
    learned = learn_weights(*results())
    assert sum(learned.weights.values()) == pytest.approx(1)
    assert learned.weights["knows"] + learned.weights["copy"] > learned.weights["weaker"] > learned.weights["noise"]
    assert np.mean(list(learned.agreement.values())) > np.mean(list(learned.plain_agreement.values()))


def test_weights_never_see_the_dataset_that_they_are_judged_on() -> None:
    scores, truth = results()
    honest = learn_weights(scores, truth)
    scores["dataset-2"] = {name: -values for name, values in scores["dataset-2"].items()}
    truth["dataset-2"] = np.random.default_rng(9).normal(size=20)
    other = learn_weights(scores, truth)
    assert other.held_out["dataset-2"] == honest.held_out["dataset-2"]
    assert other.held_out["dataset-1"] != honest.held_out["dataset-1"]
    assert other.weights != honest.weights


def test_the_judgement_is_the_agreement_of_the_held_out_ensemble() -> None:
    scores, truth = results()
    learned = learn_weights(scores, truth)
    ranks = {name: normalised_ranks(values) for name, values in scores["dataset-3"].items()}
    expected = ms.agreement(mean_rank(ranks, learned.held_out["dataset-3"]), truth["dataset-3"]).weighted_kendall
    assert learned.agreement["dataset-3"] == expected


def test_missing_scores_and_useless_members_do_no_harm() -> None:
    scores, truth = results()
    scores["dataset-0"]["noise"][:5] = np.nan
    assert np.isfinite(list(learn_weights(scores, truth).agreement.values())).all()
    useless = {name: {"wrong": -values} for name, values in truth.items()}
    assert learn_weights(useless, truth).weights == {"wrong": 1.0}


def test_results_that_cannot_be_learned_from_are_refused() -> None:
    scores, truth = results()
    with pytest.raises(InvalidInputError, match="same two datasets or more"):
        learn_weights({"dataset-0": scores["dataset-0"]}, truth)
    with pytest.raises(InvalidInputError, match="'dataset-1' has scores of"):
        learn_weights(scores | {"dataset-1": {"knows": truth["dataset-1"]}}, truth)
    with pytest.raises(InvalidInputError, match="must agree"):
        learn_weights(scores, truth | {"dataset-1": [1.0, 2.0]})
