"""`Plan`: what a selection would download and compute, as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from modelselect.budget.budget import Budget
from modelselect.candidates.candidate import Candidate
from modelselect.selection.forecast import PlannedRound
from modelselect.utils.text import counted, duration, in_bytes, interactive_text, line_width, plain_text, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

_COLUMNS = ("candidate", "download", "parameters", "memory", "MACs", "forward pass", "in the store", "remark")

_LESSER_COLUMNS = ("memory", "MACs", "parameters")
"""Hidden one after another if the terminal is narrow."""

_LEGIBLE = 32
"""Characters of a candidate's name, or of a remark, in one line."""


@dataclass(frozen=True)
class PlannedCandidate:
    """What one candidate would cost; None for what is unknown without loading it.

    Attributes:
        candidate: the candidate.
        download_bytes: maximum number of bytes to download. Files in a library's cache are not downloaded again. 0 if
            the candidate is on this machine.
        parameters: number of parameters.
        memory: bytes of its weights once loaded. A batch takes more; it is halved until it fits.
        macs: multiply-accumulates of one row.
        seconds: estimated time of the forward pass over the probe; 0 if its evidence is in the store.
        stored: `"scores"` if all that is asked for is in the store; `"features"` if no forward pass is needed; `""`
            if nothing helpful is in the store; None if the candidate has no revision: only its weights could say.
        remark: why the candidate will not, or may not, be ranked.
    """

    candidate: Candidate
    download_bytes: int | None = None
    parameters: int | None = None
    memory: int | None = None
    macs: int | None = None
    seconds: float | None = None
    stored: str | None = None
    remark: str = ""


