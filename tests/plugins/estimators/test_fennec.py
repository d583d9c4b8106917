"""Fennec ranks by what is known of other datasets, and says where it knows little."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import weightedtau
from sklearn.decomposition import NMF

import modelselect as ms
from modelselect import archi2vec
from modelselect.errors import InvalidInputError, NotApplicableError, ScoreWarning
from modelselect.history import ACCURACY, History, HistoryView, Result
from modelselect.testing.estimators import estimator_checks
from modelselect_plugins.estimators._phases import meta_features
from modelselect_plugins.estimators.factorisation import factorise
from modelselect_plugins.estimators.fennec import Fennec
from tests.conftest import shared_path

Matrix = NDArray[np.float64]


@pytest.mark.parametrize(("name", "check"), estimator_checks(Fennec()))
def test_fennec_keeps_an_estimators_promises(name: str, check: object) -> None:
    check()  # type: ignore[operator]


def chain(*operations: str) -> str:
    """A graph in which the operations follow one another."""
    graph = nx.DiGraph()
    for number, operation in enumerate(operations):
        graph.add_node(number, operation=operation)
    nx.add_path(graph, range(len(operations)))
    return archi2vec.to_json(graph)


def view_of(
    performance: Matrix,
    *,
    graphs: Mapping[str, str] | None = None,
    proxies: Matrix | None = None,
    parameters: Sequence[float] | None = None,
    pool: Sequence[str] = (),
    metric: str = ACCURACY,
) -> HistoryView:
    """A history of models m0, m1, ... on datasets d0, d1, ...; the pool is these and the named others."""
    models = [f"zoo:m{i}" for i in range(len(performance))]
    results = tuple(
        Result(models[i], f"d{j}", metric, float(performance[i, j])) for i, j in np.argwhere(~np.isnan(performance))
    )
    sizes = {} if parameters is None else {m: {"parameters": p} for m, p in zip(models, parameters, strict=True)}
    seen = {} if proxies is None else {f"d{j}": np.stack([row, 0 * row]) for j, row in enumerate(proxies)}
    known = tuple(dict.fromkeys(result.candidate for result in results))
    datasets = tuple(f"d{j}" for j in range(performance.shape[1]))
    view = HistoryView(known, datasets, results, sizes, {}, graphs or {}, seen)
    return view.about({name: {} for name in (*models, *pool)}, {})


def recalled(view: HistoryView, proxy: Matrix | None = None, **settings: object) -> dict[str, Matrix]:
    """Each component, for the pool in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        scores = Fennec(**settings).recall(view, proxy)  # type: ignore[arg-type]
    return {
        name: np.array([scores[c][name] for c in view.pool]) for name in ("fennec", "transfer", "meta", "certainty")
    }


# --- the factorisation


@pytest.mark.parametrize(("rank", "penalty"), [(2, 0.0), (4, 0.3), (3, 2.0)])
def test_a_full_matrix_is_factorised_as_well_as_scikit_learn_does(rank: int, penalty: float) -> None:
    matrix = np.random.default_rng(0).uniform(0.2, 1.0, (30, 4)) @ np.random.default_rng(1).uniform(size=(4, 12))
    ours = factorise(matrix, rank, penalty, penalty, tolerance=1e-9, iterations=20_000)
    m, n = matrix.shape
    oracle = NMF(rank, alpha_W=penalty / n, alpha_H=penalty / m, tol=1e-10, max_iter=20_000, random_state=0)
    models = oracle.fit_transform(matrix)
    tasks = oracle.components_.T
    best = ((matrix - models @ tasks.T) ** 2).sum() + penalty * ((models**2).sum() + (tasks**2).sum())
    assert ours.converged
    assert ours.objective[-1] <= best * 1.001 + 1e-6
    assert (ours.models >= 0).all()
    assert (ours.tasks >= 0).all()


