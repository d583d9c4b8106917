"""Evidence that the checks use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.utils.relevance import relevance_values
from modelselect.utils.target_kinds import CLASSES, LABEL_SETS, NUMBERS, RELEVANCE, TARGET_KINDS

Fields = dict[str, Any]

LABELS = frozenset({"labels", "source_labels"})
ARRAYS = frozenset({"features", "source_probabilities", "source_features", "proxy_features"})
METADATA = {
    "architecture": "checked",
    "family": "Checked",
    "modality": "image",
    "parameters": 1_000_000,
    "input_size": (3, 32, 32),
    "feature_dim": 8,
    "source_dataset": "checks",
    "source_classes": 6,
    "source_accuracy": 70.0,
    "downloads": 1000,
    "size_bytes": 4_000_000,
}

_WHOLES = 5
"""Sentences or images that the rows are parts of, for methods that ask."""


def evidence_fields(counts: tuple[int, ...] = (50, 40, 30), dimensions: int = 8, seed: int = 0) -> Fields:
    """Every evidence field: round clusters as classes, far enough apart for most methods, with rows in random order.

    Numbers are exact in float32, so that the dtype alone makes no difference.
    """
    rng = np.random.default_rng(seed)

    def clusters(width: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        centres = 2.5 * rng.normal(size=(len(counts), width))
        rows = centres[labels] + rng.normal(size=(len(labels), width))
        return rows.astype(np.float32).astype(np.float64), labels

    features, labels = clusters(dimensions)
    source_features, source_labels = clusters(dimensions)
    logits = rng.normal(size=(len(labels), 6)) + 3 * np.eye(max(6, len(counts)))[labels, :6]
    proxy = features @ rng.normal(size=(dimensions, 5)) + 0.1 * rng.normal(size=(len(labels), 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {
        "features": features,
        "labels": labels,
        "source_probabilities": probabilities.astype(np.float32).astype(np.float64),
        "source_features": source_features,
        "source_labels": source_labels,
        "proxy_features": proxy.astype(np.float32).astype(np.float64),
        "architecture": _graph(),
        "metadata": dict(METADATA),
        "groups": np.arange(len(labels)) % _WHOLES,
    }


def evidence_for(estimator: Estimator, fields: Fields, seed: int = 0) -> Evidence:
    """The evidence of these fields; for an estimator that takes no classes, with two numbers in place of each class."""
    if CLASSES in estimator.targets or "labels" not in fields:
        return Evidence.of(**fields, seed=seed)
    return evidence_of_kind(next(kind for kind in TARGET_KINDS if kind in estimator.targets), fields, seed)


def evidence_of_kind(kind: str, fields: Fields, seed: int = 0) -> Evidence:
    """The evidence of these fields with labels of a kind, made from the classes."""
    classes = np.asarray(fields["labels"], np.float64)
    labels: Any = fields["labels"]
    if kind == NUMBERS:
        labels = np.stack([classes, np.square(classes)], axis=1)
    elif kind == LABEL_SETS:
        labels = np.stack([classes > 0, classes < 2], axis=1).astype(np.float64)
    elif kind == RELEVANCE:
        labels = _relevance_of(classes, np.asarray(fields["features"]))
    return Evidence.of(**{**fields, "labels": labels}, seed=seed, target_kind=kind)


def _relevance_of(classes: NDArray[np.float64], features: NDArray[Any]) -> NDArray[np.float64]:
    """Each third row asks for the first three of the other rows that are of its class.

    The rows are ordered by their features, so that a permutation of rows changes nothing.
    """
    order = np.lexsort(features.T)
    asks = np.arange(len(classes)) % 3 == 0
    queries, documents = order[asks], order[~asks]
    judged = [
        (query, document, 1.0)
        for query, row in enumerate(queries)
        for document in np.flatnonzero(classes[documents] == classes[row])[:3].tolist()
    ]
    values = relevance_values(len(queries), len(documents), judged)
    labels = np.empty_like(values)
    labels[np.concatenate([queries, documents])] = values
    return labels


def random_evidence(
    counts: tuple[int, ...] = (50, 40, 30),
    dimensions: int = 8,
    scale: float = 1.0,
    dtype: str = "float64",
    seed: int = 0,
) -> Evidence:
    """Evidence as the checks draw it: round clusters as classes, with every field. A message of a check names the call.

    Args:
        counts: the rows of each class.
        dimensions: the width D of the features.
        scale: what all features are multiplied with.
        dtype: `float32` or `float64`, for all arrays of numbers. The numbers are exact in both.
        seed: of the random numbers.

    >>> random_evidence((3, 2), dimensions=4).features.shape
    (5, 4)
    """
    return Evidence.of(**random_fields(counts, dimensions, scale, dtype, seed))


def random_fields(counts: tuple[int, ...], dimensions: int, scale: float, dtype: str, seed: int) -> Fields:
    """The fields of `random_evidence`."""
    fields = evidence_fields(counts, dimensions, seed)
    for name in ARRAYS:
        factor = 1.0 if name == "source_probabilities" else scale
        fields[name] = (factor * fields[name]).astype(np.float32).astype(dtype)
    return fields


def _graph() -> Any:
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    for number, operation in enumerate(("input", "conv2d", "relu", "linear", "output")):
        graph.add_node(number, operation=operation)
    nx.add_path(graph, range(5))
    return graph


SOURCE_ROW_FIELDS = ("source_features", "source_labels")


def reordered_evidence(fields: Fields, names: tuple[str, ...], order: NDArray[np.int64]) -> Fields:
    return fields | {name: fields[name][order] for name in names}


def shuffled_evidence(fields: Fields) -> Fields:
    """The same rows, with the labels and proxy features of other rows."""
    rng = np.random.default_rng(1)
    result = reordered_evidence(fields, ("labels",), rng.permutation(len(fields["labels"])))
    result = reordered_evidence(result, ("source_labels",), rng.permutation(len(fields["source_labels"])))
    return reordered_evidence(result, ("proxy_features",), rng.permutation(len(fields["labels"])))
