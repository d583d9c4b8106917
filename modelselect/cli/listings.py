"""The commands that list: `search`, `zoos`, `pools`, `tasks`, `plugins`, `store`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import AllFlag, CacheOption, JsonFlag
from modelselect.cli.streams import say
from modelselect.cli.terminal import (
    confirmed,
    loaded_host,
    print_json,
    print_listing,
    print_table,
    text_of,
)
from modelselect.tasks.metrics import Metric
from modelselect.tasks.task import Task
from modelselect.utils.text import counted, in_bytes, listed, printable

if TYPE_CHECKING:
    from modelselect.candidates.candidate import Candidate
    from modelselect.candidates.zoo import Zoo
    from modelselect.store.store import Store

_SEARCH_COLUMNS = (
    "parameters", "source_accuracy", "license", "downloads", "library", "gated", "weights", "scan", "context_length",
    "languages", "source_dataset", "input_size",
)  # fmt: skip
"""The most important first. `search` shows those that some candidate has a value for, as far as they fit."""


def search(
    expressions: Annotated[list[str], typer.Argument(help="'timm:resnet18*', 'embedded:*', 'dir:models/*', ...")],
    all_rows: AllFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """List the candidates that expressions name."""
    from modelselect.errors import ExpressionError
    from modelselect.host import lookup

    found: dict[str, Candidate] = {}
    for expression in expressions:
        matched = lookup.search(expression)
        if not matched:
            raise ExpressionError(f"no candidate matched {expression!r}; modelselect zoos lists the zoos")
        found |= {candidate.id: candidate for candidate in matched}
    if as_json:
        print_json([_describe(candidate) for candidate in found.values()])
        return
    columns = [c for c in _SEARCH_COLUMNS if any(known.metadata.get(c) is not None for known in found.values())]
    rows = [[c.id, *(_cell(c, column) for column in columns)] for c in found.values()]
    print_table(["candidate", *columns], rows, all_rows=all_rows, optional=len(columns))
    typer.echo(counted(len(found), "candidate"), err=True)


def zoos(as_json: JsonFlag = False) -> None:
    """List zoos, and say why one cannot be used."""
    host = loaded_host()
    listed = [
        {
            "name": zoo.name,
            "aliases": list(zoo.aliases),
            "status": availability_of(zoo) or "ok",
            "plugin": host.owner("zoos", zoo.name).owner,
        }
        for zoo in host.zoos.values()
    ]
    print_listing(listed, ["name", "aliases", "status"], as_json)


def pools(as_json: JsonFlag = False) -> None:
    """List pools: candidates under one name, such as pool:images-fast."""
    host = loaded_host()
    listed = [
        {
            "name": pool.name,
            "modality": pool.modality,
            "members": list(pool.members),
            "summary": pool.summary,
            "plugin": host.owner("pools", pool.name).owner,
        }
        for pool in host.pools.values()
    ]
    if as_json:
        print_json(listed)
        return
    rows = [[f"pool:{p.name}", p.modality, str(len(p.members)), p.summary] for p in host.pools.values()]
    print_table(["expression", "modality", "candidates", "what it holds"], rows)


def tasks(as_json: JsonFlag = False) -> None:
    """List tasks: what can be predicted, and by which metric candidates are judged."""
    host = loaded_host()
    listed = [
        {
            "name": task.name,
            "targets": list(task.targets),
            "metrics": [metric.name for metric in _metrics(task)],
            "summary": task.summary,
            "by_default": task.by_default,
            "plugin": host.owner("tasks", task.name).owner,
        }
        for task in host.tasks.values()
    ]
    if as_json:
        print_json(listed)
        return
    rows = [
        [t.name, " or ".join(t.targets), ", ".join(m.title for m in _metrics(t)), t.summary]
        for t in host.tasks.values()
    ]
    print_table(["task", "labels", "judged by", "what it predicts"], rows, optional=1)


def _metrics(task: Task) -> list[Metric]:
    """The metrics of all variants of a task, each once."""
    return list(dict.fromkeys(metric for variant in task.variants for metric in variant.metrics))


def plugins(
    all_rows: AllFlag = False,
    as_json: JsonFlag = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 1 if a plugin is broken.")] = False,
) -> None:
    """List plugins, and say why one is broken."""
    _list_plugins(all_rows, as_json)
    if strict and any(plugin.faults for plugin in loaded_host().plugins):
        raise typer.Exit(1)


def _list_plugins(all_rows: bool, as_json: bool) -> None:
    listed = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "contract": plugin.contract,
            "seconds": round(plugin.seconds, 3),
            "registered": plugin.registered,
            "faults": plugin.faults,
        }
        for plugin in loaded_host().plugins
    ]
    if as_json:
        print_json(listed)
        return
    from modelselect.utils.versions import DISTRIBUTION

    rows, counts, shipped, hidden, seconds = [], Counter[str](), "", 0, 0.0
    for p in loaded_host().plugins:
        if all_rows or p.faults or p.distribution != DISTRIBUTION:
            brought = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in p.registered.items()) or "–"
            status = "; ".join(p.faults) or "ok"
            contract = "–" if p.contract is None else str(p.contract)
            rows.append([p.name, f"{p.distribution} {p.version}", brought, status, f"{p.seconds:.2f} s", contract])
        else:
            counts += Counter({kind: len(names) for kind, names in p.registered.items()})
            shipped, hidden, seconds = f"{p.distribution} {p.version}", hidden + 1, seconds + p.seconds
    if counts:
        (kind, count), *further = counts.most_common()
        brought = f"{count} {kind} and {sum(number for _, number in further)} more"
        rows.append([f"{hidden} shipped", shipped, brought, "ok", f"{seconds:.2f} s", "–"])
    columns = ["plugin", "distribution", "registered", "status", "loaded in", "contract"]
    print_table(columns, rows, all_rows=all_rows, optional=2)
    if counts:
        typer.echo("--all lists every plugin that comes with modelselect, --json too", err=True)


def store(
    evict: Annotated[
        str | None, typer.Option(help="Remove the least recently used entries until this much is left: 500MB, 0.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Consider only entries of this kind. Fine-tuned weights must be named so.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    share: Annotated[
        bool, typer.Option("--share", help="Copy what the shared place lacks to it, for instance after it failed.")
    ] = False,
    cache_dir: CacheOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the size of the store, or remove entries."""
    from modelselect.budget.bounds import parse_bytes
    from modelselect.errors import InvalidInputError
    from modelselect.store.store import Store

    kept = Store(cache_dir)
    if evict is None and (dry_run or yes or kind is not None):
        raise InvalidInputError("--dry-run, --yes and --kind apply to removing entries; add --evict SIZE, such as 5GB")
    if share and kept.shared_at is None:
        raise InvalidInputError(
            f"the store {kept.path} is a folder of its own; --share needs a shared place, such as --cache-dir "
            "s3://bucket/folder or MODELSELECT_CACHE"
        )
    shared = kept.share() if share else None
    freed = None if evict is None else _freed(kept, parse_bytes(evict), kind, dry_run, yes)
    kinds = kept.counts()
    if as_json:
        place = {} if kept.shared_at is None else {"shared_at": kept.shared_at}
        print_json({"path": str(kept.path), **place, "bytes": kept.size(), "freed": freed, "kinds": kinds})
        return
    print_table(
        ["kind", "entries", "size"],
        [[name, str(held["entries"]), in_bytes(held["bytes"])] for name, held in sorted(kinds.items())],
    )
    say(f"{in_bytes(kept.size())} in {kept.path}" + ("" if freed is None else f"; freed {in_bytes(freed)}"))
    if kept.shared_at is not None:
        there = "" if shared is None else f"; {shared} of these entries are there"
        say(f"shared with other machines at {kept.shared_at}{there}")