def test_holes_take_no_part_and_are_filled_from_the_rest() -> None:
    random = np.random.default_rng(0)
    whole = random.uniform(0.2, 1, (40, 2)) @ random.uniform(0.2, 1, (2, 15))
    holed = np.where(random.uniform(size=whole.shape) < 0.3, np.nan, whole)
    found = factorise(holed, 2, 1e-6, 1e-6, tolerance=1e-8, iterations=20_000)
    missing = np.isnan(holed)
    assert np.abs((found.models @ found.tasks.T - whole)[missing]).max() < 0.05
    one = holed.copy()
    one[0, :] = np.nan
    one[0, 3] = 0.5
    ours = factorise(one, 1, 0.0, 0.0)
    assert (ours.models[0] * ours.tasks[3]).sum() == pytest.approx(0.5, abs=1e-3)


def test_the_objective_never_rises_and_a_run_that_is_cut_short_says_so() -> None:
    matrix = np.random.default_rng(0).uniform(size=(20, 8))
    found = factorise(matrix, 5, 0.1, 0.1, tolerance=0.0, iterations=300)
    assert (np.diff(found.objective) <= 1e-9).all()
    assert not factorise(matrix, 5, 0.1, 0.1, tolerance=1e-15, iterations=20).converged


# --- the phases


def test_the_forest_tells_which_past_datasets_a_new_one_is_like() -> None:
    """Half of the datasets like the first half of the models; the proxy tells the two kinds apart."""
    kind = np.repeat([0, 1], 6)
    performance = np.where(np.arange(8)[:, None] < 4, kind[None] == 0, kind[None] == 1) * 0.8 + 0.1
    performance += np.random.default_rng(0).uniform(0, 0.05, performance.shape)
    proxies = np.where(kind[:, None] == 0, -1.0, 1.0) + np.random.default_rng(1).normal(0, 0.1, (12, 5))
    view = view_of(performance, proxies=proxies)
    for sign, winners in ((-1.0, range(4)), (1.0, range(4, 8))):
        transfer = recalled(view, np.full((10, 5), sign))["transfer"]
        assert set(np.argsort(-transfer)[:4]) == set(winners)


def test_the_meta_phase_is_the_linear_regression_on_meta_features() -> None:
    random = np.random.default_rng(0)
    performance = np.where(random.uniform(size=(12, 6)) < 0.3, np.nan, random.uniform(size=(12, 6)))
    performance[:, 0] = random.uniform(size=12)  # every model has a result
    view = view_of(performance, parameters=10 ** random.uniform(5, 8, 12), metric="fda")
    ours = recalled(view, ridge=0.0, scale="raw", metric="fda")["meta"]
    pairs = np.argwhere(~np.isnan(performance))
    features = np.c_[meta_features(view, 20, True), np.ones(12)]
    weights = np.linalg.lstsq(features[pairs[:, 0]], performance[tuple(pairs.T)], rcond=None)[0]
    predicted = features @ weights
    np.testing.assert_allclose(ours - ours.mean(), predicted - predicted.mean(), atol=1e-8)


def test_the_papers_form_is_its_parameters_together() -> None:
    random = np.random.default_rng(0)
    view = view_of(random.uniform(size=(8, 6)), parameters=10 ** random.uniform(5, 8, 8), metric="fda")
    one = recalled(view, form="paper")
    parts = {"by_evidence": False, "metric": "fda", "scale": "raw", "leaf": 1, "ridge": 0.0}
    for name, expected in recalled(view, **parts).items():
        np.testing.assert_array_equal(one[name], expected)
    assert Fennec(form="paper").history_metric == "fda"
    assert Fennec(form="paper", metric=ACCURACY).history_metric is None
    assert Fennec().history_metric is None
    for wrong in ({"form": "code"}, {"architecture": "onehot"}):
        with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))} is "):
            recalled(view, **wrong)


def test_both_matrices_of_fennec_can_have_penalties_of_their_own() -> None:
    view = view_of(np.random.default_rng(0).uniform(size=(8, 6)))
    found = Fennec(penalty=0.1, penalty_tasks=2.0).fit(view).factorisation
    both = Fennec(penalty=0.1).fit(view).factorisation
    assert (found.tasks**2).sum() / (found.models**2).sum() < (both.tasks**2).sum() / (both.models**2).sum() / 5


