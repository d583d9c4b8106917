"""What a fine-tuned model says of each input where it predicts no class: numbers, or a set of labels."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.probe.inputs import Input
from modelselect.utils.text import printable
from modelselect.verification.prediction import LONGEST, MOST_PRINTED, Prediction, Predictions
from modelselect.verification.signature import Label

LIKELY = 0.5
"""Probability from which a label is predicted."""

DIGITS = 6
"""Significant digits of a number in a printed table."""


class Answers(Predictions):
    """Predictions that are no classes: two texts of each input, its name and what is predicted."""

    @property
    def headings(self) -> tuple[str, str]:
        """What the two columns of a table are called."""
        raise NotImplementedError

    def text_of(self, values: Sequence[float]) -> str:
        """The prediction in words, from a row of `probabilities`."""
        raise NotImplementedError

    def cells(self) -> list[tuple[str, ...]]:
        """The text of each input: its name, and what is predicted or why it could not be read."""
        return [
            (
                textwrap.shorten(printable(row.input), LONGEST, placeholder="…") if " " in row.input else row.input,
                self.text_of(values) if row.reason is None else f"could not be read: {printable(row.reason)}",
            )
            for row, values in zip(self.rows, self.probabilities.tolist(), strict=True)
        ]

    def described(self) -> list[dict[str, Any]]:
        """Each prediction as plain data, with the number or the probability of each output by its name."""
        return [
            {
                "input": row.input,
                "label": row.label,
                "values": dict(zip(map(str, self.classes), values, strict=True)) if row.reason is None else None,
                "reason": row.reason,
            }
            for row, values in zip(self.rows, self.probabilities.tolist(), strict=True)
        ]

    def __str__(self) -> str:
        lines = [self.headings, *self.cells()[:MOST_PRINTED]]
        wide = max(len(line[0]) for line in lines)
        more = [f"and {len(self) - MOST_PRINTED} more"] if len(self) > MOST_PRINTED else []
        return "\n".join([f"{line[0]:<{wide}}  {line[1]}" for line in lines] + more)

    __repr__ = __str__


class NumberPredictions(Answers):
    """The predicted numbers of each input, in the order of the inputs.

    Attributes:
        rows: one for each of the N inputs; `label` is the number, or the numbers as a tuple, and None if the input
            could not be read. `probability` is None.
        classes: names of the T numbers.
        probabilities: (N, T) float32 numbers; NaN for inputs that could not be read.

    >>> rows = (Prediction("a.jpg", 12.5, None), Prediction("b.jpg", None, None, "empty file"))
    >>> print(NumberPredictions(rows, ("angle",), np.array([[12.5], [np.nan]], np.float32)))
    input  angle
    a.jpg  12.5
    b.jpg  could not be read: empty file
    """

    @property
    def values(self) -> NDArray[np.float32]:
        """(N, T) numbers; NaN for inputs that could not be read."""
        return self.probabilities

    @property
    def headings(self) -> tuple[str, str]:
        return "input", printable(", ".join(map(str, self.classes)))

    def text_of(self, values: Sequence[float]) -> str:
        return ", ".join(f"{value:.{DIGITS}g}" for value in values)


class Embeddings(NumberPredictions):
    """The embedding of each query or document. What is near by the cosine belongs together.

    `NumberPredictions` lists the attributes; `values` are the (N, D) embeddings.

    >>> print(Embeddings((Prediction("a text", None, None),), ("0", "1"), np.array([[0.6, 0.8]], np.float32)))
    input   embedding
    a text  2 numbers
    """

    @property
    def headings(self) -> tuple[str, str]:
        return "input", "embedding"

    def text_of(self, values: Sequence[float]) -> str:
        return f"{len(values):,} numbers"


class LabelSetPredictions(Answers):
    """The predicted labels of each input, in the order of the inputs.

    Attributes:
        rows: one for each of the N inputs; `label` is the tuple of labels with a probability of one half or more, and
            None if the input could not be read. `probability` is None.
        classes: the C labels.
        probabilities: (N, C) float32, of each label; NaN for inputs that could not be read.

    >>> rows = (Prediction("a.jpg", ("cat", "dog"), None),)
    >>> print(LabelSetPredictions(rows, ("cat", "dog", "cow"), np.array([[0.9, 0.75, 0.2]], np.float32)))
    input  labels
    a.jpg  cat 90.0%, dog 75.0%
    """

    @property
    def headings(self) -> tuple[str, str]:
        return "input", "labels"

    def text_of(self, values: Sequence[float]) -> str:
        likely = sorted(zip(values, map(str, self.classes), strict=True), reverse=True)
        return ", ".join(f"{printable(name)} {share:.1%}" for share, name in likely if share >= LIKELY) or "none"


def numbers_of(
    given: Sequence[Input], reasons: Mapping[int, str], values: NDArray[np.float32], names: tuple[Label, ...]
) -> NumberPredictions:
    """The predictions of a model of numbers.

    Args:
        given: N inputs.
        reasons: why an input could not be read, by its place.
        values: (N, T) numbers.
        names: of the T numbers.
    """
    rows = []
    for place, each in enumerate(given):
        found = tuple(values[place].tolist())
        label: Any = None if place in reasons else found[0] if len(found) == 1 else found
        rows.append(Prediction(each.name, label, None, reasons.get(place)))
    return NumberPredictions(tuple(rows), names, values)


def embeddings_of(
    given: Sequence[Input], reasons: Mapping[int, str], values: NDArray[np.float32], names: tuple[Label, ...]
) -> Embeddings:
    """The predictions of a model of queries and documents, with the arguments of `numbers_of`."""
    return Embeddings(numbers_of(given, reasons, values, names).rows, names, values)


def label_sets_of(
    given: Sequence[Input], reasons: Mapping[int, str], shares: NDArray[np.float32], names: tuple[Label, ...]
) -> LabelSetPredictions:
    """The predictions of a model of sets of labels.

    Args:
        given: N inputs.
        reasons: why an input could not be read, by its place.
        shares: (N, C) probabilities of the labels.
        names: of the C labels.
    """
    rows = []
    for place, each in enumerate(given):
        found: Any = tuple(name for name, share in zip(names, shares[place], strict=True) if share >= LIKELY)
        rows.append(Prediction(each.name, None if place in reasons else found, None, reasons.get(place)))
    return LabelSetPredictions(tuple(rows), names, shares)
