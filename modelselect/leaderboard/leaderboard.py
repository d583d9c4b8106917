"""`Leaderboard`: the answer of `select()`, which can be shown, saved, reported, plotted and published."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from modelselect.errors import InvalidInputError, LeaderboardError
from modelselect.evidence.evidence import Evidence
from modelselect.host.lookup import added_sections
from modelselect.hub import LARGEST
from modelselect.leaderboard import publishing, scripts
from modelselect.leaderboard.map import architecture_map
from modelselect.leaderboard.row import Row
from modelselect.ranking.cells import text_rows
from modelselect.ranking.document import EXPECTED
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.ranking.table import rich_table
from modelselect.ranking.text import html_table, latex, markdown
from modelselect.report.answer import Kept, closing_lines
from modelselect.report.figure import PlotSettings, draw
from modelselect.report.markdown import markdown as report_in_markdown
from modelselect.report.model_card import model_card
from modelselect.report.names import display_names, ranked_by
from modelselect.report.page import check_drawable, html
from modelselect.report.subject import Pictures, Subject
from modelselect.report.thumbnails import pictures_of
from modelselect.store.files import write_text
from modelselect.utils.target_kinds import CLASSES, ROW
from modelselect.utils.text import in_lines, line_width, plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions
    from rich.table import Table
    from rich.text import Text


@dataclass(frozen=True)
class Leaderboard(Ranking):
    """The ranked answer of `select()`.

    Attributes:
        rows: the best candidate first; candidates that failed come last.
        estimators: names of the estimators, in the order of their columns.
        provenance: dataset, sample, seeds, versions, settings and times: all that is needed to repeat the run.
        confidence: probability that the first is the best of all after fine-tuning, by all evidence of the run:
            `rows[0].probability_best`. None if there is nothing to compare.
        better_than_guessing: whether the features of any candidate tell the classes apart better than guessing does;
            None if no accuracy of `knn` or `linear_probe` is known.
    """

    row_type: ClassVar[type[Row]] = Row

    rows: tuple[Row, ...]

    if TYPE_CHECKING:  # the rows of a leaderboard are `Row`s

        def __iter__(self) -> Iterator[Row]: ...

        @overload
        def __getitem__(self, place: int) -> Row: ...

        @overload
        def __getitem__(self, place: slice) -> tuple[Row, ...]: ...

        def __getitem__(self, place: int | slice) -> Row | tuple[Row, ...]: ...

        @property
        def best(self) -> Row: ...

        @property
        def ranked(self) -> tuple[Row, ...]: ...

        def pareto(self, cost: str = "parameters", quality: str | None = None) -> tuple[Row, ...]: ...

    @classmethod
    def of(cls, ranking: Ranking) -> Self:
        """The same ranking with the methods of a leaderboard."""
        known = {field.name: getattr(ranking, field.name) for field in fields(Ranking)}
        return cls(**{**known, "rows": tuple(map(Row.of, ranking.rows))})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything as JSON, atomically; `Leaderboard.load` reads it back equal.

        Raises:
            InvalidInputError: the folder does not exist or cannot be written.
        """
        write_text(path, self.to_json_pieces())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote.

        Raises:
            LeaderboardError: the file is missing, not a leaderboard, of another version, or damaged. The message names
                the field that has a wrong value.
        """
        source = repr(str(path))
        try:
            with Path(path).open("rb") as file:  # perhaps a pipe or a device
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise LeaderboardError(f"{source} has more than {LARGEST:,} bytes; {EXPECTED}")
            text = content.decode("utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"the content is not text ({error})"
            raise LeaderboardError(f"cannot read a leaderboard from {source}: {reason}; {EXPECTED}") from error
        return cls.from_json(text, source)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The columns that hold a value, and the text of each row in them."""
        return text_rows(self)

    def to_table(self, width: int | None = None) -> Table:
        """A Rich table for the terminal, without empty columns.

        Args:
            width: number of characters in a line. Less important columns that do not fit are hidden, and a note below
                the table names them. None shows all columns.
        """
        return rich_table(self, width, display_names(self), ranked_by(self))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        from rich.text import Text

        yield self.to_table(options.max_width)
        yield Text("\n".join(["", *closing_lines(self)]))

    def __str__(self) -> str:
        width = line_width()
        return "\n".join([plain_text(self.to_table(width), width), *in_lines(closing_lines(self), width), ""])

    def __repr__(self) -> str:
        return str(self).rstrip()

    def _repr_html_(self) -> str:
        return html_table(self, closing_lines(self))

    def to_markdown(self) -> str:
        r"""A Markdown table of the columns that hold a value; text from outside is escaped.

        >>> import modelselect as ms
        >>> from modelselect.leaderboard import Row
        >>> rows = (Row(ms.Candidate("timm", "resnet_18"), rank=1, score=0.75, parameters=11_689_512),)
        >>> print(ms.Leaderboard(rows).to_markdown(), end="")
        | rank | candidate | score | parameters | seconds | status |
        | --: | --- | --: | --: | --: | --- |
        | 1 | timm:resnet\_18 | 0.75 | 11.7M | 0.0 | ok |
        """
        return markdown(self)

    def to_latex(self) -> str:
        """A LaTeX tabular (package booktabs) of the columns that hold a value; text from outside is escaped."""
        return latex(self)

    def plot(
        self,
        cost: str = "parameters",
        *,
        kind: str = "cost",
        accuracies: Mapping[str, float] | None = None,
        measure: str = "weighted_kendall",
        evidence: Mapping[str, Evidence] | None = None,
        plane: str = "tsne",
        seed: int = 0,
    ) -> Figure:
        """A figure of the leaderboard. It needs matplotlib: `pip install "modelselect-automl[plots]"`.

        Args:
            cost: for `kind="cost"`, one of `COSTS`, such as `"parameters"`, `"macs"` or `"latency_ms"`.
            kind: `"cost"`: score against cost, with the Pareto front, the candidates that no other candidate beats in
                both; `"scores"`: the scores of each estimator against accuracies after fine-tuning; `"time"`: the
                agreement of each estimator with these accuracies against the time that it takes for one candidate;
                `"features"`: the features of each candidate in the plane, coloured by class.
            accuracies: for `"scores"` and `"time"`, the accuracy of each candidate by id or by name; None for those
                that this run measured (`top_k`).
            measure: for `"time"`, an attribute of `Agreement`.
            evidence: for `"features"`, what `modelselect.features` gives for a list of candidates.
            plane: for `"features"`, `"tsne"`, or `"umap"` if umap-learn is installed.
            seed: for `"features"`, of the map into the plane.

        Returns:
            A matplotlib figure, which a notebook shows.

        Raises:
            InvalidInputError: an argument cannot be used, fewer than two candidates have what the figure needs, or
                matplotlib is missing.
        """
        return draw(self, kind, PlotSettings(cost, accuracies, measure, evidence, plane, seed))

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        atlas: str | os.PathLike[str] | None = None,
        board: str | os.PathLike[str] | None = None,
        winner: str | os.PathLike[str] | None = None,
        thumbnails: Any = None,
    ) -> None:
        """Writes the answer as a web page: a single file that loads nothing from elsewhere; or as Markdown.

        Args:
            path: the file to write, such as `board.html`. A name that ends in `.md` makes Markdown with the same
                sections.
            atlas: file of the atlas of architectures (`modelselect embed`) on which the candidates are shown; None for
                the user's own atlas, if there is one.
            board: the file that `save` wrote, if the page shall say how to load it.
            winner: the folder that `board.best.save` wrote, if the page shall say how to load it.
            thumbnails: the dataset that was given to `select()`, or a probe of it: the page then shows small pictures
                of its rows. None shows none, since data may be private.

        Raises:
            InvalidInputError: the page cannot be written, the atlas cannot be read, `thumbnails` is another dataset or
                one without images, or a library that draws the page is missing.
        """
        is_markdown = Path(path).suffix == ".md"
        if not is_markdown:
            check_drawable()
        pictures = Pictures() if thumbnails is None or is_markdown else pictures_of(self, thumbnails)
        kept = Kept(None if board is None else str(board), None if winner is None else str(winner))
        subject = Subject(self, architecture_map(self, atlas), pictures, kept, added_sections())
        write_text(path, report_in_markdown(subject) if is_markdown else html(subject))

    def model_card(self) -> str:
        """A Markdown section for the card of the fine-tuned model: what was chosen, among what, and how."""
        return model_card(self)

    def script(self, library: str) -> str:
        """A Python script that fine-tunes the best candidate without modelselect, with the recipe of this run.

        Args:
            library: `"transformers"` (`Trainer` and `TrainingArguments`), `"timm"`, or `"autogluon"`
                (`MultiModalPredictor`).

        Raises:
            InvalidInputError: the library is unknown or cannot load the candidate, or the task is not to find the
                class of one image or text.
        """
        task = record_of(self, "task")
        of_parts = task.get("unit", ROW) != ROW
        if task.get("targets", CLASSES) != CLASSES or of_parts or task.get("name") == "text-pair":
            raise InvalidInputError(
                "scripts are written for classes, and this leaderboard is of another task. Use "
                "board.best.save(folder) or --save, which write the fine-tuned network"
            )
        return scripts.script(self, library)

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, token: str | None = None, endpoint: str | None = None
    ) -> str:
        """Puts the leaderboard into a dataset repository on the Hub, in one commit; `from_hub` reads it back.

        The repository is created if it does not exist. It holds the leaderboard as JSON and as a table that the Hub's
        viewer and `datasets.load_dataset` read, the page of `report` (if the extra `report` is installed), a card,
        and the measurements as a transfer history, which adds to that of earlier leaderboards there. All of it is
        public unless the repository is private, including folders and class names.

        Args:
            repository: `owner/name`.
            private: whether a new repository is private; None for the owner's default.
            token: None for the token that `hf auth login` stores, or HF_TOKEN.
            endpoint: the Hub's address; None for the client's default (`HF_ENDPOINT`).

        Returns:
            The address of the commit's page.

        Raises:
            HubError: there is no token, no right to write there, or no network; the message says which.
            InvalidInputError: `repository` is not the name of a repository, or it holds something else.
        """
        return publishing.publish(self, repository, private=private, token=token, endpoint=endpoint)

    @classmethod
    def from_hub(
        cls, repository: str, *, revision: str | None = None, token: str | None = None, endpoint: str | None = None
    ) -> Self:
        """The leaderboard that `push_to_hub` put into a dataset repository.

        Args:
            repository: `owner/name`.
            revision: a commit, tag or branch; None for the latest.
            token: None for the token that `hf auth login` stores, or HF_TOKEN.
            endpoint: the Hub's address; None for the client's default.

        Raises:
            HubError: the repository does not exist, you may not see it, or the Hub cannot be reached.
            InvalidInputError: `repository` is not the name of a repository, or it holds no leaderboard.
        """
        return cls.load(publishing.fetch(repository, revision=revision, token=token, endpoint=endpoint))
