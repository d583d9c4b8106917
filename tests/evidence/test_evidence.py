"""Arrays as people have them become evidence, and what cannot be is met with what was given and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError, NotApplicableError, ScoreWarning
from modelselect.evidence.evidence import Evidence
from modelselect.testing.estimators import shared_arrays
from modelselect_plugins.estimators.centroid import Centroid

FEATURES = np.random.default_rng(0).normal(size=(20, 3)) + np.arange(20)[:, None] % 2
LABELS = np.arange(20) % 2


class GroupCount(ms.Estimator):
    """The number of wholes that the rows are parts of."""

    name = "group_count"
    requires = frozenset({"groups"})
    citation = "none"

    def score(self, evidence: Evidence) -> dict[str, float]:
        assert evidence.groups is not None
        return {"group_count": float(len(np.unique(evidence.groups)))}


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b"] * 10, dtype=object),
        np.array([0, 1] * 10, dtype=object),
        np.array([False, True] * 10, dtype=object),
        LABELS.astype(np.float32),
        LABELS.astype(np.uint8),
        ["a", "b"] * 10,
        LABELS[:, None],
        LABELS[None],
        LABELS[:, None].astype(bool),
        [[label] for label in LABELS.tolist()],
        np.array([["a"], ["b"]] * 10),
        np.eye(2)[LABELS],
        np.eye(2, dtype=bool)[LABELS].tolist(),
        torch.tensor(LABELS)[:, None],
        [torch.tensor(label) for label in LABELS.tolist()],
        pd.Series(LABELS, dtype="Int64", index=range(40, 60)),
        pd.Series(["a", "b"] * 10, dtype="category"),
        pd.DataFrame({"label": LABELS}),
        pd.get_dummies(pd.Series(["a", "b"] * 10)),
        [b"a", b"b"] * 10,
        np.array([0, 2**64 - 1] * 10, np.uint64),
    ],
)
@pytest.mark.parametrize("estimator", ["logme", "knn", "centroid"])
def test_labels_of_any_container_score_alike(labels: Any, estimator: str) -> None:
    assert ms.score(FEATURES, labels, estimator) == ms.score(FEATURES, LABELS, estimator)


def test_rows_without_a_label_are_left_out_whatever_says_so() -> None:
    known = np.flatnonzero(np.arange(20) % 5)
    expected = ms.score(FEATURES[known], LABELS[known], "logme")
    unlabelled = np.arange(20) % 5 == 0
    assert ms.score(FEATURES, np.where(unlabelled, -1, LABELS), "logme") == expected
    for labels in (
        np.where(unlabelled, -100, LABELS),
        np.where(unlabelled, np.nan, LABELS),
        pd.Series(LABELS, dtype="Int64").mask(unlabelled),
        np.ma.array(LABELS, mask=unlabelled),
        [None if row % 5 == 0 else "ab"[row % 2] for row in range(20)],
    ):
        with pytest.warns(ScoreWarning, match="4 of 20"):
            assert ms.score(FEATURES, labels, "logme") == expected


@pytest.mark.parametrize("groups", [np.zeros((20, 2), int), np.linspace(0, 1, 20), ["a"] * 20, 3, np.arange(19)])
def test_groups_that_are_none_are_refused(groups: Any) -> None:
    with pytest.raises(EvidenceError, match=r"groups has shape|numbers of rows differ"):
        Evidence.of(features=FEATURES, labels=LABELS, groups=groups)
    kept = np.arange(20)
    found = Evidence.of(features=FEATURES, labels=LABELS, groups=kept).groups
    assert found is not None
    assert not found.flags.writeable
    assert kept.flags.writeable


def test_groups_come_with_labels_and_can_be_required() -> None:
    grouped = Evidence.of(features=FEATURES, labels=np.where(np.arange(20) < 3, -1, LABELS), groups=np.arange(20) // 4)
    found = grouped.restrict({"features", "labels"}).groups
    assert found is not None
    assert found.tolist() == (np.arange(3, 20) // 4).tolist()
    assert grouped.restrict({"features"}).groups is None
    with pytest.raises(NotApplicableError, match=r"needs groups.*only words, pixels and boxes are parts of others"):
        ms.score(FEATURES, LABELS, GroupCount())
    assert ms.score(FEATURES, LABELS, GroupCount(), groups=np.arange(20) // 4) == 5
    ms.testing.check_estimator(GroupCount())


def test_float_targets_of_a_regression_stay_as_they_are() -> None:
    target = FEATURES[:, :1] * 2 + 1
    single = ms.score(FEATURES, target, "logme")
    assert single == ms.score(FEATURES, target.tolist(), "logme")
    assert single != ms.score(FEATURES, LABELS, "logme")
    whole = np.rint(10 * target)
    assert ms.score(FEATURES, whole, "logme") != ms.score(FEATURES, whole.astype(int) - int(whole.min()), "logme")
    several = np.concatenate([target, FEATURES[:, 1:2]], axis=1)
    assert Evidence.of(features=FEATURES, labels=several).labels is not None
    assert np.array_equal(Evidence.of(features=FEATURES, labels=several).labels, several)  # type: ignore[arg-type]
    with pytest.raises(ms.errors.EvidenceError, match=r"hold .* in row 0; expected classes") as refused:
        ms.score(FEATURES, target[:, 0], "logme")
    assert "np.reshape(labels, (-1, 1))" in str(refused.value)  # and this works:
    assert ms.score(FEATURES, np.reshape(target[:, 0], (-1, 1)), "logme") == single
    hidden = np.ma.array(several, mask=np.arange(20)[:, None] == [3, 30])
    with pytest.raises(ms.errors.EvidenceError, match="labels holds NaN or infinity, first in row 3"):
        ms.score(FEATURES, hidden, "logme")


def test_bfloat16_tensors_are_read() -> None:
    tensor = torch.from_numpy(FEATURES).bfloat16()
    assert ms.score(tensor, LABELS, "logme") == ms.score(tensor.float(), LABELS, "logme")


def test_what_a_mask_hides_is_not_scored_in_silence() -> None:
    masked = np.ma.masked_invalid(np.where(np.arange(20)[:, None] == 3, np.nan, FEATURES))
    with pytest.raises(ms.errors.EvidenceError, match="NaN or infinity, first in row 3"):
        ms.score(masked, LABELS, "logme")


@pytest.mark.parametrize(
    ("features", "labels", "estimator", "seed", "message"),
    [
        ([[1.0, 2.0], [3.0]], [0, 1], "logme", 0, "features are lists of different lengths"),
        (FEATURES, np.array([0, "a"] * 10, dtype=object), "logme", 0, "kind integer and string, 0 in row 0"),
        (FEATURES, LABELS, "logme", -1, "seed is -1"),
        (FEATURES, LABELS, "logme", "x", "seed is 'x'"),
        (FEATURES, LABELS, Centroid, 0, r"expected a name, or an instance"),
        (FEATURES, LABELS, 5, 0, "estimator is 5"),
    ],
)
def test_what_cannot_be_scored_is_one_error_that_says_why(
    features: Any, labels: Any, estimator: Any, seed: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ms.score(features, labels, estimator, seed=seed)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)], ids=["tall", "wide"])
def test_every_array_that_estimators_get_is_read_only(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    whole = Evidence.of(
        features=random.normal(size=shape),
        labels=np.arange(shape[0]) % 3 - (np.arange(shape[0]) > shape[0] - 3),
        source_probabilities=random.random((shape[0], 4)),
        proxy_features=random.normal(size=(shape[0], 3)),
    )
    fields = ("features", "labels", "source_probabilities", "proxy_features")
    for evidence in (
        whole,
        whole.restrict(fields),
        whole.take(np.arange(5)),
        whole.take(np.arange(5)).restrict(fields),
    ):
        arrays = shared_arrays(evidence)
        assert len(arrays) > 15
        assert [name for name, array in arrays.items() if array.flags.writeable] == []
        features = evidence.feature_statistics
        for array in (features.components(2), features.principal_components(2), features.principal_components(100)):
            assert not array.flags.writeable


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_private_evidence_shares_no_memory_and_is_read_only() -> None:
    features, labels = np.random.default_rng(0).normal(size=(30, 8)), np.arange(30) % 3
    evidence = Evidence.of(features=features, labels=labels, metadata={"parameters": 3}, groups=labels)
    shared = shared_arrays(evidence)  # which computes the statistics
    before = {name: array.copy() for name, array in shared.items()}
    theirs = evidence.private({"features", "labels", "metadata"})
    assert theirs.metadata == evidence.metadata
    copies = shared_arrays(theirs)
    assert all(np.array_equal(array, shared[name]) and not array.flags.writeable for name, array in copies.items())
    for array in copies.values():
        torch.from_numpy(array).fill_(0)
    theirs.statistics.__dict__["means"] = None
    assert all(np.array_equal(array, before[name]) for name, array in shared_arrays(evidence).items())
    assert evidence.private({"features"}).labels is None
