"""The command line: `modelselect demo | select | benchmark | report | search | embed | history | ...`.

Exit codes: 0 done, 1 nothing could be ranked, 2 bad usage. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from modelselect.benchmarking import commands as benchmarking
from modelselect.history import commands as history

if TYPE_CHECKING:
    from modelselect.candidates import Candidate, Zoo
    from modelselect.leaderboard import Leaderboard
    from modelselect.planning import Plan

EXIT_NOTHING_RANKED = 1
EXIT_BAD_USAGE = 2
EXIT_INTERRUPTED = 130

FEW_ARCHITECTURES = 20
"""So many are traced before worker processes have started."""

NAMED_COLUMNS = 10
"""With more columns than these, a table of estimators by estimators has numbers above them."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
TrustFlag = Annotated[bool, typer.Option("--trust-remote-code", help="Let candidates run code that they bring.")]
CacheOption = Annotated[Path | None, typer.Option("--cache-dir", help="Where evidence is kept.", show_default=False)]


class PluginGroup(TyperGroup):
    """The shipped commands, and those of plugins where no shipped one has the name."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # which Click these are of depends on Typer's version
        shipped = super().get_command(ctx, cmd_name)
        if shipped is not None:
            return shipped
        if cmd_name not in (brought := _plugin_commands()):
            return None
        command = typer.main.get_command(brought[cmd_name])
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=PluginGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which pre-trained model should I fine-tune on my data?",
)


app.add_typer(history.app, name="history")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from modelselect import __version__

        typer.echo(f"modelselect {__version__}")
        raise typer.Exit


@app.command()
def select(
    dataset: Annotated[str, typer.Argument(help="A folder of class folders, or the id of a dataset on the Hub.")],
    candidates: Annotated[
        list[str], typer.Option("--candidates", "-c", help="'timm:resnet*', 'dir:models/*', ...; may be repeated.")
    ],
    estimators: Annotated[
        str | None,
        typer.Option("--estimators", "-e", help="Names, comma-separated, or all.", show_default="etran,knn,logme"),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many of the best to fine-tune.")] = 0,
    verify: Annotated[
        str | None, typer.Option(help="What fine-tuning trains: full, head or lora.", show_default="full")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of fine-tuning, at most.", show_default="20")] = None,
    trials: Annotated[
        int | None, typer.Option(help="Of learning rates, for each.", show_default="1: no search")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better one, then stop.", show_default="never")
    ] = None,
    probe_size: Annotated[int, typer.Option(help="Rows that every candidate is shown, at most.")] = 2000,
    source: Annotated[str | None, typer.Option(help="A dataset like what they were pre-trained on.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    executor: Annotated[str, typer.Option(help="local, or process: a crash costs one candidate.")] = "local",
    batch_size: Annotated[
        int | None, typer.Option(help="Rows in a forward pass, to begin with.", show_default="what suits the device")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32; bfloat16 or float16 where the device has it.")] = "float32",
    compile: Annotated[bool, typer.Option("--compile", help="Compile every candidate first.")] = False,
    resamples: Annotated[int, typer.Option(help="For standard errors: 50 or so; 0 for none.")] = 0,
    cache_dir: CacheOption = None,
    trust_remote_code: TrustFlag = False,
    seed: Annotated[int, typer.Option(help="Of the probe, stochastic estimators and fine-tuning.")] = 0,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the leaderboard there; '-' prints it.", show_default=False)
    ] = None,
    max_corrupt: Annotated[float, typer.Option(help="Share of the rows that may be unreadable.")] = 0.1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would download and compute; do not.")
    ] = False,
    recall: Annotated[
        int | None, typer.Option(help="Keep so many, by the transfer history, before any download.", show_default=False)
    ] = None,
    history_path: Annotated[
        Path | None, typer.Option("--history", help="The transfer history; your own by default.", show_default=False)
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="A candidate to compare others with, for rsa and dds.", show_default=False)
    ] = None,
    no_history: Annotated[bool, typer.Option("--no-history", help="Neither go by a history nor add to one.")] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="'20m', '50000 passes', '3 EUR at 1.20 EUR/h': what it may take.", show_default=False),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="With which the first place is decided, under a budget.", show_default="0.9")
    ] = None,
    costs: Annotated[bool, typer.Option("--costs", help="Measure latency, throughput and memory here.")] = False,
    max_parameters: Annotated[
        int | None, typer.Option(help="Leave out candidates with more parameters.", show_default=False)
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Leave out what takes longer for one row here.", show_default=False)
    ] = None,
    license: Annotated[
        list[str] | None,
        typer.Option("--license", help="Only with such a licence: mit, 'cc-by*'; may be repeated.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write the answer as a web page.", show_default=False)
    ] = None,
    agreement: Annotated[bool, typer.Option("--agreement", help="Also print how alike the estimators rank.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Rank candidates for a dataset; fine-tune the top k."""
    import modelselect as ms
    from modelselect.budget import DEFAULT_CONFIDENCE
    from modelselect.errors import InvalidInputError, NothingRankedError

    if agreement and json_path == Path("-"):
        raise InvalidInputError("--agreement prints a table and '--json -' JSON; give one of them, or --json a file")
    check_writable(json_path)
    if report is not None:
        from modelselect.report.page import check_drawable

        check_drawable()
        check_writable(report, "--report")
        if report.suffix not in (".html", ".htm"):
            raise InvalidInputError(f"--report {str(report)!r}: it is a web page; expected a name that ends in .html")
    split = [] if estimators is None else [name.strip() for name in estimators.split(",") if name.strip()]
    names = None if estimators is None else split[0] if len(split) == 1 else split
    settings: dict[str, Any] = {
        "estimators": names,
        "probe_size": probe_size,
        "source": source,
        "device": device,
        "cache_dir": cache_dir,
        "trust_remote_code": trust_remote_code,
        "seed": seed,
        "precision": precision,
        "compile": compile,
        "max_corrupt": max_corrupt,
        "top_k": top_k,
        "verify": "full" if verify is None else verify,
        "recall": recall,
        "history": False if no_history else history_path,
        "proxy": proxy,
        "budget": budget,
        "max_parameters": max_parameters,
        "license": license or None,
    }
    recipe: dict[str, Any] = {"epochs": epochs, "trials": trials, "patience": patience}
    for name, value in ({"verify": verify} | recipe).items():
        if value is not None and not top_k:
            raise InvalidInputError(
                f"--{name} says how to fine-tune, and nothing would be: add --top-k 3, say, or leave it out"
            )
    if confidence is not None and budget is None:
        raise InvalidInputError("--confidence says when a budget may end early: add --budget 20m, or leave it out")
    fine_tuning = ms.FineTuning(**{name: value for name, value in recipe.items() if value is not None})
    if dry_run:
        with contextlib.redirect_stdout(sys.stderr):
            plan = ms.plan(dataset, candidates, fine_tuning=fine_tuning, **settings)
        _show_plan(plan, json_path)
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a candidate prints must not stand in the answer
            board = ms.select(
                dataset,
                candidates,
                fine_tuning=fine_tuning,
                executor=executor,
                batch_size=batch_size,
                resamples=resamples,
                confidence=DEFAULT_CONFIDENCE if confidence is None else confidence,
                costs=costs,
                max_latency_ms=max_latency_ms,
                progress=not quiet,
                **settings,
            )
    except NothingRankedError as error:
        if isinstance(error.leaderboard, ms.Leaderboard):
            _show_board(error.leaderboard, json_path, report)
        raise
    _show_board(board, json_path, report)
    if agreement:
        _print_agreement(board)