def test_one_hot_architectures_have_a_column_for_each_different_one() -> None:
    graphs = [chain("Convolution", "Relu"), chain("Convolution", "Relu"), chain("Convolution", "Add", "Relu")]
    view = view_of(np.full((3, 2), 0.5), graphs={f"zoo:m{i}": graph for i, graph in enumerate(graphs)})
    features = meta_features(view, 20, "one-hot")
    plain = meta_features(view, 20, False)
    added = features[:, plain.shape[1] :]
    assert added.shape == (3, 2)
    assert (added.sum(axis=1) == 1).all()
    assert (added[0] == added[1]).all()
    assert (added[0] != added[2]).any()


def test_the_score_is_the_phases_weighted_by_alpha_as_in_the_paper_or_by_the_evidence() -> None:
    performance = np.full((3, 4), np.nan)
    performance[0], performance[1, :2], performance[2, 0] = (0.9, 0.8, 0.7, 0.9), (0.5, 0.4), 0.1
    view = view_of(performance, parameters=[1e6, 2e6, 3e6])
    paper = recalled(view, by_evidence=False, alpha=0.3)
    np.testing.assert_allclose(paper["fennec"], 0.7 * paper["transfer"] + 0.3 * paper["meta"])
    ours = recalled(view)
    weights = 1 / (1 + np.array([4, 2, 1]))
    np.testing.assert_allclose(ours["fennec"], (1 - weights) * ours["transfer"] + weights * ours["meta"])
    np.testing.assert_allclose(ours["certainty"], [4 / 5, 2 / 3, 1 / 2])


def test_a_candidate_without_history_is_met_through_its_architecture() -> None:
    convolutional, attentive = ["Convolution", "BatchNorm", "Relu"] * 6, ["Addmm", "Softmax", "Mul", "Gelu"] * 6
    graphs = {f"zoo:m{i}": chain(*convolutional[: 9 + 3 * i]) for i in range(3)}
    graphs |= {f"zoo:m{i}": chain(*attentive[: 8 + 4 * (i - 3)]) for i in range(3, 6)}
    graphs |= {"zoo:new_cnn": chain(*convolutional[:12]), "zoo:new_vit": chain(*attentive)}
    performance = np.r_[np.full((3, 5), 0.9), np.full((3, 5), 0.3)] + np.random.default_rng(0).uniform(0, 0.05, (6, 5))
    view = view_of(performance, graphs=graphs, pool=("zoo:new_cnn", "zoo:new_vit", "zoo:unknown"))
    found = recalled(view)
    cnn, vit, unknown = range(6, 9)
    for component in ("fennec", "transfer", "meta"):
        assert found[component][cnn] > found[component][vit]
    assert found["certainty"][cnn] == pytest.approx(0.5)  # the same graph as one that is known
    assert found["certainty"][unknown] == 0
    assert found["fennec"][vit] < found["fennec"][unknown] < found["fennec"][cnn]
    assert (found["certainty"][:6] > found["certainty"][cnn]).all()


def test_many_candidates_without_history_cost_no_more_than_their_distinct_architectures() -> None:
    performance = np.random.default_rng(0).uniform(size=(4, 5))
    graphs = {f"zoo:m{i}": chain(*["Convolution", "Relu"] * (i + 2)) for i in range(4)}
    pool = [f"zoo:new{i}" for i in range(2000)]
    graphs |= {name: chain(*["Convolution", "Relu"] * (2 + i % 3)) for i, name in enumerate(pool)}
    found = recalled(view_of(performance, graphs=graphs, pool=pool))
    assert len(np.unique(found["transfer"][4:].round(6))) == 3


# --- the performance matrix


# --- what it says of itself


def test_it_says_when_the_history_is_too_small_or_empty(tmp_path: Path) -> None:
    with pytest.warns(ScoreWarning, match="1 datasets, too few"):
        Fennec().recall(view_of(np.array([[0.5], [0.6]])), None)
    empty = History(tmp_path / "history.sqlite").view().about({"zoo:a": {}}, {})
    with pytest.raises(ms.errors.NotApplicableError, match=r"holds no results.*history import"):
        Fennec().recall(empty, None)
    with pytest.raises(ms.errors.NotApplicableError, match="holds no results by 'ncti'"):
        Fennec(metric="ncti").recall(view_of(np.array([[0.5, 0.2]])), None)


