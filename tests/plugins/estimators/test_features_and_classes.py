"""The estimators of features and classes: promises kept, formulas held against other implementations, hard inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.spatial.distance import pdist
from scipy.special import softmax
from scipy.stats import multivariate_normal, spearmanr
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError, NotApplicableError, ScoreWarning
from modelselect.estimators.estimator import evaluate_member
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.statistics import FeatureStatistics
from modelselect.host.host import get_host
from modelselect.testing.estimators import estimator_checks
from modelselect_plugins.estimators._shared.discriminant import discriminant, shrunk_discriminant
from modelselect_plugins.estimators._shared.dissimilarity import argsort, ranks, spearman, spearman_with_two_groups
from modelselect_plugins.estimators.dds import DDS
from modelselect_plugins.estimators.etran import ETran
from modelselect_plugins.estimators.fda import FDA, fisher_directions
from modelselect_plugins.estimators.gbc import GBC
from modelselect_plugins.estimators.h_score import HScore
from modelselect_plugins.estimators.lfc import LFC
from modelselect_plugins.estimators.logme import ByEigenvectors, LogME, log_evidence
from modelselect_plugins.estimators.ncti import NCTI, NCTISource
from modelselect_plugins.estimators.parc import PARC
from modelselect_plugins.estimators.ped import PED
from modelselect_plugins.estimators.rsa import RSA
from modelselect_plugins.estimators.sfda import SFDA
from modelselect_plugins.estimators.transrate import TransRate
from tests.fixtures.version_0_1_0.make import dataset
from tests.plugins.estimators.golden import INPUTS, Golden

ESTIMATORS = [
    LogME(),
    LogME(solver="icml"),
    HScore(),
    HScore(regularized=False),
    HScore(regularized=True),
    TransRate(),
    TransRate(weighted=True, normalize=True),
    GBC(),
    GBC(dimensions=None, covariance="diagonal", biased=True),
    SFDA(),
    NCTI(),
    NCTI(term="seli"),
    NCTI(term="ncc"),
    NCTI(form="paper", dimensions=4, discriminants=1, weights={"vc": 0.5}),
    FDA(),
    ETran(),
    ETran(lda="paper"),
    PED(),
    PED(base="logme"),
    PARC(),
    PARC(dimensions=None),
    RSA(),
    DDS(),
    LFC(),
]
UNABLE = {("parc", "random_rows_can_be_permuted")}
"""What a method cannot promise; `tests/testing/test_estimators.py` says why."""

CHECKS = [
    (estimator, name, check)
    for estimator in ESTIMATORS
    if estimator.parameters != get_host().estimators[estimator.name].parameters
    for name, check in estimator_checks(estimator)
    if (estimator.name, name) not in UNABLE
]
"""Of the settings by which no estimator is registered; the registered ones are checked by that file, too."""


@pytest.mark.parametrize(
    ("estimator", "name", "check"), CHECKS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_estimator_keeps_its_promises(estimator: ms.Estimator, name: str, check: Callable[[], None]) -> None:
    check()


def draw(n: int = 120, d: int = 6, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    means = rng.normal(size=(n_classes, d))
    return means[labels] + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d), labels


@pytest.fixture(autouse=True)
def _quiet() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        yield


# --- logme ------------------------------------------------------------------------------------------------------------


def test_logme_is_the_greatest_log_evidence_of_a_bayesian_regression() -> None:
    features, labels = draw(n=60, d=4)

    def negative(log_precisions: np.ndarray, target: np.ndarray) -> float:
        alpha, beta = np.exp(log_precisions)
        covariance = np.eye(60) / beta + features @ features.T / alpha
        return -float(multivariate_normal(np.zeros(60), covariance).logpdf(target)) / 60

    greatest = [-minimize(negative, np.zeros(2), args=(labels == c,), tol=1e-10).fun for c in range(3)]
    assert np.isclose(ms.score(features, labels, LogME()), np.mean(greatest), atol=1e-4)


def test_logme_of_one_hot_targets_is_that_of_the_labels() -> None:
    features, labels = draw()
    one_hot = np.eye(3)[labels]
    assert np.isclose(ms.score(features, one_hot, LogME()), ms.score(features, labels, LogME()), rtol=1e-12)


def test_features_that_are_all_zero_are_refused_by_logme() -> None:
    with pytest.raises(EvidenceError, match="all features are zero"):
        ms.score(np.zeros((10, 3)), np.arange(10) % 2, LogME())


# --- ncti and etran, which need a pool --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits_pool() -> list[dict[str, np.ndarray]]:
    """The pool of six feature sets of scikit-learn's digits that the reference totals were computed on."""
    from sklearn.datasets import load_digits

    data = load_digits()
    raw = data.data / 16

    def projected(seed: int, width: int, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return activation(raw @ np.random.default_rng(seed).normal(size=(64, width)) / 8)

    pool = [
        raw,
        projected(1, 128, lambda z: np.maximum(z, 0)),
        projected(2, 256, np.tanh),
        projected(3, 96, lambda z: z),
        raw + 0.5 * np.random.default_rng(4).normal(size=raw.shape),
        projected(5, 128, np.sign),
    ]
    return [{"features": features, "labels": data.target} for features in pool]


def test_the_total_of_etran_over_a_pool_is_the_authors(
    golden: Golden, digits_pool: list[dict[str, np.ndarray]]
) -> None:
    np.testing.assert_allclose(ms.score_pool(digits_pool, "etran"), golden.pool["etran_total"], rtol=1e-6, atol=1e-9)


def test_the_total_of_ncti_over_a_pool_is_the_authors(golden: Golden, digits_pool: list[dict[str, np.ndarray]]) -> None:
    theirs = golden.pool["ncti_raw_seli_ncc_logvc"]
    components = [dict(zip(("seli", "ncc", "vc"), values, strict=True)) for values in theirs]
    np.testing.assert_allclose(NCTI().combine(components), golden.pool["ncti_total"], rtol=1e-9)
    for fields, expected in zip(digits_pool, components, strict=True):
        # The reference's PCA of 256 dimensions is randomised.
        tolerance = 2e-3 if fields["features"].shape[1] == 256 else 1e-6
        ours = ms.score(fields["features"], fields["labels"], NCTI(), components=True)
        assert ours == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("estimator", [NCTI(), ETran()])
def test_a_pool_of_one_or_of_equals_scores_zero(estimator: ms.Estimator) -> None:
    features, labels = draw()
    pool = [{"features": features, "labels": labels}]
    assert ms.score_pool(pool, estimator).tolist() == [0.0]
    assert ms.score_pool(pool * 3, estimator).tolist() == [0.0, 0.0, 0.0]


def test_ncti_alone_says_that_it_needs_a_pool_and_its_terms_do_not() -> None:
    features, labels = draw()
    with pytest.raises(NotApplicableError, match="score_pool"):
        ms.score(features, labels, NCTI())
    components = ms.score(features, labels, NCTI(), components=True)
    assert ms.score(features, labels, NCTI(term="seli")) == components["seli"]
    assert ms.score(features, labels, NCTI(term="vc")) == -components["vc"]


def test_the_weights_of_ncti_leave_the_sum_of_any_two_terms() -> None:
    scores = [{"seli": float(a), "ncc": float(b), "vc": float(c)} for a, b, c in ((0, 1, 2), (2, 0, 1), (1, 2, 0))]
    seli, ncc, vc = (np.array([each[name] for each in scores]) / 2 for name in ("seli", "ncc", "vc"))
    for left_out, expected in (("vc", seli + ncc), ("ncc", seli - vc), ("seli", ncc - vc)):
        np.testing.assert_allclose(NCTI(weights={left_out: 0}).combine(scores), expected)
    np.testing.assert_allclose(NCTI(weights={"vc": 2.0, "ncc": 0.1}).combine(scores), seli + 0.1 * ncc - 2 * vc)
    np.testing.assert_allclose(NCTISource(term=None).combine(scores), seli + ncc + vc)


@pytest.mark.parametrize(
    "wrong", [{"weights": {"nc": 1}}, {"target": "I"}, {"dimensions": 0}, {"term": "sum"}, {"form": "book"}]
)
def test_ncti_refuses_what_it_does_not_know(wrong: dict[str, Any]) -> None:
    features, labels = draw()
    with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))} (is|has) .*expected"):
        ms.score(features, labels, NCTI(**wrong), components=True)


