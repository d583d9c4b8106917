"""`Predictions`: what a fine-tuned model says of each input, and which inputs could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from modelselect.utils.text import UNKNOWN, printable
from modelselect.verification.signature import Label

LONGEST = 48
"""Length of the name of an input in a printed table, in characters."""

COLUMNS = ("input", "class", "probability", "otherwise")
"""The columns of a printed table."""

CLEAR = 0.9
"""Where a class has at least this probability, the second one is not shown."""

MOST_PRINTED = 100
"""Number of predictions in a printed table."""


NOT_FINITE = "the model gives numbers for it that are not finite; its weights may be damaged"
"""Why there is no prediction for an input that could be read."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one input.

    Attributes:
        input: the path of its file, the text itself, or its place among the inputs: `input 3`.
        label: the most probable class, as the dataset calls it: a name, or a number or truth value where classes have
            no names. None if the input could not be read, or the model gives no finite numbers for it.
        probability: of that class, from 0 to 1, by the softmax of the logits. None if there is no label.
        reason: why there is no label; None if there is one.
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
    input  class  probability                    otherwise
    a.jpg  cat    87.5%                          dog 12.5%
    b.jpg  –      could not be read: empty file  –
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

    def cells(self) -> list[tuple[str, ...]]:
        """The text of each input, by `COLUMNS`: its name, its class, the probability, and the second class.

        The second class is left out where the first is clear. An input that could not be read has the reason.
        """
        cells: list[tuple[str, ...]] = []
        for row, shares in zip(self.rows, self.probabilities, strict=True):
            if row.reason is not None:
                cells.append((_short(row.input), UNKNOWN, f"could not be read: {printable(row.reason)}", UNKNOWN))
                continue
            second = int(np.argsort(-shares, kind="stable")[1]) if len(shares) > 1 else 0
            other = f"{printable(str(self.classes[second]))} {shares[second]:.1%}"
            is_clear = len(shares) < 2 or (row.probability or 0.0) >= CLEAR
            label = printable(str(row.label))
            cells.append((_short(row.input), label, f"{row.probability:.1%}", UNKNOWN if is_clear else other))
        return cells

    def described(self) -> list[dict[str, Any]]:
        """Each prediction as plain data, with the probability of every class by its name."""
        shares = [dict(zip(map(str, self.classes), row, strict=True)) for row in self.probabilities.tolist()]
        return [
            asdict(row) | {"probabilities": share if row.reason is None else None}
            for row, share in zip(self.rows, shares, strict=True)
        ]

    def __str__(self) -> str:
        lines = [COLUMNS, *self.cells()[:MOST_PRINTED]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        more = [f"and {len(self) - MOST_PRINTED} more"] if len(self) > MOST_PRINTED else []
        texts = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
        return "\n".join([*(text.rstrip() for text in texts), *more])

    __repr__ = __str__


def _short(name: str) -> str:
    """The end of a long path, or the beginning of a long text."""
    name = printable(name)
    if len(name) <= LONGEST:
        return name
    is_path = "/" in name and " " not in name
    return f"…{name[1 - LONGEST :]}" if is_path else f"{name[: LONGEST - 1]}…"