def test_by_hand_it_takes_a_view_of_one_candidate() -> None:
    view = view_of(np.random.default_rng(0).uniform(size=(5, 4)))
    rows, graph = np.ones((10, 3)), nx.DiGraph([(0, 1)])
    scores = [
        ms.score(None, None, Fennec(), proxy_features=rows, architecture=graph, history=view.of_candidate(name))
        for name in view.pool
    ]
    np.testing.assert_allclose(scores, recalled(view, rows)["fennec"])
    with pytest.raises(ms.errors.NotApplicableError, match="which candidate"):
        ms.score(None, None, Fennec(), proxy_features=rows, architecture=graph, history=view)


def test_another_probe_of_the_same_dataset_is_looked_at_anew() -> None:
    kind = np.repeat([0, 1], 6)
    performance = np.where(np.arange(4)[:, None] < 2, kind[None] == 0, kind[None] == 1) * 0.8 + 0.1
    view = view_of(performance, proxies=np.where(kind[:, None] == 0, -1.0, 1.0))
    assert recalled(view, np.full((5, 1), -1.0))["transfer"][0] > recalled(view, np.full((5, 1), 1.0))["transfer"][0]


def test_raw_values_below_zero_are_refused_rather_than_factorised() -> None:
    view = view_of(np.array([[-1.0, -2.0], [-3.0, -0.5]]), metric="logme")
    with pytest.raises(NotApplicableError, match=r"from -3 to -0\.5, .* use scale='rank'"):
        recalled(view, metric="logme", scale="raw")
    assert np.isfinite(recalled(view, metric="logme")["fennec"]).all()


# --- on real results


def test_it_beats_the_mean_rank_on_published_fine_tunings() -> None:
    """Leave one of 16 datasets out; what stands for the proxy is what is known of the datasets."""
    rows = list(csv.DictReader(shared_path("truth", "hub-vtab-292x16.csv").open()))
    values = {(row["model"], row["dataset"]): float(row["accuracy"]) / 100 for row in rows}
    models, datasets = (sorted({pair[axis] for pair in values}) for axis in (0, 1))
    matrix = np.array([[values.get((m, d), np.nan) for d in datasets] for m in models])
    kinds = dict.fromkeys(("caltech101", "cifar100", "dtd", "sun397", "svhn_cropped"), 0.0)
    kinds |= dict.fromkeys(("oxford_flowers102", "oxford_iiit_pet"), 0.0)
    kinds |= dict.fromkeys(("diabetic_retinopathy_detection", "eurosat", "patch_camelyon", "resisc45"), 1.0)
    proxies = np.array([[kinds.get(dataset, 2.0)] for dataset in datasets])
    found: dict[str, list[tuple[float, float]]] = {"fennec": [], "mean rank": []}
    for target in range(len(datasets)):
        others = [index for index in range(len(datasets)) if index != target]
        view = view_of(matrix[:, others], proxies=proxies[others])
        ranks = np.nanmean(view.performance(), axis=1)
        names = {candidate: ranks[row] for candidate, row in view.positions.items()}
        mean_rank = np.array([names.get(candidate, 0.5) for candidate in view.pool])
        there = ~np.isnan(matrix[:, target])
        for name, scores in (("fennec", recalled(view, proxies[[target]])["fennec"]), ("mean rank", mean_rank)):
            agreed = weightedtau(scores[there], matrix[there, target]).statistic
            found[name].append((agreed, np.corrcoef(scores[there], matrix[there, target])[0, 1]))
    kendall, pearson = np.mean(found["fennec"], axis=0)
    baseline_kendall, baseline_pearson = np.mean(found["mean rank"], axis=0)
    assert baseline_kendall == pytest.approx(0.31, abs=0.01)  # as the table's own README has it
    assert kendall > baseline_kendall
    assert pearson > baseline_pearson