def test_ncti_shrinks_towards_the_identity_as_the_paper_has_it() -> None:
    features, labels = draw(80, 10)
    features *= 0.1
    reduced = PCA(6, svd_solver="full").fit_transform(features)
    shrinkage = np.exp(-PCA(3, svd_solver="full").fit(features).explained_variance_.sum())
    means = np.stack([reduced[labels == c].mean(axis=0) for c in np.unique(labels)])
    deviations = reduced - means[np.unique(labels, return_inverse=True)[1]]
    within = (1 - shrinkage) * deviations.T @ deviations / 80 + shrinkage * np.eye(6)
    priors = np.unique(labels, return_counts=True)[1] / 80
    weights = np.linalg.solve(within, means.T).T
    logits = reduced @ weights.T - (weights * means).sum(axis=1) / 2 + np.log(priors)
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = posteriors[np.arange(80), np.unique(labels, return_inverse=True)[1]].mean()
    method = NCTI(target="identity", dimensions=6, leading=3)
    assert ms.score(features, labels, method, components=True)["ncc"] == pytest.approx(expected, rel=1e-9)
    assert ms.score(features, labels, NCTI(form="paper", dimensions=6, leading=3), components=True)[
        "ncc"
    ] == pytest.approx(expected, rel=1e-9)


