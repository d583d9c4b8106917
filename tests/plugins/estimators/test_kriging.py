"""Kriging ranks by results on similar datasets and of similar candidates; scikit-learn does the same sums."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import weightedtau
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

import modelselect as ms
from modelselect.errors import NotApplicableError, ScoreWarning
from modelselect.estimators.posterior import normal_scores
from modelselect.history import History, HistoryView
from modelselect.host.lookup import find_truth
from modelselect.testing.estimators import estimator_checks
from modelselect_plugins.estimators import kriging
from modelselect_plugins.estimators.kriging import Kriging
from tests.plugins.estimators.test_fennec import chain, view_of

Matrix = NDArray[np.float64]


@pytest.mark.parametrize(("name", "check"), estimator_checks(Kriging()))
def test_kriging_keeps_an_estimators_promises(name: str, check: object) -> None:
    check()  # type: ignore[operator]


def recalled(view: HistoryView, proxy: Matrix | None = None) -> dict[str, Matrix]:
    """Each component, for the pool in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        scores = Kriging().recall(view, proxy)
    return {name: np.array([scores[c][name] for c in view.pool]) for name in ("kriging", "own", "certainty")}


# --- datasets


def test_the_likeness_of_datasets_is_scikit_learns_kernel_of_standardised_means() -> None:
    seen = np.random.default_rng(0).normal(size=(6, 3)) * [1, 10, 100]
    expected = rbf_kernel(StandardScaler().fit_transform(seen), gamma=1 / (4 * 3))
    np.testing.assert_allclose(kriging.likeness(seen), expected)
    seen[2] = np.nan  # as alike to others as the mean dataset
    known = StandardScaler().fit(np.delete(seen, 2, axis=0))
    alike = rbf_kernel(np.zeros((1, 3)), known.transform(seen[[0]]), gamma=1 / 12)
    assert kriging.likeness(seen)[2, 0] == pytest.approx(alike[0, 0])


def test_the_agreement_of_datasets_is_a_penalised_line_through_that_of_the_history() -> None:
    rng = np.random.default_rng(0)
    alike = rbf_kernel(rng.normal(size=(6, 2)), gamma=0.3)
    results = rng.multivariate_normal(np.zeros(5), 0.3 + 0.6 * alike[:-1, :-1], size=40)
    expected, common = kriging.agreements(results, alike)
    pairs = np.tril_indices(5, -1)
    found = np.corrcoef(np.column_stack([normal_scores(column) for column in results.T]).T)[pairs]
    near = alike[pairs]
    line = Ridge(alpha=kriging.SLOPE_WEIGHT).fit((near - near.mean())[:, None], found)
    level = (kriging.AGREEMENT_WEIGHT * kriging.AGREEMENT + found.sum()) / (kriging.AGREEMENT_WEIGHT + len(found))
    assert line.coef_[0] > 0.1
    np.testing.assert_allclose(expected[-1, :-1], level + line.coef_[0] * (alike[-1, :-1] - near.mean()))
    assert common == pytest.approx(level + line.coef_[0] * (1 - near.mean()))
    assert (np.linalg.eigvalsh(expected) > 0).all()


def test_datasets_without_likeness_count_by_their_mean_and_the_formula_of_spearman_and_brown() -> None:
    results, agreement = np.random.default_rng(0).normal(size=(8, 5)), np.full((6, 6), 0.4)
    np.fill_diagonal(agreement, 1.0)
    results[0, 2:] = np.nan
    values, reliability = kriging.from_datasets(results, agreement, 0.4)
    for rows, count in ((slice(0, 1), 2), (slice(1, None), 5)):
        np.testing.assert_allclose(reliability[rows] ** 2, count * 0.4 / (1 + (count - 1) * 0.4))
        unit = np.sqrt((0.6 + count * 0.4) / count)
        np.testing.assert_allclose(values[rows], np.nanmean(results[rows], axis=1) / unit)


def test_a_similar_dataset_counts_more() -> None:
    kind = np.repeat([0, 1], 6)
    performance = np.where(np.arange(8)[:, None] < 4, kind[None] == 0, kind[None] == 1) * 0.6
    performance = performance + np.random.default_rng(0).uniform(0, 0.3, performance.shape)
    view = view_of(performance, proxies=np.where(kind[:, None] == 0, -1.0, 1.0))
    for side, better in ((-1.0, slice(0, 4)), (1.0, slice(4, 8))):
        scores = recalled(view, np.full((5, 1), side))["own"]
        assert scores[better].min() > np.delete(scores, np.arange(8)[better]).max()


# --- candidates


