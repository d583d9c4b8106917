"""`Material`: the rows that a fine-tuning trains on, those that compare its epochs, and those that judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.grouped import Wholes
from modelselect.utils.relevance import Relevance
from modelselect.utils.target_kinds import CLASSES, RELEVANCE
from modelselect.verification.assignment import Assignment
from modelselect.verification.job import Job, Rows
from modelselect.verification.pairs import Pairs


@dataclass(frozen=True)
class Material:
    """Rows for each purpose, without unlabelled ones.

    Attributes:
        training: rows to train on. Targets are indices into `classes`; for numbers and sets of labels (N, T) floats, in
            units of `units`; for retrieval the numbers of query and document.
        validation: rows that epochs are compared on, with the same targets; None without a comparison.
        holdout: rows to measure on, whose targets are labels, or numbers in their own units; None if nothing is
            measured on other rows.
        classes: (C,) those with training rows; for other targets the numbers of their columns.
        is_of_classes: whether targets are classes.
        pairs: of a query and a document, whose places are in `training` and `validation`; for retrieval only.
        units: (T,) mean and deviation that targets are scaled by.
    """

    training: Rows
    validation: Rows | None
    holdout: Rows | None
    classes: NDArray[np.int64]
    is_of_classes: bool = True
    pairs: Pairs | None = None
    units: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @classmethod
    def of(cls, asked: Assignment) -> Material:
        """The rows of a fine-tuning.

        Raises:
            DatasetError: there are too few rows, or training and held-out rows have other classes.
        """
        kind = asked.training.target_kind
        if kind == RELEVANCE:
            return _of_queries(asked)
        _check_equal_targets(asked, "classes" if kind == CLASSES else "targets")
        if kind != CLASSES:
            return _of_targets(asked)
        wholes = asked.training.wholes
        return _of_classes(asked) if wholes is None else _of_wholes(asked, wholes)

    def job(self, asked: Assignment) -> Job:
        """The training on these rows."""
        return Job(
            asked.backbone,
            asked.method,
            len(self.classes),
            self.training,
            self.validation,
            asked.settings,
            asked.seed,
            asked.device,
            objective=asked.task.objective,
        )

    def in_own_units(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, T) outputs of the trained network as the targets were given."""
        return outputs if self.units is None else outputs * self.units[1] + self.units[0]


def _of_classes(asked: Assignment) -> Material:
    labels = np.asarray(asked.training.labels)
    places = np.flatnonzero(labels >= 0)
    classes, targets = np.unique(labels[places], return_inverse=True)
    if len(classes) < 2:
        raise DatasetError(
            f"training has {len(places)} labelled rows of {len(classes)} class; expected rows of at least two"
        )
    held_labels = None if asked.holdout is None else np.asarray(asked.holdout.labels)
    if held_labels is not None and not (held_labels >= 0).any():
        raise DatasetError("holdout has no labelled rows. Hold out a part of the labelled rows.")
    validating = _validating(targets, asked)
    training, validation = _split(Rows(asked.prepared(asked.training), places, targets), validating)
    held = None
    if asked.holdout is not None and held_labels is not None:
        held = Rows(asked.prepared(asked.holdout), *_known(held_labels, held_labels))
    return Material(training, validation, held, classes)


def _of_wholes(asked: Assignment, wholes: Wholes) -> Material:
    """Sentences and images whose parts have classes."""
    classes = np.unique(wholes.targets[wholes.targets >= 0]).astype(np.int64)
    if len(classes) < 2:
        raise DatasetError(
            f"training has {len(wholes)} sentences or images whose parts have {len(classes)} class; expected parts "
            "of at least two"
        )
    targets = np.where(wholes.targets >= 0, np.searchsorted(classes, wholes.targets), -1).astype(np.int32)
    validating = _validating(wholes.strata(asked.training.n_classes), asked)
    training, validation = _split(Rows(asked.prepared(wholes), np.arange(len(wholes)), targets), validating)
    held = None
    if asked.holdout is not None and (other := asked.holdout.wholes) is not None:
        held = Rows(asked.prepared(other), np.arange(len(other)), other.targets)
    return Material(training, validation, held, classes)