def test_the_source_form_of_ncti_has_the_terms_of_the_source_and_the_sign_reversed() -> None:
    features, labels = draw()
    source = {
        "source_features": np.concatenate([features, 1e6 * np.ones((5, features.shape[1]))]),
        "source_labels": np.concatenate([labels, np.full(5, -1)]),
    }
    target = ms.score(features, labels, NCTI(), components=True)
    assert ms.score(None, None, NCTISource(), components=True, **source) == pytest.approx(target)
    assert ms.score(None, None, "ncti_source", **source) == target["vc"]
    assert ms.score(None, None, NCTISource(term="ncc"), **source) == target["ncc"]


@pytest.mark.parametrize(("n", "d"), [(40, 200), (200, 10), (30, 20)])
@pytest.mark.parametrize("scale", [0.05, 5.0])
def test_ncti_is_scikit_learns_discriminant_analysis_also_of_few_rows_and_dimensions(
    n: int, d: int, scale: float
) -> None:
    features, labels = draw(n, d)
    features *= scale
    pca = PCA(min(64, n, d) if n > d else n - 1, svd_solver="full")
    reduced = pca.fit_transform(features)
    shrinkage = max(np.exp(-pca.explained_variance_[:32].sum()), 1e-10)
    lda = (
        LinearDiscriminantAnalysis(solver="svd")
        if shrinkage == 1e-10
        else LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage * reduced.shape[1] / min(64, n, d))
    )
    if shrinkage > 1e-10 and n <= d:
        pytest.skip("the shrinkage target of scikit-learn has a dimension less, so that the two differ by design")
    transformed = lda.fit_transform(reduced, labels)
    posteriors = lda.predict_proba(reduced)
    ours = ms.score(features, labels, NCTI(), components=True)
    assert np.isclose(ours["ncc"], posteriors[np.arange(n), labels].mean(), rtol=1e-6)
    assert np.isclose(ours["seli"], np.linalg.norm(transformed - transformed.mean(axis=0), "nuc"), rtol=1e-6)
    norms = sum(np.linalg.norm(posteriors[labels == c], "nuc") for c in range(3))
    assert np.isclose(ours["vc"], np.log(norms), rtol=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 6]), st.sampled_from([1, 2, 5]))
