"""`Subject`: what a report is about. Every section is made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from modelselect.ranking.ranking import Ranking, record_of
from modelselect.ranking.report_section import ReportSection
from modelselect.report.answer import NOTHING_KEPT, Kept
from modelselect.report.map import Map
from modelselect.report.names import display_names


@dataclass(frozen=True)
class Pictures:
    """Small pictures of the dataset's rows, as `data:` addresses.

    Attributes:
        classes: some of each class, by the class's name.
        mistakes: by the number of the held-out row.
    """

    classes: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    mistakes: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes:
        board: the ranking.
        plane: the map of architectures; None for none.
        pictures: of the dataset's rows, if the user wants them in the report.
        kept: the files that a reader can load the answer from.
        added: the sections of plugins, each with who registered it.
    """

    board: Ranking
    plane: Map | None = None
    pictures: Pictures = Pictures()
    kept: Kept = NOTHING_KEPT
    added: Sequence[tuple[ReportSection, str]] = ()

    @cached_property
    def called(self) -> list[str]:
        """The names of the rows."""
        return display_names(self.board)

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What the provenance says of the dataset."""
        return record_of(self.board, "dataset")

    @property
    def classes(self) -> list[str]:
        """The names of the dataset's classes; empty if they are not known."""
        known = self.dataset.get("classes")
        return [str(name) for name in known] if isinstance(known, list | tuple) else []

    @property
    def class_rows(self) -> list[int]:
        """The number of rows of each class that the candidates were shown; empty if that is not known."""
        known = self.dataset.get("class_rows")
        counts = list(known) if isinstance(known, list | tuple) else []
        return counts if len(counts) == len(self.classes) and all(isinstance(n, int) for n in counts) else []
