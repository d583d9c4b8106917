"""The command `embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelselect.cli.options import CacheOption, JsonFlag, TrustFlag, VerboseFlag
from modelselect.cli.streams import say
from modelselect.cli.terminal import loaded_host, print_json, print_table
from modelselect.utils.text import in_bytes, printable

FEW_ARCHITECTURES = 20
"""Up to this number, tracing takes less time than starting worker processes."""


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
        int | None, typer.Option(help="Worker processes; 0: trace in this process.", show_default="all cores")
    ] = None,
    cache_dir: CacheOption = None,
    trust_remote_code: TrustFlag = False,
    as_json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: VerboseFlag = False,
) -> None:
    """Embed architectures, without weights, into the atlas."""
    import time

    from modelselect.archi2vec import atlas as atlases
    from modelselect.host.lookup import architectures
    from modelselect.store.store import Store
    from modelselect.utils.progress import Progress
    from modelselect.utils.system import usable_cores

    begun = time.perf_counter()
    path = atlas_path or atlases.default_path()
    before = _state_of(path)
    atlas = atlases.Atlas() if refit or before is None else atlases.Atlas.load(path)
    named = list(architectures(expressions))
    workers = usable_cores() if workers is None else workers
    executor = loaded_host().executor("process").sized(workers) if workers and len(named) > FEW_ARCHITECTURES else None
    known = len(atlas)
    settings: dict[str, Any] = {"cache_dir": cache_dir, "trust_remote_code": trust_remote_code}
    with Progress(not quiet) as bars, bars.candidates("tracing", len(named)) as advance:
        failures = atlas.add(named, executor=executor, progress=advance, **settings)
    if len(atlas) > known:
        with Store(cache_dir).lock(Store.key("atlas", path=str(path.absolute()))):
            if not refit and _state_of(path) != before:  # another process has extended it meanwhile
                atlas = atlases.Atlas.load(path)
                known = len(atlas)
                failures = atlas.add(named, **settings)  # their graphs are in the store
            atlas.save(path)
    if map_path is not None:
        atlas.draw(map_path)
    purity = atlas.family_purity()
    if as_json:
        print_json(
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
        typer.echo(printable(f"{name} failed: {failure.reason}"), err=True)
    print_table(
        ["family", "architectures", "nearest in the same family"],
        [[family, str(n), f"{share:.0%}"] for family, (n, share) in purity.items()],
    )
    size = in_bytes(path.stat().st_size) if path.exists() else "nothing"
    say(
        f"{len(atlas) - known} added, {len(failures)} failed, {len(atlas)} in {path} ({size}); "
        f"{time.perf_counter() - begun:.0f} s"
    )


def _state_of(path: Path) -> tuple[int, ...] | None:
    """What changes when the file is replaced; None if there is none."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
