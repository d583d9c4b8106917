"""nleep, pactran, itm, lead, tmi and nc_score: what they optimise or estimate, found by other means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.svm import LinearSVC

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError, NotApplicableError, ScoreWarning
from modelselect.evidence.linear_algebra import softmax
from modelselect_plugins.estimators.itm import ITM, _batches, _Dynamics, _folds, _Models, moved_rows
from modelselect_plugins.estimators.lead import LEAD, _probabilities
from modelselect_plugins.estimators.nleep import NLEEP
from modelselect_plugins.estimators.pactran import PACTran
from modelselect_plugins.estimators.tmi import TMI


def draw(seed: int, n_rows: int = 120, width: int = 6, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n_rows) % n_classes
    return rng.normal(size=(n_classes, width))[labels] + rng.normal(size=(n_rows, width)), labels


# --- nleep ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [6, 80])
def test_nleep_is_leep_of_a_mixture_on_the_leading_components(width: int) -> None:
    features, labels = draw(0, width=width)
    projected = PCA(0.8, svd_solver="full").fit_transform(features)
    mixture = GaussianMixture(6, covariance_type="spherical", random_state=123).fit(projected)
    expected = ms.score(None, labels, "leep", source_probabilities=mixture.predict_proba(projected))
    assert ms.score(features, labels, NLEEP(components_per_class=2)) == pytest.approx(expected, rel=1e-6)


def test_nleep_fits_where_a_cluster_collapses() -> None:
    features = np.repeat(np.random.default_rng(0).normal(size=(12, 40)) * 1e-3, 10, axis=0).astype(np.float32)
    labels = np.repeat(np.arange(4), 30)
    mixture = NLEEP(components_per_class=None, covariance="full")
    assert np.isfinite(ms.score(features, labels, mixture))


def test_nleep_warns_where_there_is_a_cluster_for_each_row() -> None:
    features, labels = draw(1, n_rows=24)
    with pytest.warns(ScoreWarning, match="15 clusters to 24 rows"):
        ms.score(features, labels, "nleep")
    with pytest.raises(EvidenceError, match="all rows of the features are equal"):
        ms.score(np.ones((30, 3)), [0, 1] * 15, "nleep")


# --- pactran ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [6, 200])
def test_the_optimum_is_that_of_logistic_regression(width: int) -> None:
    features, labels = draw(2, width=width)
    model = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
    centred = features - features.mean(axis=0)
    probabilities = model.fit(centred, labels).predict_proba(centred)
    entropy = -np.log(probabilities[np.arange(120), labels]).mean()
    expected = entropy + np.square(model.coef_).sum() / (2 * 120 * 0.1)
    bound = ms.score(features + 7, labels, PACTran(regularisation=0.1, iterations=1000), components=True)
    assert -bound["optimum"] == pytest.approx(expected, rel=2e-4)  # where the authors let L-BFGS stop
    assert bound["pactran"] == pytest.approx(bound["optimum"] + bound["flatness"], rel=1e-12)
    curvature = (probabilities * (1 - probabilities)).sum(axis=1) @ (np.square(centred).sum(axis=1) + 1)
    trace = curvature + 3 * width / 12
    flatness = 3 * 100 / (2 * 12) * np.log(12 * trace / (3 * width))
    assert -bound["flatness"] == pytest.approx(flatness, rel=1e-4)


# --- tmi and nc_score -------------------------------------------------------------------------------------------------


def test_tmi_estimates_the_entropy_within_the_classes() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 2000)
    features = np.where(labels == 0, 1e4, 4e4) * rng.uniform(size=4000)  # entropies log 10^4 and log 4 * 10^4
    expected = (np.log(1e4) + np.log(4e4)) / 2
    assert ms.score(features[:, None], labels, TMI(mean_over_classes=False)) == pytest.approx(expected, abs=0.1)
    assert ms.score(features[:, None], labels, "tmi") == pytest.approx(expected / 2, abs=0.05)


def test_tmi_leaves_classes_out_that_have_no_kth_neighbour() -> None:
    features, labels = draw(4, n_rows=40, n_classes=2)
    more = np.concatenate([features, 50 + features[:3]])
    with_small = ms.score(more, np.concatenate([labels, [2, 2, 2]]), "tmi")
    assert with_small == pytest.approx(ms.score(features, labels, "tmi") * 40 / 43)
    with pytest.raises(NotApplicableError, match="no class has more"):
        ms.score(features[:6], [0, 0, 0, 1, 1, 1], "tmi")


def test_tmi_measures_in_the_maximum_norm() -> None:
    features, labels = 10 * draw(5, n_rows=30, n_classes=2)[0], np.arange(30) % 2
    expected = 0.0
    for c in (0, 1):
        rows = features[labels == c]
        third = np.sort(cdist(rows, rows, "chebyshev"), axis=1)[:, 3]
        digammas = sum(1 / j for j in range(3, 15))  # digamma(15) - digamma(3)
        expected += 0.5 * (digammas + 6 * np.log(2 * np.maximum(third, 1)).mean())
    assert ms.score(features, labels, TMI(mean_over_classes=False)) == pytest.approx(expected)


@pytest.mark.parametrize("width", [6, 200])
def test_nc_score_is_the_trace_with_the_pseudo_inverse(width: int) -> None:
    features, labels = draw(6, width=width)
    means = np.array([features[labels == c].mean(axis=0) for c in range(3)])
    within = (features - means[labels]).T @ (features - means[labels]) / 120
    between = (means - means.mean(axis=0)).T @ (means - means.mean(axis=0)) / 3
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 3
    assert -ms.score(features, labels, "nc_score") == pytest.approx(expected, rel=1e-9)


# --- itm --------------------------------------------------------------------------------------------------------------


def models_and_batch(
    steps: int = 1, centre_weight: float = 0.3, matrix: str = "first"
) -> tuple[_Models, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    features, labels = draw(7, n_rows=20)
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(2, 3, 3)))[0]
    models = _Models(6, centres, _Dynamics(0.5, matrix, steps, centre_weight), rng)  # type: ignore[arg-type]
    for state in (models.parameters, models.first, models.second):
        state[:] = [array.astype(np.float64) for array in state]  # type: ignore[misc]
    return models, (features, labels, (rng.random((2, 20)) < 0.7).astype(np.float64))


@pytest.mark.parametrize("matrix", ["first", "current", "rate"])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradients_of_itm_are_those_of_its_loss(steps: int, matrix: str) -> None:
    models, batch = models_and_batch(steps, matrix=matrix)
    embedding, _ = models._embed(batch[0], batch[2])
    counts = batch[2].sum(axis=1)[:, None, None]
    _, makers = models.dynamics.moved(embedding, models.centres[:, batch[1]], counts)
    gradients = models.gradients(*batch)
    rng = np.random.default_rng(1)
    for parameter, gradient in zip(models.parameters, gradients, strict=True):
        direction = rng.normal(size=parameter.shape)
        parameter += 1e-6 * direction
        above = models.losses(*batch, makers).sum()
        parameter -= 2e-6 * direction
        below = models.losses(*batch, makers).sum()
        parameter += 1e-6 * direction
        assert (above - below) / 2e-6 == pytest.approx((gradient * direction).sum(), rel=1e-5, abs=1e-9)


def test_a_model_of_itm_learns_as_if_it_were_alone_with_its_rows() -> None:
    models, (rows, labels, used) = models_and_batch()
    gradients = models.gradients(rows, labels, used)
    for run in range(2):
        alone, _ = models_and_batch()
        own = slice(3 * run, 3 * run + 3)
        weights, bias, heads, head_bias = models.parameters
        alone.parameters = [weights[:, own], bias[:, own], heads[run : run + 1], head_bias[run : run + 1]]
        alone.centres = models.centres[run : run + 1]
        kept = used[run] > 0
        expected = alone.gradients(rows[kept], labels[kept], np.ones((1, kept.sum())))
        found = [gradients[0][:, own], gradients[1][:, own], gradients[2][run], gradients[3][run]]
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs.reshape(mine.shape), rtol=1e-10, atol=1e-15)


def test_the_steps_of_itm_are_powers_of_the_papers_matrix() -> None:
    models, (rows, _, used) = models_and_batch(steps=3)
    embedding = models._embed(rows, np.ones_like(used))[0][0]
    matrix = np.eye(20) - 0.5 / 20 * embedding @ embedding.T
    target = np.random.default_rng(2).normal(size=(20, 3))
    moved, _ = models.dynamics.moved(embedding, target, 20)
    np.testing.assert_allclose(moved, np.linalg.matrix_power(matrix, 3) @ (embedding - target), rtol=1e-12)


def test_the_matrix_of_itm_follows_the_embeddings_as_equation_7_has_it() -> None:
    models, (rows, _, used) = models_and_batch(steps=3, matrix="current")
    embedding = models._embed(rows, np.ones_like(used))[0][0]
    target = np.random.default_rng(2).normal(size=(20, 3))
    expected = embedding
    for _ in range(3):
        matrix = 0.5 / 20 * expected @ expected.T
        expected = (np.eye(20) - matrix) @ expected + matrix @ target
    moved, _ = models.dynamics.moved(embedding, target, 20)
    np.testing.assert_allclose(moved + target, expected, rtol=1e-12)


def test_the_papers_form_of_itm_moves_each_row_by_the_rate_alone() -> None:
    models, (rows, _, used) = models_and_batch(steps=2, matrix="rate")
    embedding = models._embed(rows, used)[0][0]
    target = np.random.default_rng(2).normal(size=(20, 3))
    moved, _ = models.dynamics.moved(embedding, target, 20)
    np.testing.assert_allclose(moved + target, 0.25 * embedding + 0.75 * target, rtol=1e-12)  # equation 9, twice


@pytest.mark.parametrize("centres", ["random", "pca", "laplacian"])
def test_the_centres_of_itm_are_orthogonal_and_of_length_1(centres: str) -> None:
    found = ITM(centres=centres)._centres(3, 7, np.random.default_rng(0))  # type: ignore[arg-type]
    assert found.shape == (3, 7, 7)
    np.testing.assert_allclose(found @ found.swapaxes(1, 2), np.broadcast_to(np.eye(7), (3, 7, 7)), atol=1e-5)
    assert not np.allclose(found[0], found[1])  # each run has its own


@pytest.mark.parametrize("name", ["centres", "form", "matrix", "anchor"])
def test_itm_refuses_what_it_does_not_know(name: str) -> None:
    features, labels = draw(8)
    with pytest.raises(InvalidInputError, match=f"{name} is 'nonsense'; expected "):
        ms.score(features, labels, ITM(**{name: "nonsense"}))  # type: ignore[arg-type]


def test_the_map_of_itm_brings_rows_to_the_centres_of_their_classes() -> None:
    labels = np.repeat([0, 1, 2], 40)
    features = np.random.default_rng(0).normal(size=(120, 10)) + 2 * np.eye(10)[labels]
    distance = 10**0.5 / np.linalg.norm(standardised_within(features, labels), axis=1).mean()
    moved = moved_rows(ms.Evidence.of(features=features, labels=labels), rate=0.5)
    still = moved_rows(ms.Evidence.of(features=features, labels=labels), rate=-9.0)  # at most 0 after equation 12
    centres = np.eye(3)[labels]
    rate = 1 - 0.5 * distance  # equation 12
    assert np.linalg.norm(still, axis=1) == pytest.approx(np.ones(120), abs=1e-5)
    assert np.linalg.norm(moved - centres, axis=1).mean() < np.linalg.norm(still - centres, axis=1).mean()
    reached = (moved - rate * centres) / (1 - rate)  # where each row was before its step
    assert np.linalg.norm(reached, axis=1) == pytest.approx(np.ones(120), abs=1e-4)


def standardised_within(features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    means = np.stack([rows[labels == c].mean(axis=0) for c in np.unique(labels)])
    difference: np.ndarray[Any, Any] = rows - means[labels]
    return difference


def test_the_base_distance_of_itm_can_be_that_of_the_pool() -> None:
    features, labels = draw(8, n_rows=90)
    spread = features + 2 * np.random.default_rng(1).normal(size=features.shape)
    settings: dict[str, Any] = {"form": "paper", "iterations": 100, "runs": 1}
    method = ITM(anchor="pool", **settings)
    pool = [ms.score(each, labels, method, components=True) for each in (features, spread)]
    base = np.mean([each["distance"] for each in pool])
    measured = method.combine(pool)
    for each, found in zip(pool, measured, strict=True):
        assert min(each.values()) <= found <= 1
    assert pool[0]["distance"] < base < pool[1]["distance"]
    alone = method.combine(pool[:1])  # its own distance is the pool's
    assert alone == [ms.score(features, labels, ITM(anchor="none", **settings))]


def test_the_optimiser_of_itm_is_adamw() -> None:
    models, batch = models_and_batch()
    twins = [torch.nn.Parameter(torch.tensor(parameter)) for parameter in models.parameters]
    optimiser = torch.optim.AdamW(twins, lr=5e-3, weight_decay=1e-2)
    for _ in range(5):
        for twin, gradient in zip(twins, models.gradients(*batch), strict=True):
            twin.grad = torch.tensor(gradient)
        optimiser.step()
        models.learn(*batch)
    for twin, parameter in zip(twins, models.parameters, strict=True):
        np.testing.assert_allclose(parameter, twin.detach().numpy(), rtol=1e-9)


def test_five_runs_of_itm_hold_out_each_row_once_but_never_the_only_one_of_a_class() -> None:
    labels = np.repeat([0, 1, 2, 3], [40, 25, 1, 34])
    folds = _folds(labels, 4, np.random.default_rng(0))
    assert folds[65] == -1
    for c, counts in ((0, 8), (1, 5)):
        assert np.bincount(folds[labels == c]).tolist() == [counts] * 5
    assert max(np.bincount(folds[folds >= 0])) - min(np.bincount(folds[folds >= 0])) <= 1
    batches = _batches(folds, 25, np.random.default_rng(1))
    epoch = [next(batches) for _ in range(4)]
    assert np.sort(np.concatenate(epoch)).tolist() == list(range(100))
    assert all(np.bincount(folds[batch][folds[batch] >= 0], minlength=5).min() >= 4 for batch in epoch)


def test_the_variants_of_itm_learn_too() -> None:
    features, labels = draw(8)
    shuffled = np.random.default_rng(0).permutation(labels)
    for variant in (
        ITM(leak_labels=False, iterations=100, runs=1),
        ITM(centres="random", centre_weight=0.1, iterations=100, runs=1),
        ITM(steps=2, batch_size=32, iterations=100, runs=1),
        ITM(standardise=False, iterations=100, runs=1),
        ITM(anchor=2.0, iterations=100, runs=1),
        ITM(form="paper", iterations=100, runs=1),
        ITM(form="paper", centres="laplacian", iterations=100, runs=1),
        ITM(matrix="current", steps=2, rate=1.5, iterations=100, runs=1),
    ):
        assert ms.score(features, labels, variant) > ms.score(features, shuffled, variant)


def test_the_adaptive_rate_is_the_anchors_at_the_anchors_distance() -> None:
    features, labels = draw(9)
    rows = ((features - features.mean(axis=0)) / features.std(axis=0)).astype(np.float32)
    means = np.array([rows[labels == c].mean(axis=0) for c in range(3)])
    distance = float(np.linalg.norm(rows - means[labels], axis=1).mean())
    for anchor, expected in ((distance, 0.5), (distance / 2, 0.75), (10 * distance, 0.0)):
        method = ITM(anchor=anchor)
        assert method._rate(method._ratio(rows, labels, 3)) == pytest.approx(expected)
    method = ITM(anchor="dimension")  # rows without classes are that far from their mean
    assert method._ratio(rows, np.zeros_like(labels), 1) == pytest.approx(1, rel=0.05)
    with pytest.raises(NotApplicableError, match="leave none"):
        ms.score(np.eye(3), [0, 1, 2], "itm")


@pytest.mark.parametrize(
    "method", [ITM(iterations=100, runs=1, max_rows=60), NLEEP(components_per_class=2, max_rows=60)]
)
def test_large_probes_are_sampled_by_class(method: ms.Estimator) -> None:
    features, labels = draw(13, n_rows=600)
    sampled = ms.score(features, labels, method)
    assert sampled == ms.score(features, labels, method)
    assert sampled > ms.score(features, np.random.default_rng(0).permutation(labels), method)


# --- lead -------------------------------------------------------------------------------------------------------------


def test_the_rates_of_lead_are_mean_eigenvalues_of_the_tangent_kernel() -> None:
    features, labels = draw(10, n_rows=12)
    method = LEAD(widths=(5, 7))
    rates = method._rates(features, labels, 3, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(a, b)) * (2 / a) ** 0.5 for a, b in ((6, 5), (5, 7), (7, 3))]
    weights = [torch.tensor(layer, requires_grad=True) for layer in layers]
    gradients = []
    for row in features:
        hidden = torch.tensor(row)
        for weight in weights[:-1]:
            hidden = (hidden @ weight).relu()
        found = torch.autograd.grad((hidden @ weights[-1]).sum(), weights)
        gradients.append(torch.cat([part.flatten() for part in found]).numpy())
    for c in range(3):
        members = np.array(gradients)[labels == c]
        assert rates[c] == pytest.approx(np.linalg.eigvalsh(members @ members.T).mean())


@pytest.mark.parametrize("width", [8, 200])
def test_the_support_vector_machines_of_lead_are_at_their_optimum(width: int) -> None:
    """Along some directions features vary a thousand times as much as along others, as those of networks do."""
    features, labels = draw(7, width=width)
    features = features @ np.random.default_rng(1).normal(size=(width, width)) * np.geomspace(1, 1e-3, width)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    machines = LinearSVC(C=1.0, loss="squared_hinge", dual=width > 120, tol=1e-9, max_iter=1_000_000)
    decisions = machines.fit(standard, labels).decision_function(standard)
    expected = softmax(decisions)[np.arange(len(labels)), labels]
    ours = _probabilities(features, labels)[np.arange(len(labels)), labels]
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    assert ours.mean() == pytest.approx(expected.mean(), rel=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_initial_state_of_lead_is_that_of_support_vector_machines(n_classes: int) -> None:
    features, labels = draw(11, n_classes=n_classes)
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    decisions = LinearSVC(dual=False, tol=1e-8).fit(rows, labels).decision_function(rows)
    if n_classes == 2:
        decisions = np.stack([-decisions, decisions], axis=1)
    expected = np.exp(decisions) / np.exp(decisions).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_probabilities(features, labels), expected, atol=1e-3)


def test_lead_without_time_is_the_initial_state_and_with_much_time_the_labels() -> None:
    features, labels = draw(12)
    initial = np.log(_probabilities(features, labels)[np.arange(120), labels]).mean()
    assert ms.score(features, labels, LEAD(time=0.0, widths=(8, 8))) == pytest.approx(initial)
    assert ms.score(features, labels, LEAD(time=1e3, widths=(8, 8))) == pytest.approx(0, abs=1e-6)