def test_similar_candidates_count_as_in_scikit_learns_gaussian_process() -> None:
    rng = np.random.default_rng(0)
    described = rng.normal(size=(12, 4))
    own = np.r_[rng.normal(size=9), [np.nan] * 3]
    reliability = np.r_[rng.uniform(0.4, 0.9, 9), [0.0] * 3]
    asked = list(range(9))
    mean = kriging.from_candidates(own, reliability, asked, described @ described[asked].T)
    trust = reliability[asked]
    process = GaussianProcessRegressor(DotProduct(0.0, "fixed"), alpha=(1 - trust**2) / trust**2, optimizer=None)
    level = np.average(own[asked] / trust, weights=trust**2)
    process.fit(described[asked], own[asked] / trust - level)
    np.testing.assert_allclose(mean, level + process.predict(described), atol=1e-8)


def test_a_candidate_without_results_is_expected_to_be_as_its_kin() -> None:
    performance = np.random.default_rng(0).uniform(0, 0.3, (6, 5)) + np.repeat([0.6, 0.0], 3)[:, None]
    cnn, vit = chain(*["Convolution", "Relu"] * 8), chain(*["Addmm", "Softmax", "Gelu"] * 8)
    graphs = dict(zip([f"zoo:m{i}" for i in range(6)], [cnn] * 3 + [vit] * 3, strict=True))
    graphs |= {"zoo:new_cnn": cnn, "zoo:new_vit": vit}
    found = recalled(view_of(performance, graphs=graphs, pool=("zoo:new_cnn", "zoo:new_vit", "zoo:unknown")))
    new_cnn, new_vit, unknown = found["kriging"][6:]
    assert new_cnn > unknown > new_vit
    assert (found["certainty"][6:] == 0).all()
    assert (found["certainty"][:6] > 0.3).all()
    assert (found["own"][6:] == 0).all()


def test_words_of_names_and_sizes_tell_candidates_apart_too() -> None:
    performance = np.array([0.9, 0.8, 0.2, 0.1])[:, None] + np.random.default_rng(0).uniform(0, 0.05, (4, 4))
    view = view_of(performance, parameters=[4e7, 5e7, 1e6, 2e6])
    by_size = view.about({"zoo:big": {"parameters": 6e7}, "zoo:small": {"parameters": 9e5}}, {})
    by_name = view.about({"zoo:m0-large": {}, "zoo:m3-large": {}}, {})
    for about in (by_size, by_name):
        scores = recalled(about)["kriging"]
        assert scores[0] > scores[1]


def test_a_history_larger_than_can_be_compared_still_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kriging, "SIMILAR_AT_MOST", 4)
    performance = np.sort(np.random.default_rng(0).uniform(size=(12, 1)) + np.zeros((12, 5)), axis=0)
    scores = recalled(view_of(performance))["kriging"]
    assert np.isfinite(scores).all()
    assert weightedtau(scores, performance[:, 0]).statistic > 0.9


# --- what it says of itself


def test_it_says_when_the_history_is_too_small_or_empty(tmp_path: Path) -> None:
    with pytest.warns(ScoreWarning, match="1 datasets, too few"):
        Kriging().recall(view_of(np.array([[0.5], [0.6]])), None)
    with pytest.warns(ScoreWarning, match="counts as their mean"):
        Kriging().recall(view_of(np.random.default_rng(0).uniform(size=(5, 4))), None)
    empty = History(tmp_path / "history.sqlite").view().about({"zoo:a": {}}, {})
    with pytest.raises(NotApplicableError, match=r"holds no results.*history import"):
        Kriging().recall(empty, None)


@pytest.mark.parametrize("performance", [[[0.5]], [[0.5, 0.5], [0.5, 0.5]], [[0.5, np.nan], [np.nan, 0.5]]])
def test_a_history_that_tells_nothing_apart_ranks_nothing(performance: Sequence[Sequence[float]]) -> None:
    assert np.ptp(recalled(view_of(np.array(performance)))["own"]) == 0


def test_by_hand_it_takes_a_view_of_one_candidate() -> None:
    view = view_of(np.random.default_rng(0).uniform(size=(5, 4)))
    rows, graph = np.ones((10, 3)), nx.DiGraph([(0, 1)])
    scores = [
        ms.score(None, None, Kriging(), proxy_features=rows, architecture=graph, history=view.of_candidate(name))
        for name in view.pool
    ]
    np.testing.assert_allclose(scores, recalled(view, rows)["kriging"])
    with pytest.raises(NotApplicableError, match="which candidate"):
        ms.score(None, None, Kriging(), proxy_features=rows, architecture=graph, history=view)


# --- on real results


@pytest.mark.parametrize(("name", "least"), [("cnns-11x11", 0.83), ("foundation-10x10", 0.64)])
def test_it_ranks_published_fine_tunings_of_a_dataset_left_out(name: str, least: float) -> None:
    known = find_truth(name).accuracies
    matrix = np.array([[by_model.get(m, np.nan) for by_model in known.values()] for m in find_truth(name).models]) / 100
    agreed = []
    for target in range(matrix.shape[1]):
        scores = recalled(view_of(np.delete(matrix, target, axis=1)))["kriging"]
        agreed.append(weightedtau(scores, matrix[:, target]).statistic)
    assert np.mean(agreed) > least
