"""`Ranking`: candidates in order, with every score, the reason for every failure, and the provenance.

A ranking is plain data that is saved, sent and compared. `Leaderboard` adds methods that show and publish it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from modelselect.agreement import Agreement, agreement
from modelselect.candidates.candidate import context_length_of, languages_of
from modelselect.errors import InvalidInputError, LeaderboardError
from modelselect.ranking.checking import plain, typed
from modelselect.ranking.document import (
    check_budget,
    json_content,
    json_pieces,
    plain_value,
    row_from_json,
    row_to_json,
)
from modelselect.ranking.expectation import SURE
from modelselect.ranking.pareto import pareto_front
from modelselect.ranking.row import (
    BRIEF_COLUMNS,
    COST_COLUMNS,
    COSTS,
    EVIDENCE_COLUMNS,
    FIRST_COLUMNS,
    LAST_COLUMNS,
    READING_COLUMNS,
    ZERO_SHOT_COLUMNS,
    RankedCandidate,
)
from modelselect.utils.measures import ACCURACY, Measure
from modelselect.utils.text import csv_cell, printable

if TYPE_CHECKING:
    import pandas as pd

_FIXED = (
    *FIRST_COLUMNS,
    *EVIDENCE_COLUMNS,
    *ZERO_SHOT_COLUMNS,
    *BRIEF_COLUMNS,
    *COST_COLUMNS,
    *LAST_COLUMNS,
)
"""Columns that are fields of a row."""

_COUNTS = (
    "rank",
    "parameters",
    "macs",
    "feature_dim",
    "memory_bytes",
    "training_memory_bytes",
    "download_bytes",
    "context_length",
)
"""Columns of whole numbers."""

_PARTS: dict[str, Any] = {
    "rows": tuple[Any, ...],
    "estimators": tuple[str, ...],
    "provenance": Mapping[str, Any],
    "confidence": float | None,
    "better_than_guessing": bool | None,
}
"""The parts of a document that are read, and their types."""

_WORDS = ("candidate", "why", "license", "languages", "status")
"""Columns of text."""


@dataclass(frozen=True)
class Ranking:
    """Candidates in order.

    Attributes:
        rows: the best candidate first; candidates that failed come last.
        estimators: names of the estimators, in the order of their columns.
        provenance: dataset, sample, seeds, versions, settings and times: all that is needed to repeat the run.
        confidence: probability that the first is the best of all after fine-tuning, by all evidence of the run:
            `rows[0].probability_best`. None if there is nothing to compare.
        better_than_guessing: whether the features of any candidate tell the classes apart better than guessing does;
            None if no accuracy of `knn` or `linear_probe` is known.
    """

    row_type: ClassVar[type[RankedCandidate]] = RankedCandidate
    """The type of the rows that `from_json` makes."""

    rows: tuple[RankedCandidate, ...]
    estimators: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    confidence: float | None = None
    better_than_guessing: bool | None = None

    @classmethod
    def empty(cls) -> Self:
        """A ranking without candidates."""
        return cls(())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[RankedCandidate]:
        return iter(self.rows)

    @overload
    def __getitem__(self, place: int) -> RankedCandidate: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[RankedCandidate, ...]: ...

    def __getitem__(self, place: int | slice) -> RankedCandidate | tuple[RankedCandidate, ...]:
        return self.rows[place]

    def __bool__(self) -> bool:
        return True  # an answer without candidates is still an answer

    @property
    def best(self) -> RankedCandidate:
        """The first row.

        Raises:
            InvalidInputError: no candidate was ranked.
        """
        if not self.ranked:
            raise InvalidInputError("no candidate was ranked, so there is no best one; see the rows' status")
        return self.rows[0]

    @property
    def ranked(self) -> tuple[RankedCandidate, ...]:
        """The rows that have a rank."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing, from 0 to 1: one divided by the number of classes. None if that is not known.

        Of another metric, what it is for predictions that do not look at the input, if the metric says so.
        """
        task = record_of(self, "task")
        known = task.get("chance")
        if isinstance(known, int | float) and not isinstance(known, bool):
            return float(known)
        if task.get("metric", "accuracy") != "accuracy":
            return None
        classes = record_of(self, "dataset").get("classes")
        return 1 / len(classes) if isinstance(classes, list | tuple) and classes else None

    @property
    def metric(self) -> str:
        """What `verified_accuracy` measures, as texts call it: `accuracy`, or the metric of another task."""
        return self.measure.title

    @property
    def measure(self) -> Measure:
        """What texts call what `verified_accuracy` measures, and how they show it."""
        return next(iter(self.measures.values()), ACCURACY)

    @property
    def measures(self) -> dict[str, Measure]:
        """The metrics of the task by name, as texts call and show them; the first one is `measure`."""
        task = record_of(self, "task")
        names, shown = task.get("metrics"), task.get("measures")
        if not isinstance(names, list | tuple) or not isinstance(shown, list | tuple):
            return {}
        pairs = [(str(name), each) for name, each in zip(names, shown, strict=False) if isinstance(each, list | tuple)]
        return {name: Measure(str(each[0]), each[1] is not False) for name, each in pairs if len(each) == 2}

    @property
    def rivals(self) -> tuple[RankedCandidate, ...]:
        """The ranked rows that cannot be distinguished from the first.

        These are the rows that the first is better than with a probability below `SURE`.
        """
        first = self.rows[0].expectation if self.ranked else None
        if first is None:
            return ()
        return tuple(
            row
            for row in self.ranked[1:]
            if row.expectation is not None and first.probability_better(row.expectation) < SURE
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns in order: the fixed columns, and one for each estimator without a fixed column."""
        fixed = {*_FIXED, *READING_COLUMNS}
        weighed = EVIDENCE_COLUMNS if any(row.expectation is not None for row in self.rows) else ()
        untrained = ZERO_SHOT_COLUMNS if any(row.zero_shot_accuracy is not None for row in self.rows) else ()
        brief = BRIEF_COLUMNS if any(row.brief_accuracy is not None for row in self.rows) else ()
        measured = COST_COLUMNS if any(_is_measured(row) for row in self.rows) else ()
        reading = tuple(c for c in READING_COLUMNS if any(self.value(row, c) is not None for row in self.rows))
        estimators = (name for name in self.estimators if name not in fixed)
        first = (*FIRST_COLUMNS, *weighed, *estimators, *untrained, *brief)
        return (*first, *LAST_COLUMNS[:-2], *measured, *reading, *LAST_COLUMNS[-2:])

    def value(self, row: RankedCandidate, column: str) -> Any:
        """The value of a row in one of the `columns`; None if it is not known."""
        if column == "candidate":
            return row.candidate.id
        if column == "context_length":
            return context_length_of(row.candidate)
        if column == "languages":
            return ", ".join(languages_of(row.candidate)) or None
        if column in _FIXED:
            return getattr(row, column)
        return row.scores.get(column)

    @property
    def verification(self) -> Agreement | None:
        """How well the score agrees with the accuracy after fine-tuning, over the candidates that were fine-tuned.

        `top1_regret` is the price of trusting the score: the accuracy of the best candidate, minus that of the first
        by score. None if fewer than two candidates were fine-tuned. These are the best by score, so their agreement
        says little about the whole pool.
        """
        known = [(row.score, row.verified_accuracy) for row in self.rows]
        pairs = [(score, accuracy) for score, accuracy in known if score is not None and accuracy is not None]
        if len(pairs) < 2:
            return None
        return agreement([score for score, _ in pairs], [accuracy for _, accuracy in pairs])

    def agreement(self, truth: Mapping[str, float]) -> dict[str, Agreement]:
        """How well `score` and each estimator agree with known results (by candidate id, higher is better).

        Candidates without a known result, and estimators with fewer than two scores, are left out.

        Raises:
            InvalidInputError: `truth` is no mapping.
        """
        if not isinstance(truth, Mapping):
            raise InvalidInputError(f"truth is of the type {type(truth).__name__}; expected results by candidate id")
        known = [row for row in self.rows if row.candidate.id in truth]
        columns = {"score": {row.candidate.id: row.score for row in known}}
        columns |= {name: {row.candidate.id: row.scores.get(name) for row in known} for name in self.estimators}
        result = {}
        for name, column in columns.items():
            scored = {key: value for key, value in column.items() if value is not None}
            if len(scored) >= 2:
                result[name] = agreement(scored, {key: truth[key] for key in scored})
        return result

    def estimator_agreement(self) -> pd.DataFrame:
        """How similarly the estimators rank the candidates: the weighted Kendall of each pair, without known results.

        Symmetric, with 1 on the diagonal, over the candidates that both estimators have scored. NaN if there are fewer
        than two of these, or if an estimator gives the same score to all of them. Estimators that agree may both be
        wrong.
        """
        import pandas as pd
        from scipy.stats import weightedtau

        def between(first: Any, second: Any) -> float:
            return float(weightedtau(first, second).statistic)  # the mean of both rankings' weights: symmetric

        columns = {name: [row.scores.get(name) for row in self.rows] for name in self.estimators}
        return pd.DataFrame(columns, dtype="float64").corr(method=between, min_periods=2)  # type: ignore[arg-type]

    def pareto(self, cost: str = "parameters", quality: str | None = None) -> tuple[RankedCandidate, ...]:
        """The rows that no other row beats: no other is as cheap and better, or as good and cheaper.

        Args:
            cost: one of `COSTS`; less is better. Rows without a known cost are left out.
            quality: `"score"`, `"verified_accuracy"` or an estimator's name; None for the order of the rows: by
                verified accuracy where rows were fine-tuned, then by score.

        Returns:
            From the cheapest to the most expensive. Rows that are equal in both are all returned.

        Raises:
            InvalidInputError: there is no such cost or quality, or no ranked row has both.

        >>> import modelselect as ms
        >>> from modelselect.leaderboard import Row
        >>> sizes = {"small": (0.7, 1), "wasteful": (0.6, 5), "large": (0.9, 9)}
        >>> rows = [Row(ms.Candidate("shelf", n), 1, score, parameters=size) for n, (score, size) in sizes.items()]
        >>> [row.candidate.name for row in ms.Leaderboard(tuple(rows)).pareto(quality="score")]
        ['small', 'large']
        """
        qualities = ("score", "verified_accuracy", *self.estimators)
        if cost not in COSTS:
            raise InvalidInputError(f"cost is {cost!r}; expected one of {', '.join(COSTS)}")
        if quality not in (None, *qualities):
            raise InvalidInputError(f"quality is {quality!r}; expected None or one of {', '.join(qualities)}")
        known = []
        for row in self.ranked:
            good = -(row.rank or 0) if quality is None else self.value(row, quality)
            if (price := getattr(row, cost)) is not None and good is not None:
                known.append((row, float(price), float(good)))
        if not known:
            hint = "" if cost not in COST_COLUMNS else " select(..., costs=True) measures it on this device (--costs)."
            raise InvalidInputError(
                f"none of the {len(self.ranked)} ranked rows has both {cost} and {quality or 'rank'}.{hint}"
            )
        front = pareto_front([price for _, price, _ in known], [good for _, _, good in known])
        return tuple(known[i][0] for i in front)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with the `columns`; a value that is not known is missing (`NaN`, `<NA>` or None)."""
        import pandas as pd

        frame = pd.DataFrame([[self.value(row, column) for column in self.columns] for row in self.rows])
        frame = frame.reindex(columns=range(len(self.columns)))
        frame.columns = pd.Index(self.columns)
        counts = {name: "Int64" for name in self.columns if name in _COUNTS}
        counts |= {name: "boolean" for name in self.columns if name == "commercial_use"}
        numbers = {name: "float64" for name in self.columns if name not in (*counts, *_WORDS)}
        return frame.astype(counts | numbers)

    def to_csv(self) -> str:
        """All columns and rows with every digit, as in `to_pandas`; a value that is not known is empty.

        A text that a spreadsheet would run as a formula has an apostrophe before it.
        """
        frame = self.to_pandas()
        frame.columns = frame.columns.map(csv_cell)
        return str(frame.map(csv_cell).to_csv(index=False, lineterminator="\n"))

    def to_json(self) -> str:
        """The ranking as a JSON document, which `from_json` reads back equal."""
        return "".join(self.to_json_pieces())

    def to_json_pieces(self) -> Iterator[str]:
        """The JSON document in pieces, since one of many rows is large."""
        return json_pieces(
            {
                "estimators": list(self.estimators),
                "rows": map(row_to_json, self.rows),
                "confidence": self.confidence,
                "better_than_guessing": self.better_than_guessing,
                "verification": None if self.verification is None else asdict(self.verification),
                "provenance": plain_value(self.provenance),
            },
            "rows",
        )

    @classmethod
    def from_json(cls, text: str, source: str = "the text") -> Self:
        """What `to_json` wrote, with rows of `row_type`.

        Args:
            text: the document.
            source: name of the text in messages, such as its path.

        Raises:
            LeaderboardError: the text is not JSON, not a ranking, of another version, or damaged: a field has a value
                that it cannot have.
        """
        content = json_content(text, source)
        known: dict[str, Any] = {}
        try:
            for name, kind in _PARTS.items():
                known[name] = typed(plain(content.get(name), name), kind, name)
            rows = tuple(row_from_json(cls.row_type, row, f"rows[{i}]") for i, row in enumerate(known.pop("rows")))
            if (budget := known["provenance"].get("budget")) is not None:
                check_budget(budget, "provenance.budget")
        except LeaderboardError as error:
            raise LeaderboardError(
                f"{source} is a damaged leaderboard: {printable(str(error))}. Create it again."
            ) from error
        return cls(rows, **known)


def _is_measured(row: RankedCandidate) -> bool:
    return row.latency_ms is not None or row.training_memory_bytes is not None


def record_of(ranking: Ranking, part: str) -> Mapping[str, Any]:
    """A part of the provenance, such as `dataset` or `settings`; empty if there is none.

    >>> record_of(Ranking(()), "dataset")
    {}
    """
    known = ranking.provenance.get(part)
    return known if isinstance(known, Mapping) else {}