def test_discriminant_analysis_is_scikit_learns(seed: int, n_classes: int, d: int) -> None:
    features, labels = draw(60, d, n_classes, seed)
    classes = ClassStatistics(FeatureStatistics(features), labels)
    for ours, theirs in (
        (discriminant(classes), LinearDiscriminantAnalysis(solver="svd")),
        (shrunk_discriminant(classes, 0.3), LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.3)),
    ):
        expected = theirs.fit(features, labels).predict_proba(features)
        np.testing.assert_allclose(ours.posteriors(classes.features), expected, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (20, 30)])
def test_separation_in_the_papers_form_is_the_nuclear_norm_of_the_features_themselves(n: int, d: int) -> None:
    features, labels = draw(n, d)
    features += 3
    ours = ms.score(features, labels, NCTI(form="paper"), components=True)["seli"]
    assert np.isclose(ours, np.linalg.norm(features, "nuc"), rtol=1e-9)


def test_energy_of_few_rows_is_that_of_the_lowest_row() -> None:
    features, labels = draw(n=30)
    lowest = np.log(np.exp(features).sum(axis=1)).min()
    assert np.isclose(ms.score(features, labels, ETran(), components=True)["energy"], lowest, rtol=1e-12)


# --- fda, sfda, ped ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3, 9])
def test_fda_is_the_posterior_in_the_space_of_the_generalized_eigenvectors(n_classes: int) -> None:
    features, labels = draw(n_classes=n_classes)
    priors = np.bincount(labels) / len(labels)
    means = np.array([features[labels == c].mean(axis=0) for c in range(n_classes)])
    within = sum(p * np.cov(features[labels == c].T, bias=True) for c, p in enumerate(priors))
    within += 1e-6 * np.trace(within) / 6 * np.eye(6)
    centred = means - features.mean(axis=0)
    _, axes = eigh((priors[:, None] * centred).T @ centred, within)
    axes = axes[:, ::-1][:, : n_classes - 1]
    logits = features @ axes @ (means @ axes).T - np.square(means @ axes).sum(axis=1) / 2 + np.log(priors)
    posteriors = softmax(logits, axis=1)
    assert np.isclose(ms.score(features, labels, FDA()), posteriors[np.arange(120), labels].mean(), rtol=1e-9)


@pytest.mark.parametrize("estimator", [SFDA(), PED()])
def test_rows_that_sum_to_a_constant_do_not_make_the_score_a_matter_of_rounding(estimator: ms.Estimator) -> None:
    features, labels = draw(n=90, d=20)
    features -= features.mean(axis=1, keepdims=True)
    features *= 0.1
    order = np.random.default_rng(1).permutation(90)
    first, second = ms.score(features, labels, estimator), ms.score(features[order], labels[order], estimator)
    assert np.isclose(first, second, rtol=1e-9)


@pytest.mark.parametrize("estimator", [SFDA(), FDA(), ETran(lda="paper"), PED()])
def test_classes_that_do_not_vary_are_refused_in_words(estimator: ms.Estimator) -> None:
    with pytest.raises(NotApplicableError, match="needs classes that vary"):
        ms.score(np.repeat(np.eye(3), 5, axis=0), np.repeat([0, 1, 2], 5), estimator, components=True)


def test_ped_of_classes_that_do_not_overlap_is_its_base() -> None:
    features, labels = draw()
    features += 10 * labels[:, None] * np.arange(6)
    for base in ("sfda", "logme"):
        assert np.isclose(ms.score(features, labels, PED(base=base)), ms.score(features, labels, base), rtol=1e-7)


def test_ped_moves_apart_what_overlaps_and_takes_the_yardstick_of_the_source() -> None:
    features, labels = np.random.default_rng(0).normal(size=(120, 6)), np.arange(120) % 3
    source = np.random.default_rng(1).normal(size=(50, 6)) * [1, 2, 3, 4, 5, 6]
    own, others = ms.score(features, labels, PED()), ms.score(features, labels, PED(), source_features=source)
    assert own > ms.score(features, labels, SFDA())
    assert own != others
    with pytest.raises(InvalidInputError, match="5 columns"):
        ms.score(features, labels, PED(), source_features=source[:, :5])


