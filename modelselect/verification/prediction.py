"""`Predictions`: what a fine-tuned model says of each input, and which inputs could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from modelselect.utils.text import printable
from modelselect.verification.signature import Label

LONGEST = 48
"""Length of the name of an input in a printed table, in characters."""

MOST_PRINTED = 100
"""Number of predictions in a printed table."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one input.

    Attributes:
        input: the path of its file, the text itself, or its place among the inputs: `input 3`.
        label: the most probable class, as the dataset calls it: a name, or a number or truth value where classes have
            no names. None if the input could not be read.
        probability: of that class, from 0 to 1, by the softmax of the logits. None if the input could not be read.
        reason: why the input could not be read; None if it was.
    """

    input: str
    label: Label | None
    probability: float | None
    reason: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Sequence[Prediction]):
    """A prediction for each input, in the order of the inputs.

    Attributes:
        rows: one for each of the N inputs.
        classes: the C classes, as the dataset calls them.
        probabilities: (N, C) float32, of each class; NaN for inputs that could not be read.

    >>> rows = (Prediction("a.jpg", "cat", 0.875), Prediction("b.jpg", None, None, "empty file"))
    >>> found = Predictions(rows, ("cat", "dog"), np.array([[0.875, 0.125], [np.nan, np.nan]], np.float32))
    >>> print(found)
    input  class  probability
    a.jpg  cat    87.5%
    b.jpg  –      could not be read: empty file
    >>> found.labels, found[0].probability, len(found.unreadable)
    (['cat', None], 0.875, 1)
    """

    rows: tuple[Prediction, ...]
    classes: tuple[Label, ...]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Prediction, ...]: ...

    def __getitem__(self, place: int | slice) -> Prediction | tuple[Prediction, ...]:
        return self.rows[place]

    @property
    def labels(self) -> list[Label | None]:
        """The class of each input; None for those that could not be read."""
        return [row.label for row in self.rows]

    @property
    def unreadable(self) -> tuple[Prediction, ...]:
        """The inputs that could not be read, each with its reason."""
        return tuple(row for row in self.rows if row.reason is not None)

    def cells(self) -> list[tuple[str, str, str]]:
        """The text of each input: its name, its class, and the probability, or why it could not be read."""
        return [
            (
                _short(row.input),
                "–" if row.reason is not None else printable(str(row.label)),
                f"could not be read: {printable(row.reason)}" if row.reason is not None else f"{row.probability:.1%}",
            )
            for row in self.rows
        ]

    def described(self) -> list[dict[str, Any]]:
        """Each prediction as plain data, with the probability of every class by its name."""
        shares = [dict(zip(map(str, self.classes), row, strict=True)) for row in self.probabilities.tolist()]
        return [
            asdict(row) | {"probabilities": share if row.reason is None else None}
            for row, share in zip(self.rows, shares, strict=True)
        ]

    def __str__(self) -> str:
        lines = [("input", "class", "probability"), *self.cells()[:MOST_PRINTED]]
        wide, wider = (max(len(line[column]) for line in lines) for column in (0, 1))
        more = [f"and {len(self) - MOST_PRINTED} more"] if len(self) > MOST_PRINTED else []
        return "\n".join([f"{name:<{wide}}  {label:<{wider}}  {text}" for name, label, text in lines] + more)

    __repr__ = __str__


def _short(name: str) -> str:
    """The end of a long path, or the beginning of a long text."""
    name = printable(name)
    if len(name) <= LONGEST:
        return name
    is_path = "/" in name and " " not in name
    return f"…{name[1 - LONGEST :]}" if is_path else f"{name[: LONGEST - 1]}…"