def _of_targets(asked: Assignment) -> Material:
    """Numbers and sets of labels."""
    strata, given = asked.training.strata, np.asarray(asked.training.targets, np.float64)
    places, targets = _known(strata, given)
    units = asked.task.objective.scaling(targets)
    if units is not None:
        targets = (targets - units[0]) / units[1]
    rows = Rows(asked.prepared(asked.training), places, targets.astype(np.float32))
    training, validation = _split(rows, _validating(strata[places], asked))
    held = None
    if asked.holdout is not None:
        own = np.asarray(asked.holdout.targets, np.float64)
        held = Rows(asked.prepared(asked.holdout), *_known(asked.holdout.strata, own))
    return Material(training, validation, held, np.arange(given.shape[1]), is_of_classes=False, units=units)


def _of_queries(asked: Assignment) -> Material:
    """Queries and documents: what is trained on is a pair of both."""
    relevance = Relevance.of(np.asarray(asked.training.targets))
    queries, documents = relevance.pairs.T
    if len(queries) < 2:
        raise DatasetError(f"training has {len(queries)} pairs of a query and a document; expected two at least")
    pairs = Pairs(asked.prepared(asked.training), relevance.queries[queries], relevance.documents[documents])
    validating = _validating(np.zeros(len(relevance.queries), np.int64), asked)
    rows = Rows(pairs, np.arange(len(queries)), relevance.pairs)
    training, validation = _split(rows, None if validating is None else validating[queries])
    held = None
    if asked.holdout is not None:
        own = np.asarray(asked.holdout.targets)
        held = Rows(asked.prepared(asked.holdout), np.arange(len(asked.holdout)), own)
    columns = np.arange(len(asked.training.target_names))
    return Material(training, validation, held, columns, is_of_classes=False, pairs=pairs)


def _check_equal_targets(asked: Assignment, what: str) -> None:
    if asked.holdout is None or list(asked.training.target_names) == list(asked.holdout.target_names):
        return
    advice = ", or give both the same label map" if what == "classes" else ""
    raise DatasetError(
        f"training has the {what} {_shown(asked.training.target_names)} and holdout "
        f"{_shown(asked.holdout.target_names)}; expected the same {what} in the same order. Split one dataset{advice}."
    )


def _known(strata: NDArray[np.int64], targets: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The places of the rows that have a class or a stratum, and their targets."""
    places = np.flatnonzero(strata >= 0)
    return places, targets[places]


def _split(rows: Rows, validating: NDArray[np.bool_] | None) -> tuple[Rows, Rows | None]:
    """The rows to train on, and those that epochs are compared on."""
    return (rows, None) if validating is None else (rows.take(~validating), rows.take(validating))


def _validating(strata: NDArray[np.int64], asked: Assignment) -> NDArray[np.bool_] | None:
    """(N,) True for the validation rows; None if none are needed.

    Raises:
        DatasetError: no two rows are of one stratum.
    """
    if not asked.settings.validates:
        return None
    chosen = validation_split(strata, asked.settings.validation, asked.seed)
    if not chosen.any():
        raise DatasetError(
            f"training has {len(strata)} labelled rows, no two of one class or of similar numbers, but early stopping "
            "and searches need a validation split of them. Give more rows, or give neither patience= (--patience) nor "
            "trials= (--trials) nor several rates."
        )
    return chosen


def validation_split(strata: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for the validation rows: this share of every stratum, at least one row, but not all of them."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(strata), dtype=np.bool_)
    for stratum in np.unique(strata):
        places = random.permutation(np.flatnonzero(strata == stratum))
        chosen[places[: min(len(places) - 1, max(1, round(share * len(places))))]] = True
    return chosen


def _shown(names: Sequence[str]) -> str:
    text = ", ".join(map(str, names))
    return text if len(text) <= 80 else f"{text[:77]}..."