# --- comparisons of pairs of rows -------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.sampled_from([1, 2, 5, 10**9]))
def test_rank_correlations_are_scipys_with_and_without_ties(seed: int, n: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = np.round(rng.random(size=(2, n)) * levels) / levels - 0.5
    order, tied = argsort(first)
    np.testing.assert_array_equal(first[order], np.sort(first))
    assert tied == (len(np.unique(first)) < n)
    group = rng.random(n) < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(spearman(first, second), spearmanr(first, second).statistic, atol=1e-12)
        np.testing.assert_allclose(
            spearman_with_two_groups(first, group), spearmanr(first, group).statistic, atol=1e-12
        )


def test_order_is_exact_for_values_that_differ_in_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([1 + np.arange(50) * np.finfo(float).eps, rng.normal(size=200_000)])
    rng.shuffle(values)
    np.testing.assert_array_equal(values[argsort(values)[0]], np.sort(values))
    assert ranks(np.array([2.0, 1.0, 2.0])).tolist() == [2.5, 1.0, 2.5]


def dissimilarity(rows: np.ndarray) -> np.ndarray:
    return pdist((rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1), "correlation")


@pytest.mark.parametrize("shape", ["normal", "a few far away", "ties", "long runs"])
def test_rank_correlations_of_more_than_a_million_pairs_are_scipys(shape: str) -> None:
    rng = np.random.default_rng(0)
    common, own, other = rng.normal(size=(3, 1_100_000))
    first, second = common + own, common + other
    if shape == "a few far away":
        first[:5] *= 1e6
    elif shape == "ties":
        first = np.round(first, 2)
    elif shape == "long runs":
        first[:400_000] = -10.0
    first, second = first.astype(np.float32), second.astype(np.float32)
    group = second > 1.0
    np.testing.assert_allclose(spearman(first, second), spearmanr(first, second).statistic, rtol=3e-7)
    expected = spearmanr(first, group).statistic
    np.testing.assert_allclose(spearman_with_two_groups(first, group), expected, rtol=3e-7)


@pytest.mark.parametrize("input_name", [name for name in INPUTS if name not in ("syn_mid", "digits_raw", "digits_rp")])
def test_parc_is_scipys_rank_correlation_of_dissimilarities(input_name: str, golden: Golden) -> None:
    arrays = golden.arrays(input_name)
    features, labels = arrays["X"].astype(np.float64), arrays["y"]
    differ = pdist(labels[:, None], "hamming")
    components = PCA(32, svd_solver="full").fit_transform(features)
    for rows, estimator in ((features, PARC(dimensions=None)), (components, PARC())):
        expected = 100 * spearmanr(dissimilarity(rows), differ).statistic
        assert np.isclose(ms.score(features, labels, estimator), expected, rtol=1e-6)


def test_dds_is_the_debiased_alignment_of_the_matrices_themselves() -> None:
    rng = np.random.default_rng(0)
    features, reference = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
    reference[:, :2] += features[:, :2]
    features[3] = features.mean(axis=0)

    def matrix(rows: np.ndarray) -> np.ndarray:
        standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        unit = standard / np.linalg.norm(standard, axis=1, keepdims=True)
        result = 1 - unit @ unit.T
        np.fill_diagonal(result, 0)
        return result

    def criterion(k: np.ndarray, m: np.ndarray) -> float:
        n = len(k)
        return float(
            np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * k.sum(axis=0) @ m.sum(axis=0)
        )

    k, m = matrix(features), matrix(reference)
    expected = 100 * criterion(k, m) / np.sqrt(criterion(k, k) * criterion(m, m))
    assert np.isclose(ms.score(features, None, DDS(), proxy_features=reference), expected, rtol=1e-9)


def test_lfc_is_the_cosine_of_the_matrices_themselves() -> None:
    features, labels = draw()
    features += 7
    gram, same = features @ features.T, np.where(labels[:, None] == labels, 1.0, -1.0)
    gram -= gram.mean()
    same -= same.mean()
    expected = (gram * same).sum() / np.linalg.norm(gram) / np.linalg.norm(same)
    assert np.isclose(ms.score(features, labels, LFC()), expected, rtol=1e-9)


def test_more_pairs_than_fit_are_refused_before_they_are_computed() -> None:
    features = np.zeros((20_001, 1))
    for estimator, fields in ((PARC(), {}), (RSA(), {"proxy_features": features})):
        with pytest.raises(NotApplicableError, match="at most 20,000 rows"):
            ms.score(features, np.arange(20_001) % 2, estimator, **fields)


# --- h_score ----------------------------------------------------------------------------------------------------------


def test_h_score_regularises_by_itself_where_it_would_be_the_same_for_any_labels() -> None:
    wide, labels = draw(30, 40)
    shuffled = np.random.default_rng(1).permutation(labels)
    plain = [ms.score(wide, given, HScore(regularized=False)) for given in (labels, shuffled)]
    assert np.allclose(plain, 2, rtol=1e-9), "the number of classes less one"
    found = [ms.score(wide, given, HScore()) for given in (labels, shuffled)]
    assert found == [ms.score(wide, given, HScore(regularized=True)) for given in (labels, shuffled)]
    assert 2 > found[0] > found[1] + 0.1
    narrow, labels = draw(41, 40)
    assert ms.score(narrow, labels, HScore()) == ms.score(narrow, labels, HScore(regularized=False))


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [LogME(), HScore(regularized=False), FDA(), SFDA(), PED()])
def test_more_dimensions_than_rows_are_warned_of(estimator: ms.Estimator) -> None:
    features, labels = draw(30, 40)
    with pytest.warns(ScoreWarning, match="30 rows in 40 dimensions"):
        ms.score(features, labels, estimator)


