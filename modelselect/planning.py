"""`plan()`: what `select()` would do and what that would cost, before anything is downloaded or loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelselect.assessment import BYTES_PER_PARAMETER
from modelselect.candidates import Candidate
from modelselect.cost import decode_seconds, macs_per_second
from modelselect.errors import Failure
from modelselect.estimator import Estimator
from modelselect.leaderboard import printable
from modelselect.selection import DEFAULT_MAX_CORRUPT, DEFAULT_PROBE_SIZE, Request
from modelselect.spool import InputSpool

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table


@dataclass(frozen=True)
class Expense:
    """What one candidate would cost; None stands for what cannot be known without loading it.

    Attributes:
        candidate: whose.
        download_bytes: at most, for what is in a library's cache already is not fetched again; 0 if it is on this
            machine.
        parameters: number of parameters.
        memory: bytes of its weights once loaded. What a batch takes comes on top; it is halved until it fits.
        macs: multiply-accumulates of one row.
        seconds: of the forward pass over the probe, estimated; 0 if its evidence is in the store.
        stored: `"scores"`, if all that is asked for is in the store; `"features"`, if no forward pass is needed; `""`,
            if nothing helps; None if it has no revision, so that only its weights can tell.
        remark: what will stop it, or may.
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
        probe_rows: rows that each would be shown.
        device: where.
        macs_per_second: multiply-accumulates that the device did in a short run of a small network, now.
        decode_seconds: to read and decode the probe once, as every distinct preprocessing does, estimated from some
            of its rows.
    """

    rows: tuple[Expense, ...]
    probe_rows: int
    device: str
    macs_per_second: float
    decode_seconds: float

    @property
    def download_bytes(self) -> int:
        """Of all candidates of which it is known."""
        return sum(row.download_bytes or 0 for row in self.rows)

    @property
    def seconds(self) -> float:
        """Of all candidates of which it is known: decoding once for each input size, and the forward passes."""
        sizes = {row.candidate.metadata.get("input_size") for row in self.rows if row.seconds}
        return len(sizes) * self.decode_seconds + sum(row.seconds or 0.0 for row in self.rows)

    def to_json(self) -> str:
        """Everything, as JSON."""
        document = {
            "format": "modelselect plan",
            "version": 1,
            "probe_rows": self.probe_rows,
            "device": self.device,
            "macs_per_second": self.macs_per_second,
            "decode_seconds": self.decode_seconds,
            "download_bytes": self.download_bytes,
            "seconds": self.seconds,
            "rows": [
                {
                    "candidate": row.candidate.id,
                    **{name: value for name, value in _fields(row).items() if name != "candidate"},
                }
                for row in self.rows
            ],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def to_table(self) -> Table:
        """A Rich table for the terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style="bold")
        for column in (
            "candidate",
            "download",
            "parameters",
            "memory",
            "MACs",
            "forward pass",
            "in the store",
            "remark",
        ):
            words = column in ("candidate", "in the store", "remark")
            table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=not words)
        for row in self.rows:
            cells = (
                row.candidate.id,
                _size(row.download_bytes),
                "unknown" if row.parameters is None else f"{row.parameters:,}",
                _size(row.memory),
                "unknown" if row.macs is None else f"{row.macs / 1e6:,.0f} M",
                _duration(row.seconds),
                {None: "unknown", "": "nothing"}.get(row.stored, row.stored),
                row.remark,
            )
            table.add_row(*(Text(printable(cell or "")) for cell in cells))
        table.caption = Text("\n".join(self._notes()))
        table.caption_justify = "left"
        return table

    def _notes(self) -> list[str]:
        def and_unknown(known: str, unknown: int) -> str:
            return f"{known} and {unknown} unknown" if unknown else known

        bytes_unknown = sum(row.download_bytes is None for row in self.rows)
        time_unknown = sum(row.seconds is None for row in self.rows)
        scored = sum(row.stored == "scores" for row in self.rows)
        return [
            f"{len(self.rows)} candidates, {scored} of them scored already, on {self.probe_rows} rows on {self.device}",
            f"to download: at most {and_unknown(_size(self.download_bytes), bytes_unknown)}",
            f"to compute: about {and_unknown(_duration(self.seconds), time_unknown)}, good to a factor of three "
            f"({self.macs_per_second / 1e9:.1f} billion MACs a second here and now; decoding once takes "
            f"{_duration(self.decode_seconds)})",
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield self.to_table()

    def __str__(self) -> str:
        import io

        from rich.console import Console

        console = Console(file=io.StringIO(), width=200)
        console.print(self.to_table())
        return str(console.file.getvalue())  # type: ignore[attr-defined]


def plan(
    dataset: Any,
    candidates: Any,
    *,
    estimators: str | Estimator | Sequence[str | Estimator] | None = None,
    probe_size: int | None = DEFAULT_PROBE_SIZE,
    source: Any = None,
    device: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
    precision: str = "float32",
    compile: bool = False,
    max_corrupt: float = DEFAULT_MAX_CORRUPT,
) -> Plan:
    """What `select()` would do with these arguments, and what that would cost.

    The dataset is read, since what is in the store depends on its rows; of candidates only metadata and skeletons
    without weights. Nothing is downloaded but that. Times come from a short run of a small network on the device, and
    from decoding some rows: they are good to a factor of three, for architectures differ in how well they use a device.

    Every argument is the one of that name of `select`.

    Raises:
        InvalidInputError: as `select`.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> plan = ms.plan((images, [0] * 20 + [1] * 20), "embedded:*")
    >>> len(plan.rows), plan.download_bytes, plan.rows[0].stored
    (12, 0, '')
    """
    request = Request.of(
        dataset,
        candidates,
        estimators=estimators,
        top_k=0,
        probe_size=probe_size,
        source=source,
        device=device,
        executor="local",
        cache_dir=cache_dir,
        trust_remote_code=trust_remote_code,
        seed=seed,
        batch_size=None,
        precision=precision,
        compile=compile,
        resamples=0,
        max_corrupt=max_corrupt,
    )
    speed = macs_per_second(request.device)
    return Plan(
        rows=tuple(_expense(request, candidate, speed) for candidate in request.pool),
        probe_rows=len(request.probe),
        device=request.device,
        macs_per_second=speed,
        decode_seconds=decode_seconds(request.probe),
    )


def _expense(request: Request, candidate: Candidate, speed: float) -> Expense:
    known = candidate.metadata
    failure = request.unsearched.get(candidate.id)
    if isinstance(failure, Failure):
        return Expense(candidate, remark=failure.reason)
    zoo = request.own_zoos.get(candidate.zoo) or request.host.zoo(candidate.zoo)
    foreseen = request.work(InputSpool(None)).foresee(candidate)
    seconds = None if foreseen.macs is None else len(request.probe) * foreseen.macs / speed
    remarks = []
    if known.get("remote_code") and not request.trust_remote_code:
        remarks.append("runs code of its own: only with trust_remote_code")
    if known.get("gated"):
        remarks.append("gated: its owner has to let you in")
    return Expense(
        candidate,
        download_bytes=known.get("download_bytes", known.get("size_bytes")) if zoo.downloads else 0,
        parameters=foreseen.parameters,
        memory=None if foreseen.parameters is None else BYTES_PER_PARAMETER * foreseen.parameters,
        macs=foreseen.macs,
        seconds=0.0 if foreseen.extracted or foreseen.scored else seconds,
        stored="scores" if foreseen.scored else {None: None, True: "features", False: ""}[foreseen.extracted],
        remark="; ".join(remarks),
    )


def _fields(row: Expense) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def _size(count: int | None) -> str:
    """`45.2 MB`."""
    if count is None:
        return "unknown"
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} GB"


def _duration(seconds: float | None) -> str:
    """`4 s`, `3 min`, `2.5 h`."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
