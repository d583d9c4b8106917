"""LEEP, NCE and PACTran on source probabilities: the formulas, and the inputs on which published code fails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, gammaln, logsumexp
from sklearn.metrics import mutual_info_score

import modelselect as ms
from modelselect.errors import EvidenceError, NotApplicableError
from modelselect_plugins.estimators import leep
from modelselect_plugins.estimators.nce import NCE

NAMES = ("leep", "nce", "pactran_dirichlet", "pactran_gamma")


def draw(seed: int, n_rows: int = 60, n_sources: int = 7, n_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n_rows, n_sources))
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n_rows - n_classes)])
    return np.exp(logits - logsumexp(logits, axis=1, keepdims=True)), labels


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_leep_is_its_equations_written_out(seed: int) -> None:
    probabilities, labels = draw(seed)
    joint = np.array([probabilities[labels == c].sum(axis=0) / len(labels) for c in range(4)])
    conditional = joint / joint.sum(axis=0)
    rows = [conditional[label] @ row for label, row in zip(labels, probabilities, strict=True)]
    assert ms.score(None, labels, "leep", source_probabilities=probabilities) == pytest.approx(np.log(rows).mean())


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_nce_is_the_information_that_the_source_class_adds(seed: int) -> None:
    probabilities, labels = draw(seed)
    shares = np.bincount(labels) / len(labels)
    entropy = -(shares * np.log(shares)).sum()
    expected = mutual_info_score(labels, probabilities.argmax(axis=1)) - entropy
    assert ms.score(None, labels, "nce", source_probabilities=probabilities) == pytest.approx(expected)


def test_soft_nce_of_certain_probabilities_is_nce() -> None:
    probabilities, labels = draw(0)
    certain = np.eye(7)[probabilities.argmax(axis=1)]
    plain = ms.score(None, labels, "nce", source_probabilities=probabilities)
    assert ms.score(None, labels, NCE(soft=True), source_probabilities=certain) == pytest.approx(plain)


def test_the_dirichlet_bound_is_the_inference_written_out() -> None:
    probabilities, labels = draw(1)
    one_hot = np.eye(4)[labels]
    prior = one_hot.mean(axis=0)[:, None]
    q = probabilities
    for _ in range(10):
        posterior = prior + one_hot.T @ q
        logits = np.log(probabilities) + one_hot @ digamma(posterior) - digamma(posterior.sum(axis=0))
        log_q = logits - logsumexp(logits, axis=1, keepdims=True)
        q = np.exp(log_q)
    before = gammaln(prior.sum()) - gammaln(prior).sum()
    after = gammaln(posterior.sum(axis=0)) - gammaln(posterior).sum(axis=0)
    bound = (after - before).sum() + (q * (log_q - np.log(probabilities))).sum()
    ours = ms.score(None, labels, "pactran_dirichlet", source_probabilities=probabilities)
    assert ours == pytest.approx(-bound / (60 * 4), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_source_class_without_mass_says_nothing(name: str) -> None:
    probabilities, labels = draw(2)
    padded = np.concatenate([probabilities, np.zeros((60, 1))], axis=1)
    plain = ms.score(None, labels, name, source_probabilities=probabilities)
    padded_score = ms.score(None, labels, name, source_probabilities=padded)
    assert np.isfinite(padded_score)
    if name in {"leep", "nce"}:
        assert padded_score == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_refused_with_advice(name: str) -> None:
    with pytest.raises(EvidenceError, match="Apply a softmax"):
        ms.score(None, [0, 1, 0], name, source_probabilities=np.array([[3.0, -1.0], [0.5, 2.0], [1.0, 1.0]]))
    with pytest.raises(EvidenceError, match="row 2 sums to 2"):
        ms.score(None, [0, 1, 0], name, source_probabilities=np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 1.0]]))


@pytest.mark.parametrize("name", NAMES)
def test_targets_that_are_no_classes_are_refused(name: str) -> None:
    with pytest.raises(NotApplicableError, match="defined for classes"):
        ms.score(None, np.ones((3, 2)), name, source_probabilities=np.full((3, 2), 0.5))


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_without_source_classes_is_told_why_it_has_no_score(name: str) -> None:
    with pytest.raises(NotApplicableError, match="self-supervised"):
        ms.score(np.ones((3, 2)), [0, 1, 0], name)


def test_chunks_of_rows_give_the_same_score(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = draw(3)
    whole = ms.score(None, labels, "leep", source_probabilities=probabilities)
    monkeypatch.setattr(leep, "_CHUNK_ROWS", 7)
    assert ms.score(None, labels, "leep", source_probabilities=probabilities) == pytest.approx(whole, rel=1e-14)