@pytest.mark.parametrize(
    ("estimator", "rows", "invalid"),
    [
        (LogME(), 40, True),
        (LogME(), 41, False),
        (HScore(regularized=False), 40, True),
        (HScore(), 40, False),
        (HScore(regularized=True), 40, False),
    ],
)
def test_an_estimator_says_where_its_score_does_not_compare_candidates(
    estimator: ms.Estimator, rows: int, invalid: bool
) -> None:
    features, labels = draw(rows, 40)
    _, reason = evaluate_member(estimator, ms.Evidence.of(features=features, labels=labels))
    assert (f"{rows} rows in 40 dimensions" in reason) == invalid
    assert bool(reason) == invalid


@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if "labels" in e.requires and e.name not in ("logme",)])
def test_targets_that_are_no_classes_are_refused_in_words(estimator: ms.Estimator) -> None:
    features, _ = draw()
    with pytest.raises(NotApplicableError, match="class labels"):
        ms.score(features, features[:, :2], estimator, components=True)


@pytest.mark.parametrize(
    "estimator",
    [LogME(solver="newton"), GBC(covariance="full"), NCTI(form="x"), NCTI(term="x"), ETran(lda="x"), PED("x")],
)
def test_a_parameter_out_of_range_is_refused_with_what_was_expected(estimator: ms.Estimator) -> None:
    features, labels = draw()
    with pytest.raises(InvalidInputError, match="expected"):
        ms.score(features, labels, estimator, components=True)