def _freed(kept: Store, left: int, kind: str | None, dry_run: bool, yes: bool) -> int:
    """Removes entries if the user agrees; the number of bytes freed."""
    from modelselect.errors import InvalidInputError

    if kind is not None and kind not in (kinds := sorted({entry.kind for entry in kept.entries()})):
        raise InvalidInputError(
            f"the store has no entries of kind {kind!r}; its kinds are {', '.join(kinds) or 'none'}"
        )
    doomed = kept.evictable(max_bytes=left, kind=kind)
    counts = Counter(key.rpartition("-")[0] for key in doomed)
    listed = ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()))
    what = f"{counted(len(doomed), 'entry', 'entries')} with {in_bytes(sum(doomed.values()))}" + (
        f" ({listed})" if listed else ""
    )
    if dry_run:
        typer.echo(f"would remove {what}", err=True)
        return 0
    if doomed and not confirmed(f"Remove {what} from {kept.path}?", yes):
        return 0
    return kept.evict(max_bytes=left, kind=kind)


def availability_of(zoo: Zoo) -> str | None:
    from modelselect.errors import Failure, Stage, contained

    try:
        with contained():
            answer = zoo.availability()
        return None if answer is None else printable(str(answer))
    except Exception as error:
        return f"availability() of the zoo raised {Failure.from_exception(Stage.SEARCH, error).reason}"


def _cell(candidate: Candidate, column: str) -> str:
    value = candidate.metadata.get(column)
    return listed(list(map(str, value))) if column == "languages" and isinstance(value, tuple) else text_of(value)


def _describe(candidate: Candidate) -> dict[str, Any]:
    """What is known of a candidate, and what follows from it: commercial use, and the least memory of training."""
    from modelselect.candidates.candidate import license_of
    from modelselect.candidates.licenses import commercial_use
    from modelselect.verification.footprint import least_bytes

    parameters = candidate.metadata.get("parameters")
    return {
        "id": candidate.id,
        "zoo": candidate.zoo,
        "revision": candidate.revision,
        **candidate.metadata,
        "commercial_use": commercial_use(license_of(candidate)),
        "training_memory_at_least": least_bytes(parameters) if isinstance(parameters, int) else None,
    }
