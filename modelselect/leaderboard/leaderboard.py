"""The answer: candidates in order, with every score, the reason for every failure, and where it all came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.agreement import Agreement, agreement
from modelselect.candidates.candidate import Candidate
from modelselect.errors import LIMIT, CandidateError, Failure, InvalidInputError
from modelselect.ranking.cells import shown_value
from modelselect.ranking.document import EXPECTED, FORMAT, FORMAT_VERSION, plain_value
from modelselect.ranking.row import COST_COLUMNS, COSTS, FIRST_COLUMNS, LAST_COLUMNS, name_of
from modelselect.ranking.table import fitting_columns, room_for
from modelselect.store.files import write_text
from modelselect.utils.text import PLAIN_WIDTH, UNKNOWN, printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

    from modelselect.candidates.backbone import Backbone
    from modelselect.verification.fine_tuned import FineTuned


@dataclass(frozen=True)
class Row:
    """One candidate on the leaderboard.

    Attributes:
        candidate: which, with its revision and metadata.
        rank: 1 is best; equal scores share a rank; None for a candidate that failed.
        score: what the ranking is by; higher is better.
        standard_error: of `score`: how far it would move with another probe of this size; None if that was not asked
            for, or cannot be said.
        probability_best: that its score is the highest of all, on another probe of this size.
        predicted_rank: rank by score alone, before fine-tuning re-ordered the verified candidates.
        scores: each estimator's one number, by its name.
        standard_errors: of each estimator's number, by its name, where they were asked for.
        components: each estimator's components, by its name.
        failures: why an estimator has no score for this candidate, by its name.
        failure: why the candidate as a whole failed.
        warnings: what an estimator warned of while it scored this candidate, by its name.
        verified_accuracy: accuracy on the held-out part after fine-tuning, from 0 to 1.
        verified_interval: its 95% interval.
        parameters: number of parameters.
        macs: multiply-accumulates for one input.
        feature_dim: width of the features.
        seconds: spent on it, when it was first computed.
        embedding: its archi2vec vector.
        nearest: (candidate id, cosine similarity) of the most similar architectures on this board.
        cluster: number of the cluster of architectures on this board that it belongs to.
        weights_key: digest of the weights that were ranked, where the candidate has no revision to tell them by.
        latency_ms: milliseconds from one prepared row to its features, on this device; None if not measured.
        throughput: rows a second, in batches that fit.
        memory_bytes: weights, and what one row takes besides at its peak.
        license: its licence, as its zoo knows it.
        download_bytes: bytes that loading it fetches where none of it is here yet, as its zoo knows it.
        probe_rows: rows that its scores come from, where a budget decided how many; None: all of the probe.
        fine_tuned: key of its fine-tuned weights in the store, where they were kept: those of the best one are.
        fine_tuned_in: folder of that store, where it is not the user's own.
        stopped: why it was not shown more rows, where a budget stopped it before others.
    """

    candidate: Candidate
    rank: int | None = None
    score: float | None = None
    standard_error: float | None = None
    probability_best: float | None = None
    predicted_rank: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    components: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    failure: Failure | None = None
    warnings: Mapping[str, str] = field(default_factory=dict)
    verified_accuracy: float | None = None
    verified_interval: tuple[float, float] | None = None
    parameters: int | None = None
    macs: int | None = None
    feature_dim: int | None = None
    seconds: float = field(default=0.0, compare=False)
    embedding: tuple[float, ...] | None = None
    nearest: tuple[tuple[str, float], ...] = ()
    cluster: int | None = None
    weights_key: str | None = None
    latency_ms: float | None = field(default=None, compare=False)
    throughput: float | None = field(default=None, compare=False)
    memory_bytes: int | None = field(default=None, compare=False)
    license: str | None = None
    download_bytes: int | None = None
    probe_rows: int | None = None
    stopped: str | None = None
    fine_tuned: str | None = None
    fine_tuned_in: str | None = field(default=None, compare=False)

    @property
    def status(self) -> str:
        """`ok`, or what failed and why, or why it was not shown all rows."""
        if self.failure is not None:
            return f"{'left out' if self.failure.stage == LIMIT else 'failed'}: {self.failure.reason}"
        describe_budget = [] if self.stopped is None else [self.stopped]
        describe_budget += [
            failure.reason if failure.reason.startswith(name) else f"{name}: {failure.reason}"
            for name, failure in self.failures.items()
        ]
        return "; ".join(describe_budget) or "ok"

    def load(
        self,
        *,
        fine_tuned: bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> Backbone:
        """The candidate ready to use: fine-tuned where its weights were kept, else pre-trained.

        Fine-tuned, its module gives (N, classes) logits of `class_names` for a batch that its preprocessing made.

        Args:
            fine_tuned: False for the pre-trained weights in any case; True for an error where there are no others.
            cache_dir: the store that holds the fine-tuned weights; by default that of the run, then the user's own.
            trust_remote_code: whether it may run code that it brings.

        Raises:
            CandidateError: it cannot be loaded; its weights have changed since it was ranked; its fine-tuned weights
                are not here; or it is a bare module, which the caller has and no zoo.
        """
        from modelselect.evaluation.own_modules import ModuleZoo
        from modelselect.host.host import get_host

        if self.candidate.zoo == ModuleZoo.name:
            raise CandidateError(
                f"{self.candidate} is a bare module that was given to select(): it is the caller's own, and no zoo can "
                "load it. Use the module itself; where it was fine-tuned, save() writes its weights."
            )
        tuned = None
        if fine_tuned or (fine_tuned is None and self.fine_tuned is not None):
            tuned = self._tuned(cache_dir)
        backbone = get_host().zoo(self.candidate.zoo).load(self.candidate, trust_remote_code=trust_remote_code)
        if self.weights_key is not None and backbone.weights_key != self.weights_key:
            raise CandidateError(
                f"the weights of {self.candidate} have changed since it was ranked, so that its scores are not theirs. "
                "Rank it again with select()."
            )
        return backbone if tuned is None else tuned.on(backbone, str(self.fine_tuned))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """Writes the fine-tuned candidate as a folder, weights as safetensors, with class names and preprocessing.

        A model of timm is written so that `timm.create_model("local-dir:PATH", pretrained=True)` loads it, one of
        transformers for `AutoModelForImageClassification` or `AutoModelForSequenceClassification`; either is also a
        candidate, `dir:PATH`. What neither of them has a form for becomes a folder that `dir:PATH` alone loads, where
        the candidate it came from can be had. Of a bare module, the caller's own, the weights are written.

        Args:
            path: a new folder, or an empty one.
            cache_dir: see `load`.
            trust_remote_code: see `load`.

        Raises:
            CandidateError: it was not fine-tuned, its fine-tuned weights are not here, or it cannot be loaded.
            InvalidInputError: there is something at `path` already, or it cannot be written.
        """
        from modelselect.verification import export

        export.write(self._tuned(cache_dir), self.candidate, Path(path), trust_remote_code=trust_remote_code)

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> str:
        """Uploads what `save` writes, with a model card, as a model repository.

        Args:
            repository: `owner/name`, or `name` of the token's owner; made if there is none.
            private: whether a new repository is private; None for the owner's default.
            token: None for the one that `hf auth login` keeps, or of the environment.
            cache_dir: see `load`.
            trust_remote_code: see `load`.

        Returns:
            The commit's page.

        Raises:
            CandidateError: as `save`.
            InvalidInputError: that is no name of a repository.
            HubError: the Hub refuses, or cannot be reached.
        """
        from modelselect.leaderboard import model_card

        tuned = self._tuned(cache_dir)
        return model_card.publish(
            tuned, self, repository, private=private, token=token, trust_remote_code=trust_remote_code
        )

    def _tuned(self, cache_dir: str | os.PathLike[str] | None) -> FineTuned:
        from modelselect.verification.fine_tuned import FineTuned

        if self.fine_tuned is None:
            why = "it was not fine-tuned" if self.verified_accuracy is None else "only the best one's are kept"
            raise CandidateError(
                f"{self.candidate} has no fine-tuned weights: {why}. Fine-tune with select(..., top_k=1), or load the "
                "pre-trained weights with load(fine_tuned=False)."
            )
        return FineTuned.of(self.fine_tuned, [cache_dir] if cache_dir else [self.fine_tuned_in, None])


@dataclass(frozen=True)
class Leaderboard:
    """The ranked answer of `select()`.

    Attributes:
        rows: best first; candidates that failed come last.
        estimators: the estimators' names, in the order of their columns.
        provenance: dataset, sample, seeds, versions, settings and times: what it takes to do it again.
        confidence: how probable it is that the first by score is better by score than the second, on another probe of
            this size; None where `select()` was not asked for resamples. It says nothing of a larger probe.
    """

    rows: tuple[Row, ...]
    estimators: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    confidence: float | None = None

    @classmethod
    def empty(cls) -> Leaderboard:
        """A leaderboard of no candidates."""
        return cls(())

    @property
    def best(self) -> Row:
        """The first row.

        Raises:
            InvalidInputError: nothing was ranked.
        """
        if not self.ranked:
            raise InvalidInputError("no candidate was ranked, so there is no best one; see the rows' status")
        return self.rows[0]

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in order: fixed ones, and one for each estimator that is not one of the fixed ones already."""
        fixed = {*FIRST_COLUMNS, *COST_COLUMNS, *LAST_COLUMNS}
        measured = COST_COLUMNS if any(row.latency_ms is not None for row in self.rows) else ()
        estimators = (name for name in self.estimators if name not in fixed)
        return (*FIRST_COLUMNS, *estimators, *LAST_COLUMNS[:-2], *measured, *LAST_COLUMNS[-2:])

    @property
    def verification(self) -> Agreement | None:
        """How well the score agrees with what fine-tuning found, over the candidates that were fine-tuned.

        `top1_regret` is what trusting the score would have cost: the accuracy of the best of them, minus that of the
        first by score. None where fewer than two were fine-tuned. (They are the best by score of all: an agreement
        over these says little of one over the whole pool.)
        """
        known = [(row.score, row.verified_accuracy) for row in self.rows]
        pairs = [(score, accuracy) for score, accuracy in known if score is not None and accuracy is not None]
        if len(pairs) < 2:
            return None
        return agreement([score for score, _ in pairs], [accuracy for _, accuracy in pairs])

    def agreement(self, truth: Mapping[str, float]) -> dict[str, Agreement]:
        """How well `score` and each estimator agree with known results (by candidate id, higher is better).

        Candidates without a known result, and estimators with fewer than two scores, are left out.
        """
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
        """How alike the estimators rank the candidates: weighted Kendall of each with each, without any known result.

        Symmetric, 1 on the diagonal, over the candidates that both have scored; missing (NaN) where these are fewer
        than two, or where one of the two gives them all the same score. Estimators that agree need not both be right.
        """
        import pandas as pd
        from scipy.stats import weightedtau

        def between(first: Any, second: Any) -> float:
            return float(weightedtau(first, second).statistic)  # the mean of both rankings' weights: symmetric

        columns = {name: [row.scores.get(name) for row in self.rows] for name in self.estimators}
        return pd.DataFrame(columns, dtype="float64").corr(method=between, min_periods=2)  # type: ignore[arg-type]

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with `columns`; what is not known is missing (`NaN`, `<NA>` or None)."""
        import pandas as pd

        frame = pd.DataFrame([[self._cell(row, column) for column in self.columns] for row in self.rows])
        frame = frame.reindex(columns=range(len(self.columns)))
        frame.columns = pd.Index(self.columns)
        whole = ("rank", "parameters", "macs", "feature_dim", "memory_bytes", "download_bytes")
        counts = {name: "Int64" for name in self.columns if name in whole}
        numbers = {name: "float64" for name in self.columns if name not in {*counts, "candidate", "license", "status"}}
        return frame.astype(counts | numbers)

    def pareto(self, cost: str = "parameters", quality: str | None = None) -> tuple[Row, ...]:
        """The rows that no other beats: none is as cheap and better, or as good and cheaper.

        Args:
            cost: one of `COSTS`; less is better. Rows of which it is not known are left out.
            quality: `"score"`, `"verified_accuracy"` or an estimator's name; None for the board's own order, which is
                that of verified accuracy where rows were verified, and of the score below them.

        Returns:
            From the cheapest to the dearest; of rows that are equal in both, all.

        Raises:
            InvalidInputError: no such cost or quality, or no ranked row of which both are known.

        >>> import modelselect as ms
        >>> sizes = {"small": (0.7, 1), "wasteful": (0.6, 5), "large": (0.9, 9)}
        >>> rows = [Row(ms.Candidate("shelf", n), 1, score, parameters=size) for n, (score, size) in sizes.items()]
        >>> [row.candidate.name for row in ms.Leaderboard(tuple(rows)).pareto(quality="score")]
        ['small', 'large']
        """
        from modelselect.ranking.pareto import pareto_front

        qualities = ("score", "verified_accuracy", *self.estimators)
        if cost not in COSTS:
            raise InvalidInputError(f"cost is {cost!r}; expected one of {', '.join(COSTS)}")
        if quality not in (None, *qualities):
            raise InvalidInputError(f"quality is {quality!r}; expected None or one of {', '.join(qualities)}")
        known = []
        for row in self.ranked:
            good = -(row.rank or 0) if quality is None else self._cell(row, quality)
            if (price := getattr(row, cost)) is not None and good is not None:
                known.append((row, float(price), float(good)))
        if not known:
            hint = "" if cost not in COST_COLUMNS else " select(..., costs=True) measures it on this device."
            raise InvalidInputError(
                f"{cost} and {quality or 'rank'} are not both known of any of {len(self.ranked)} ranked rows.{hint}"
            )
        front = pareto_front([price for _, price, _ in known], [good for _, _, good in known])
        return tuple(known[i][0] for i in front)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything as JSON, atomically; `Leaderboard.load` reads it back equal.

        Raises:
            InvalidInputError: the folder does not exist or cannot be written.
        """
        write_text(path, self.to_json())

    def to_json(self) -> str:
        """What `save` writes."""
        document = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "estimators": list(self.estimators),
            "rows": [_row_to_json(row) for row in self.rows],
            "confidence": self.confidence,
            "verification": None if self.verification is None else asdict(self.verification),
            "provenance": plain_value(self.provenance),
        }
        return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Leaderboard:
        """Reads what `save` wrote.

        Raises:
            InvalidInputError: the file is missing, not a leaderboard, or of a newer version.
        """
        from modelselect.ranking.notes import describe_budget

        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"it is no JSON ({error})"
            raise InvalidInputError(f"cannot read a leaderboard from {str(path)!r}: {reason}; {EXPECTED}") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InvalidInputError(f"{str(path)!r} is not a leaderboard; {EXPECTED}")
        if document.get("version") != FORMAT_VERSION:
            raise InvalidInputError(
                f"{str(path)!r} has leaderboard version {document.get('version')}; this modelselect reads version "
                f"{FORMAT_VERSION}. Upgrade modelselect, or make the leaderboard again."
            )
        try:
            rows = tuple(_row_from_json(row) for row in document["rows"])
            provenance = dict(document["provenance"])
            if provenance.get("budget") is not None:
                describe_budget(provenance["budget"])  # whoever wrote it: it is to be shown
            return cls(rows, tuple(document["estimators"]), provenance, document.get("confidence"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"{str(path)!r} is a damaged leaderboard: {error!r}. Make it again.") from error

    def to_table(self, width: int | None = None) -> Table:
        """A Rich table for the terminal, without columns that hold nothing.

        Args:
            width: characters there are; columns that matter less are left out where they do not fit, and named below.
                None shows all.
        """
        from rich.table import Table
        from rich.text import Text

        cells = self._filled()
        filled = list(cells)
        if all(row.status == "ok" for row in self.rows):
            filled = [column for column in filled if column != "status"]
        shown = filled if width is None else fitting_columns(filled, cells, width)
        table = Table(header_style="bold")
        foldable = ["status", "verified_accuracy"]
        if width is not None and 1 + sum(room_for(column, cells[column]) for column in shown) > width:
            foldable.append("candidate")  # a long folder must not push the answer off the table
        for column in shown:
            words = column in ("candidate", "status")
            table.add_column(
                column.replace("_", " "),
                justify="left" if words else "right",
                overflow="fold",
                no_wrap=column not in foldable,
            )
        for index, row in enumerate(self.rows):
            limited = row.failure is not None and row.failure.stage == LIMIT
            style = "bold green" if row.rank == 1 else "dim" if limited else "red" if row.failure else ""
            table.add_row(*(Text(printable(cells[column][index])) for column in shown), style=style)
        notes = self._notes()
        if hidden := [column for column in filled if column not in shown]:
            notes.append(f"not shown, for want of width: {', '.join(hidden)}")
        if notes:
            table.caption = Text("\n".join(notes))
            table.caption_justify = "left"
        return table

    def _notes(self) -> list[str]:
        """How sure the first place is, how right the prediction was, and which estimators warned or failed, and why."""
        notes = []
        if self.confidence is not None:
            first, second = (row for row in sorted(self.ranked, key=lambda row: row.predicted_rank or 0)[:2])
            notes.append(
                f"with another probe of this size, {name_of(first)} would score above {name_of(second)} "
                f"with a probability of {'more than 99%' if self.confidence > 0.99 else f'{self.confidence:.0%}'}"
            )
        if (found := self.verification) is not None:
            notes.append(
                f"of the {found.n} fine-tuned, the order by score (rank in brackets where it is another) agrees with "
                f"that by accuracy to a weighted Kendall of {found.weighted_kendall:.2f}; to trust it would have cost "
                f"{100 * found.top1_regret:.1f} points"
            )
        if isinstance(spent := self.provenance.get("budget"), Mapping):
            from modelselect.ranking.notes import describe_budget

            notes += describe_budget(spent)
        for name in dict.fromkeys((*self.estimators, *(name for row in self.rows for name in row.failures))):
            reasons = [row.warnings[name] for row in self.rows if name in row.warnings]
            reasons += [row.failures[name].reason for row in self.rows if name in row.failures]
            if reasons:
                notes.append(f"{name}, for {len(reasons)} of {len(self.rows)} candidates: {reasons[0]}")
        return notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield self.to_table(options.max_width)

    def __str__(self) -> str:
        import io

        from rich.console import Console

        console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None)
        console.print(self)
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    def _repr_html_(self) -> str:
        from html import escape

        columns, rows = self.cells()
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div style="overflow-x: auto">{table}{notes}</div>'

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The columns that hold something, and of each row the text that stands in them."""
        texts = self._filled()
        return list(texts), [[column[i] for column in texts.values()] for i in range(len(self.rows))]

    def _filled(self) -> dict[str, list[str]]:
        """The text of every row, by column, of the columns that hold something."""
        texts = {column: [self._text(row, column) for row in self.rows] for column in self.columns}
        return {c: column for c, column in texts.items() if c in FIRST_COLUMNS or any(t != UNKNOWN for t in column)}

    def report(self, path: str | os.PathLike[str], *, atlas: str | os.PathLike[str] | None = None) -> None:
        """Writes the answer as a web page: one file that needs nothing from anywhere, to be mailed or published.

        Args:
            path: where it goes, `board.html`.
            atlas: file of the atlas of architectures (`modelselect embed`) that candidates are shown in; None for the
                user's own, where there is one.

        Raises:
            InvalidInputError: it cannot be written; the atlas cannot be read; Bokeh, which draws, is missing.
        """
        from modelselect.report.page import html

        write_text(path, html(self, atlas))

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, token: str | None = None, endpoint: str | None = None
    ) -> str:
        """Puts the leaderboard into a dataset repository on the Hub, in one commit; `from_hub` reads it back.

        The repository is made if there is none. It then holds the leaderboard as JSON and as a table that the Hub's
        viewer and `datasets.load_dataset` read, the page of `report` (where the extra `report` is installed), a card,
        and what was measured, as a transfer history: that of earlier leaderboards there is kept and added to. All of it
        is public unless the repository is private, folders and class names included.

        Args:
            repository: `owner/name`.
            private: whether a new repository is private; None for the owner's default.
            token: None for the one that `hf auth login` keeps, or HF_TOKEN.
            endpoint: the Hub's address; None for the client's own (`HF_ENDPOINT`).

        Returns:
            The commit's page.

        Raises:
            HubError: no token, no right to write there, no network: the message says which.
            InvalidInputError: that is no name of a repository, or it holds something else.
        """
        from modelselect.leaderboard.publishing import publish

        return publish(self, repository, private=private, token=token, endpoint=endpoint)

    @classmethod
    def from_hub(
        cls, repository: str, *, revision: str | None = None, token: str | None = None, endpoint: str | None = None
    ) -> Leaderboard:
        """The leaderboard that `push_to_hub` put into a dataset repository.

        Args:
            repository: `owner/name`.
            revision: a commit, tag or branch; None for the latest.
            token: None for the one that `hf auth login` keeps, or HF_TOKEN.
            endpoint: the Hub's address; None for the client's own.

        Raises:
            HubError: there is no such repository, you may not see it, or it cannot be reached.
            InvalidInputError: that is no name of a repository, or it holds no leaderboard.
        """
        from modelselect.leaderboard.publishing import fetch

        return fetch(repository, revision=revision, token=token, endpoint=endpoint)

    def plot(self, cost: str = "parameters") -> Figure:
        """Score against cost, with the Pareto front: the candidates that none beats in both.

        Args:
            cost: one of `COSTS`, such as `"parameters"`, `"macs"` or `"latency_ms"`.

        Returns:
            A matplotlib figure, which a notebook shows.

        Raises:
            InvalidInputError: the cost is not known of two ranked candidates, or matplotlib is missing.
        """
        try:
            from modelselect.report.figure import draw
        except ImportError as error:
            raise InvalidInputError(
                f"a plot needs matplotlib ({error}); install it with: pip install 'modelselect-automl[plots]'"
            ) from error
        return draw(self, cost)

    def to_markdown(self) -> str:
        r"""A Markdown table of the columns that hold something; text from outside is escaped.

        >>> import modelselect as ms
        >>> rows = (Row(ms.Candidate("timm", "resnet_18"), rank=1, score=0.75, parameters=11_689_512),)
        >>> print(ms.Leaderboard(rows).to_markdown(), end="")
        | rank | candidate | score | parameters | seconds | status |
        | --: | --- | --: | --: | --: | --- |
        | 1 | timm:resnet\_18 | 0.75 | 11.7M | 0.0 | ok |
        """
        from modelselect.ranking.text import markdown

        return markdown(self)

    def to_latex(self) -> str:
        """A LaTeX tabular (package booktabs) of the columns that hold something; text from outside is escaped."""
        from modelselect.ranking.text import latex

        return latex(self)

    def to_csv(self) -> str:
        """All columns and rows with every digit, as `to_pandas` has them; empty where something is not known."""
        return str(self.to_pandas().to_csv(index=False, lineterminator="\n"))

    def model_card(self) -> str:
        """A Markdown section for the card of the model that was fine-tuned: what was chosen, among what, and how."""
        from modelselect.report.model_card import model_card

        return model_card(self)

    def _text(self, row: Row, column: str) -> str:
        if column == "status" and row.failures and row.failure is None:
            without = f"without {', '.join(row.failures)}"
            return without if row.stopped is None else f"{row.stopped}; {without}"
        if column == "candidate":
            twins = [other for other in self.rows if name_of(other) == name_of(row)]
            return name_of(row) if len(twins) == 1 else row.candidate.id
        if column == "rank" and row.verified_accuracy is not None and row.predicted_rank not in (None, row.rank):
            return f"{row.rank} ({row.predicted_rank})"
        return shown_value(column, self._cell(row, column), row)

    def _cell(self, row: Row, column: str) -> Any:
        if column == "candidate":
            return row.candidate.id
        if column in FIRST_COLUMNS or column in LAST_COLUMNS or column in COST_COLUMNS:
            return getattr(row, column)
        return row.scores.get(column)


def _row_to_json(row: Row) -> dict[str, Any]:
    candidate = row.candidate
    document = {name: plain_value(getattr(row, name)) for name in Row.__dataclass_fields__ if name != "candidate"}
    document["candidate"] = {
        "zoo": candidate.zoo,
        "name": candidate.name,
        "revision": candidate.revision,
        "metadata": plain_value(candidate.metadata),
    }
    return {"candidate": document.pop("candidate"), **document}


def _row_from_json(document: Mapping[str, Any]) -> Row:
    fields = {name: value for name, value in document.items() if name in Row.__dataclass_fields__}  # later ones are new
    fields["candidate"] = Candidate(**fields["candidate"])
    fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
    fields["failures"] = {name: Failure(**failure) for name, failure in fields["failures"].items()}
    fields["embedding"] = None if fields["embedding"] is None else tuple(fields["embedding"])
    if fields["verified_interval"] is not None:
        low, high = fields["verified_interval"]
        fields["verified_interval"] = (low, high)
    fields["nearest"] = tuple((other, similarity) for other, similarity in fields["nearest"])
    return Row(**fields)