def _print_agreement(board: Leaderboard) -> None:
    """How alike the estimators rank, those that ranked nothing left out; columns are numbered where they are many."""
    table = board.estimator_agreement().dropna(how="all").dropna(how="all", axis="columns")
    if len(table) <= NAMED_COLUMNS:
        columns, names = list(table.columns), list(table.index)
    else:
        columns = [str(number) for number in range(1, len(table) + 1)]
        names = [f"{number} {name}" for number, name in zip(columns, table.index, strict=True)]
    cells = [["–" if value != value else f"{100 * value:.0f}" for value in row] for row in table.to_numpy().tolist()]
    print_table(["weighted Kendall x 100", *columns], [[name, *row] for name, row in zip(names, cells, strict=True)])


@app.command()
def report(
    source: Annotated[str, typer.Argument(metavar="BOARD", help="What select --json has written, or hub:owner/name.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=".html, .md, .csv or .tex, as it ends.", show_default="BOARD.html"),
    ] = None,
    atlas_path: Annotated[
        Path | None, typer.Option("--atlas", help="Draw the map over this atlas.", show_default="your own, if any")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", help="Put it into this dataset repository on the Hub: owner/name.", show_default=False),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository on the Hub private.")] = False,
) -> None:
    """Write a leaderboard as a web page, or as a table; or push it to the Hub."""
    import modelselect as ms
    from modelselect.errors import InvalidInputError
    from modelselect.leaderboard import write_text

    name = source.removeprefix(history.HUB)
    board = ms.Leaderboard.load(source) if name == source else ms.Leaderboard.from_hub(name)
    if push is not None:
        typer.echo(f"pushed: {board.push_to_hub(push, private=private or None)}", err=True)
        if output is None:
            return
    beside = Path(source).with_suffix("") if name == source else Path(Path(name).name)
    path = beside.with_name(f"{beside.name}.html") if output is None else output
    tables = {".md": board.to_markdown, ".csv": board.to_csv, ".tex": board.to_latex}
    if path.suffix == ".html":
        board.report(path, atlas=atlas_path)
    elif path.suffix in tables:
        write_text(path, tables[path.suffix]())
    else:
        raise InvalidInputError(f"--output {str(path)!r} ends in {path.suffix!r}; expected .html, .md, .csv or .tex")
    typer.echo(f"written to {path}", err=True)