@pytest.mark.parametrize("value", [0.1, 3.14, 1e8])
@pytest.mark.parametrize("shape", [(60, 12), (12, 60)])
def test_a_backbone_whose_features_are_the_same_for_every_row_scores_nothing(
    value: float, shape: tuple[int, int]
) -> None:
    """Their mean differs from them by rounding alone, which must not be taken for classes far apart."""
    features, labels = np.full(shape, value), np.arange(shape[0]) % 3
    for refusing in (LFC(), NCTI(term="seli"), FDA(), SFDA()):
        with pytest.raises(NotApplicableError):
            ms.score(features, labels, refusing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        assert ms.score(features, labels, HScore()) == 0.0
    assert ms.score(features, labels, TransRate()) == pytest.approx(0.0, abs=1e-6)


def test_ncti_says_that_it_is_undefined_where_every_class_is_one_point() -> None:
    labels = np.arange(30) % 3
    with pytest.raises(NotApplicableError, match="ncti needs classes that vary"):
        ms.score(5 * np.eye(3)[labels], labels, "ncti", components=True)


def test_transrate_says_where_one_row_lies_so_far_away_that_the_others_are_lost() -> None:
    features, labels = np.random.default_rng(0).normal(size=(40, 6)), np.arange(40) % 2
    features[0] = 1e12
    with pytest.raises(NotApplicableError, match="rows that lie far from all others"):
        ms.score(features, labels, "transrate")
    assert np.isfinite(ms.score(features, labels, TransRate(normalize=True)))


@pytest.mark.parametrize("shape", [(120, 40), (60, 150)])
@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("solver", ["fixed point", "icml"])
def test_logme_needs_no_eigenvectors(shape: tuple[int, int], dependent: bool, solver: Literal["fixed point"]) -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(shape[0]) % 4
    features = rng.normal(size=shape) * np.geomspace(3, 0.01, shape[1]) + labels[:, None] + 2
    if dependent:
        features[:, 5:9] = features[:, :1]
        features[6] = features[2]
    statistics = ms.Evidence.of(features=features, labels=labels).statistics
    cross = (statistics.means * statistics.counts[:, None]).T
    eigen = ByEigenvectors(statistics.features.gram_eigh, cross, statistics.counts.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        ours = ms.score(features, labels, LogME(solver))
    assert ours == pytest.approx(log_evidence(eigen, *shape, solver), rel=1e-8)


def test_fishers_directions_are_those_of_scikit_learn_on_the_principal_components() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    features = rng.normal(size=(120, 50)) + np.eye(50)[labels]
    found = fisher_directions(ms.Evidence.of(features=features, labels=labels), 8)
    reduced = PCA(8, svd_solver="full").fit_transform(features)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(reduced, labels).transform(reduced)
    for ours, expected in zip(found.T, theirs.T, strict=True):
        assert abs(np.corrcoef(ours, expected)[0, 1]) == pytest.approx(1, abs=1e-6)
    apart = found - np.stack([found[labels == c].mean(axis=0) for c in range(3)])[labels]
    assert np.cov(apart.T, ddof=0) == pytest.approx(np.eye(2), abs=1e-4)


@pytest.mark.usefixtures("here", "cache")
def test_the_reference_of_rsa_and_dds_may_be_trained_on_the_target_first() -> None:
    data = ms.Probe.of(dataset(45), holdout=0.2)
    tuning = ms.FineTuning(epochs=2)
    quick: dict[str, Any] = {"history": False, "progress": False, "device": "cpu", "fine_tuning": tuning}
    proxy = "embedded:plain.random"
    trained = ms.select(data, proxy, estimators="knn", top_k=1, **quick)
    trained.best.save("trained")
    before, by_hand, after, again = (
        ms.select(data, "embedded:*.letters", estimators=["rsa", "dds"], **given, **quick)
        for given in (
            {"proxy": proxy},
            {"proxy": "dir:trained"},
            {"proxy": proxy, "train_proxy": True},
            {"proxy": proxy, "train_proxy": True},
        )
    )
    known, expected = ({row.candidate.id: row.scores for row in board.rows} for board in (before, by_hand))
    for row in after.rows:
        for name in ("rsa", "dds"):
            assert np.isfinite(row.scores[name])
            assert row.scores[name] != known[row.candidate.id][name]
            assert row.scores[name] == pytest.approx(expected[row.candidate.id][name], abs=1e-3)
    assert again.provenance["from_store"] == len(again.rows)
    with pytest.raises(ms.errors.InvalidInputError, match=r"recall=1 compares datasets by one proxy.*--train-proxy"):
        ms.select(data, "embedded:*.letters", recall=1, proxy=proxy, train_proxy=True, progress=False)