@dataclass(frozen=True)
class Plan:
    """What `select()` would do with the same arguments. Printing it shows a table.

    Attributes:
        rows: one for each candidate, in the order given.
        probe_rows: rows that each candidate would be shown.
        device: the device that runs the forward passes.
        macs_per_second: multiply-accumulates per second, measured now in a short run of a small network.
        decode_seconds: time to read and decode the probe once, as every distinct preprocessing does; estimated from
            some rows.
        recalled_from: number of candidates before recall reduced the pool to `rows`; None without recall.
        budget: what the run may spend; None without a budget.
        rounds: under a budget, and in rounds without one, the probes that candidates are shown one after another, if
            half of them are eliminated after each.
        smallest_budget: the smallest amount that ranks a candidate of typical size, in the unit of the budget; None if
            the budget ranks something, or if that is unknown.
        fine_tuning_seconds: time to fine-tune `top_k` candidates of typical size after that, without a budget; None
            if unknown.
        top_k: number of candidates to fine-tune; under a budget, at most.
        tune: number of candidates to fine-tune for one epoch before that; under a budget, at most.
        tuning_seconds: time for these epochs, without a budget; None if unknown. `fine_tuning_seconds` continues from
            them.
        remarks: what the user must know of the dataset: what was left out, and what was read in a special way.
    """

    rows: tuple[PlannedCandidate, ...]
    probe_rows: int
    device: str
    macs_per_second: float
    decode_seconds: float
    recalled_from: int | None = None
    budget: Budget | None = None
    rounds: tuple[PlannedRound, ...] = ()
    smallest_budget: int | None = None
    fine_tuning_seconds: float | None = None
    top_k: int = 0
    tune: int = 0
    tuning_seconds: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def download_bytes(self) -> int:
        """Bytes to download for all candidates whose size is known."""
        return sum(row.download_bytes or 0 for row in self.rows)

    @property
    def seconds(self) -> float:
        """Decoding once for each input size, and the forward passes of all candidates whose time is known.

        In rounds without a budget, those of the candidates of each round.
        """
        sizes = {row.candidate.metadata.get("input_size") for row in self.rows if row.seconds}
        passes = self.rounds if self.budget is None and self.rounds else self.rows
        return len(sizes) * self.decode_seconds + sum(each.seconds or 0.0 for each in passes)

    def to_json(self) -> str:
        """Everything, as JSON."""
        document = {
            "format": "modelselect plan",
            "version": 1,
            "probe_rows": self.probe_rows,
            "remarks": list(self.remarks),
            "device": self.device,
            "macs_per_second": self.macs_per_second,
            "decode_seconds": self.decode_seconds,
            "download_bytes": self.download_bytes,
            "seconds": self.seconds,
            "recalled_from": self.recalled_from,
            "budget": None if self.budget is None else asdict(self.budget),
            "rounds": [asdict(planned) for planned in self.rounds],
            "smallest_budget": self.smallest_budget,
            "top_k": self.top_k,
            "fine_tuning_seconds": self.fine_tuning_seconds,
            "tune": self.tune,
            "tuning_seconds": self.tuning_seconds,
            "rows": [
                {
                    "candidate": row.candidate.id,
                    **{name: value for name, value in _fields(row).items() if name != "candidate"},
                }
                for row in self.rows
            ],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def to_table(self, width: int | None = None) -> Table:
        """A Rich table for the terminal.

        Args:
            width: number of characters in a line. Less important columns that do not fit are hidden, and a note below
                the table names them. None shows all columns.
        """
        from rich.table import Table
        from rich.text import Text

        def cells(row: PlannedCandidate) -> dict[str, str]:
            return {
                "candidate": f"{row.candidate.zoo}:{row.candidate.name}",
                "download": _size(row.download_bytes),
                "parameters": "unknown" if row.parameters is None else f"{row.parameters:,}",
                "memory": _size(row.memory),
                "MACs": "unknown" if row.macs is None else f"{row.macs / 1e6:,.0f} M",
                "forward pass": duration(row.seconds),
                "in the store": {None: "unknown", "": "nothing"}.get(row.stored, row.stored or ""),
                "remark": row.remark,
            }

        rows = [{column: printable(text) for column, text in cells(row).items()} for row in self.rows]
        shown = [c for c in _COLUMNS if c != "remark" or any(row[c] for row in rows)]
        room = {c: 3 + min(_LEGIBLE, max([len(c), *(len(row[c]) for row in rows)])) for c in shown}
        hidden = []
        for column in _LESSER_COLUMNS:
            if width is not None and 1 + sum(room[c] for c in shown) > width:
                shown.remove(column)
                hidden.append(column)
        table = Table(header_style="bold")
        for column in shown:
            words = column in ("candidate", "remark")
            table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=not words)
        for row in rows:
            table.add_row(*(Text(row[column]) for column in shown))
        notes = self._notes()
        if hidden:
            notes.append(f"Hidden (terminal too narrow): {', '.join(hidden)}")
        table.caption = Text("\n".join(notes))
        table.caption_justify = "left"
        return table

    @property
    def _rounds(self) -> list[str]:
        return [
            f"  round {number}: {counted(planned.candidates, 'candidate')} on {planned.rows} rows, "
            f"{planned.passes:,} passes, about {duration(planned.seconds)}"
            for number, planned in enumerate(self.rounds, start=1)
        ]

    def _notes(self) -> list[str]:
        def and_unknown(known: str, unknown: int) -> str:
            return f"{known} and {unknown} unknown" if unknown else known

        bytes_unknown = sum(row.download_bytes is None for row in self.rows)
        time_unknown = sum(row.seconds is None for row in self.rows)
        scored = sum(row.stored == "scores" for row in self.rows)
        notes = [
            f"{counted(len(self.rows), 'candidate')}, {scored} of them scored already, on {self.probe_rows} rows on "
            f"{self.device}",
            f"to download: at most {and_unknown(_size(self.download_bytes), bytes_unknown)}",
            f"to compute: about {and_unknown(duration(self.seconds), time_unknown)}, right within a factor of three "
            f"({self.macs_per_second / 1e9:.1f} billion MACs a second on this device now; decoding once takes "
            f"{duration(self.decode_seconds)})",
        ]
        if self.recalled_from is not None:
            notes.insert(
                0,
                f"recalled: {len(self.rows)} of {counted(self.recalled_from, 'candidate')}, from which the history "
                "expects most",
            )
        notes = [*map(printable, self.remarks), *notes]
        if self.budget is not None:
            notes.append(f"with a budget of {self.budget}, if half of the candidates are eliminated after each round:")
            notes += self._rounds
            if not self.rounds:
                notes.append(f"  the budget ranks nothing; {self._smallest}")
            if self.tune:
                notes.append(f"  then one epoch of fine-tuning for at most {self.tune}, if the budget pays for it, too")
            if self.top_k:
                notes.append(f"  then fine-tuning of at most {self.top_k}, if the rest of the budget pays for it")
            return notes
        if self.rounds:
            notes.append("in rounds, after each of which the better half goes on:")
            notes += self._rounds
        if self.tune:
            notes.append(f"to fine-tune {self.tune} of them for one epoch: about {duration(self.tuning_seconds)}")
        if self.top_k:
            rest = ", from there" if self.tune else ""
            notes.append(f"to fine-tune {self.top_k} of them{rest}: about {duration(self.fine_tuning_seconds)}")
        return notes

    @property
    def _smallest(self) -> str:
        if self.budget is None or self.smallest_budget is None:
            return "give a larger budget, or smaller candidates"
        one, every = (self.budget.format(times * self.smallest_budget) for times in (1, len(self.rows)))
        return f"the smallest that ranks a candidate is about {one}, and all {len(self.rows)} take about {every}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield self.to_table(options.max_width)

    def __str__(self) -> str:
        return plain_text(self, line_width())

    def __repr__(self) -> str:
        return interactive_text(self)


def _fields(row: PlannedCandidate) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def _size(count: int | None) -> str:
    """`45.2 MB`."""
    return "unknown" if count is None else in_bytes(count)