app.command()(benchmarking.benchmark)


_HUB_COLUMNS = ("library", "downloads", "weights", "scan", "gated")
"""What `search` shows besides, where some candidate has it."""


@app.command()
def search(
    expressions: Annotated[list[str], typer.Argument(help="'timm:resnet*', 'embedded:*', 'dir:models/*', ...")],
    as_json: JsonFlag = False,
) -> None:
    """List the candidates that expressions name."""
    import modelselect as ms
    from modelselect.errors import ExpressionError

    found: dict[str, Candidate] = {}
    for expression in expressions:
        matched = ms.search(expression)
        if not matched:
            raise ExpressionError(f"no candidate matched {expression!r}")
        found |= {candidate.id: candidate for candidate in matched}
    if as_json:
        _print_json([_describe(candidate) for candidate in found.values()])
        return
    columns: tuple[str, ...] = ("parameters", "input_size", "source_dataset", "source_accuracy", "license")
    columns += tuple(c for c in _HUB_COLUMNS if any(c in candidate.metadata for candidate in found.values()))
    rows = [[c.id, *(_text(c.metadata.get(column)) for column in columns)] for c in found.values()]
    print_table(["candidate", *columns], rows)
    typer.echo(f"{len(found)} candidates", err=True)


@app.command()
def embed(
    expressions: Annotated[list[str], typer.Argument(help="'timm:*', 'torchvision:*', 'embedded:*', ...")],
    atlas_path: Annotated[
        Path | None, typer.Option("--atlas", help="The atlas to extend; the user's own by default.", show_default=False)
    ] = None,
    map_path: Annotated[
        Path | None, typer.Option("--map", help="Also draw the atlas: .svg, .png or .pdf.", show_default=False)
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Begin a new space instead of extending the old one.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Processes that trace; 0: none but this one.", show_default="all cores")
    ] = None,
    cache_dir: CacheOption = None,
    trust_remote_code: TrustFlag = False,
    as_json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Embed architectures, without weights, into the atlas."""
    import time

    from modelselect.archi2vec import atlas as atlases
    from modelselect.machine import usable_cores
    from modelselect.progress import Progress

    begun = time.perf_counter()
    path = atlas_path or atlases.default_path()
    atlas = atlases.Atlas() if refit or not path.exists() else atlases.Atlas.load(path)
    named = list(atlases.architectures(expressions))
    workers = usable_cores() if workers is None else workers
    executor = _host().executor("process").sized(workers) if workers and len(named) > FEW_ARCHITECTURES else None
    known = len(atlas)
    with Progress(not quiet) as bars, bars.candidates("tracing", len(named)) as advance:
        failures = atlas.add(
            named, executor=executor, cache_dir=cache_dir, trust_remote_code=trust_remote_code, progress=advance
        )
    if len(atlas) > known:
        atlas.save(path)
    if map_path is not None:
        atlas.draw(map_path)
    purity = atlas.family_purity()
    if as_json:
        _print_json(
            {
                "atlas": str(path),
                "architectures": len(atlas),
                "added": len(atlas) - known,
                "failures": {name: failure.reason for name, failure in failures.items()},
                "family_purity": {family: {"size": n, "purity": share} for family, (n, share) in purity.items()},
                "seconds": time.perf_counter() - begun,
            }
        )
        return
    for name, failure in failures.items():
        typer.echo(f"{name} failed: {failure.reason}", err=True)
    print_table(
        ["family", "architectures", "nearest is of it, too"],
        [[family, str(n), f"{share:.0%}"] for family, (n, share) in purity.items()],
    )
    size = _size(path.stat().st_size) if path.exists() else "nothing"
    typer.echo(
        f"{len(atlas) - known} added, {len(failures)} failed, {len(atlas)} in {path} ({size}); "
        f"{time.perf_counter() - begun:.0f} s"
    )


@app.command()
def estimators(as_json: JsonFlag = False) -> None:
    """List estimators: requirements, costs, citations."""
    host = _host()
    listed = [
        {
            "name": e.name,
            "requires": sorted(e.requires),
            "cost": e.cost,
            "relative": e.relative,
            "stochastic": e.stochastic,
            "parameters": {k: repr(v) for k, v in e.parameters.items()},
            "citation": e.citation,
            "plugin": host.owner("estimators", e.name).owner,
        }
        for e in sorted(host.estimators.values(), key=lambda e: e.name)
    ]
    columns = ["name", "requires", "cost", "citation"]
    _print_listing(listed, columns, as_json)


@app.command()
def zoos(as_json: JsonFlag = False) -> None:
    """List zoos, and what one lacks that cannot be used."""
    host = _host()
    listed = [
        {
            "name": zoo.name,
            "aliases": list(zoo.aliases),
            "status": _availability(zoo) or "ok",
            "plugin": host.owner("zoos", zoo.name).owner,
        }
        for zoo in host.zoos.values()
    ]
    _print_listing(listed, ["name", "aliases", "status"], as_json)


@app.command()
def plugins(as_json: JsonFlag = False) -> None:
    """List plugins, and why a broken one is broken."""
    listed = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "registered": plugin.registered,
            "faults": plugin.faults,
        }
        for plugin in _host().plugins
    ]
    if as_json:
        _print_json(listed)
        return
    rows = [
        [
            p.name,
            f"{p.distribution} {p.version}",
            "; ".join(f"{kind}: {', '.join(names)}" for kind, names in p.registered.items()) or "–",
            "; ".join(p.faults) or "ok",
        ]
        for p in _host().plugins
    ]
    print_table(["plugin", "distribution", "registered", "status"], rows)


@app.command()
def store(
    evict: Annotated[
        str | None, typer.Option(help="Free the least recently used until this much is left: '0', '500MB', '20GB'.")
    ] = None,
    cache_dir: CacheOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how much evidence is kept; evict some."""
    from modelselect.store import Store

    kept = Store(cache_dir)
    freed = None if evict is None else kept.evict(max_bytes=_bytes(evict))
    kinds: dict[str, dict[str, int]] = {}
    for entry in kept.entries():
        kind = kinds.setdefault(entry.kind, {"entries": 0, "bytes": 0})
        kind["entries"] += 1
        kind["bytes"] += entry.size
    if as_json:
        _print_json({"path": str(kept.path), "bytes": kept.size(), "freed": freed, "kinds": kinds})
        return
    print_table(
        ["kind", "entries", "size"],
        [[name, str(kind["entries"]), _size(kind["bytes"])] for name, kind in sorted(kinds.items())],
    )
    typer.echo(f"{_size(kept.size())} in {kept.path}" + ("" if freed is None else f"; freed {_size(freed)}"))


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """Check this installation, and say what to mend."""
    import platform

    from modelselect.extraction import numeric_versions
    from modelselect.store import Store

    host = _host()
    checks: list[dict[str, str]] = []

    def check(what: str, status: str, found: str) -> None:
        checks.append({"check": what, "status": status, "found": found})

    check("python", "ok", platform.python_version())
    for library, version in numeric_versions().items():
        check(library, "ok", version)
    try:
        import torch

        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        check("device", "ok", ", ".join(devices) or f"cpu with {torch.get_num_threads()} threads")
    except Exception as error:
        check("device", "broken", f"torch cannot be imported ({error}); run: pip install --force-reinstall torch")
    for zoo in host.zoos.values():
        missing = _availability(zoo)
        check(f"zoo {zoo.name}", "broken" if missing else "ok", missing or "usable")
    for plugin in host.plugins:
        if plugin.faults:
            check(plugin.owner, "broken", "; ".join(plugin.faults))
    try:
        kept = Store()
        kept.put(kept.key("doctor"), {})
        kept.evict(kind="doctor", max_bytes=0)
        check("store", "ok", f"{_size(kept.size())} in {kept.path}")
    except Exception as error:
        check("store", "broken", str(error))
    _print_listing(checks, ["check", "status", "found"], as_json)


@app.command()
def demo(
    full: Annotated[bool, typer.Option("--full", help="Fine-tune all 12 to recompute the shipped truth.")] = False,
    json_path: Annotated[Path, typer.Option("--json", help="Where the leaderboard goes; '-' prints it.")] = Path(
        "demo-board.json"
    ),
    cache_dir: CacheOption = None,
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Rank twelve embedded networks, and check the answer."""
    from modelselect.demo import run

    run(full=full, json_path=json_path, cache_dir=cache_dir, seed=seed, progress=not quiet)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command; what modelselect raises on purpose becomes one message and an exit code."""
    from modelselect.errors import ModelSelectError, NothingRankedError

    # Idle threads sleep instead of spinning: on a busy machine that is many times faster. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(args=None if arguments is None else list(arguments), prog_name="modelselect")
    except ModelSelectError as error:
        _complain(str(error))
        sys.exit(EXIT_NOTHING_RANKED if isinstance(error, NothingRankedError) else EXIT_BAD_USAGE)
    except SystemExit as stopped:
        if stopped.code == EXIT_INTERRUPTED:  # Typer makes this of Ctrl-C
            _complain("interrupted; what was computed is kept, and the next run goes on from there")
        raise


def _availability(zoo: Zoo) -> str | None:
    try:
        return zoo.availability()
    except Exception as error:
        return f"asking whether it can be used raised {type(error).__name__}: {error}"


def _host() -> Any:
    from modelselect.host import get_host

    return get_host()


def _plugin_commands() -> dict[str, typer.Typer]:
    """Commands of others' plugins. The shipped plugins have none, so where there are no others none is loaded."""
    from importlib.metadata import entry_points

    from modelselect.hookspecs import PROJECT

    if all(point.value.startswith("modelselect_plugins.") for point in entry_points(group=PROJECT)):
        return {}
    commands: dict[str, typer.Typer] = _host().commands
    return commands


def check_writable(path: Path | None, option: str = "--json") -> None:
    """Before the work, not after it."""
    from modelselect.errors import InvalidInputError

    if path is not None and path != Path("-") and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise InvalidInputError(
            f"{option} {str(path)!r} cannot be written; give a file in a folder that exists and is yours"
        )


def _show_board(board: Leaderboard, json_path: Path | None, report: Path | None = None) -> None:
    for line in _what_was_left_out(board):
        typer.echo(line, err=True)
    if json_path == Path("-"):
        typer.echo(board.to_json(), nl=False)
    else:
        console().print(board)
        if reused := board.provenance.get("from_store"):
            typer.echo(f"{reused} of {len(board.rows)} candidates came from the store", err=True)
        if json_path is not None:
            board.save(json_path)
            typer.echo(f"leaderboard written to {json_path}", err=True)
    if report is not None:  # last: a page that cannot be drawn costs nothing else
        board.report(report)
        typer.echo(f"report written to {report}", err=True)


def _show_plan(plan: Plan, json_path: Path | None) -> None:
    if json_path == Path("-"):
        typer.echo(plan.to_json(), nl=False)
        return
    console().print(plan)
    if json_path is not None:
        json_path.write_text(plan.to_json(), encoding="utf-8")
        typer.echo(f"plan written to {json_path}", err=True)


def _what_was_left_out(board: Leaderboard) -> list[str]:
    """What of the dataset was not used: a ranking on the rest must not pass for one on all."""
    from modelselect.leaderboard import printable

    dataset = board.provenance.get("dataset", {})
    lines = []
    if skipped := dataset.get("skipped"):
        some = "; ".join(printable(f"{name} ({reason})") for name, reason in skipped[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        lines.append(f"{len(skipped)} files or rows could not be read and were left out: {some}{more}")
    absent = [*dataset.get("classes_without_images", []), *dataset.get("classes_without_rows", [])]
    if absent:
        lines.append(f"classes without a row that can be read: {', '.join(map(printable, absent))}")
    return lines


def _describe(candidate: Candidate) -> dict[str, Any]:
    return {"id": candidate.id, "zoo": candidate.zoo, "revision": candidate.revision, **candidate.metadata}


def _print_listing(listed: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        _print_json(listed)
        return
    print_table(columns, [[_text(row[column]) for column in columns] for row in listed])


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on the terminal, whatever characters its cells hold."""
    from rich.table import Table
    from rich.text import Text

    from modelselect.leaderboard import printable

    table = Table(header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def console() -> Any:
    """Rich's console, wide where there is no terminal."""
    from rich.console import Console

    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=200)


def _complain(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), message))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value)) or "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _bytes(text: str) -> int:
    """`'500MB'` -> 500,000,000."""
    import re

    from modelselect.errors import InvalidInputError

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise InvalidInputError(f"{text!r} is not a size; expected a number of bytes such as '0', '500MB' or '20GB'")
    return int(float(match[1]) * _UNITS[(match[2] or "B").upper()])


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


if __name__ == "__main__":
    main()
