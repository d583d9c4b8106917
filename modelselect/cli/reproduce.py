"""`modelselect reproduce`: published experiments by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import AllFlag, JsonFlag, VerboseFlag, meant, with_settings
from modelselect.evaluation.keywords import RunKeywords

if TYPE_CHECKING:
    from modelselect.reproducing.reproduction import Reproduction

LIST = "list"


@with_settings(RunKeywords)
def reproduce(
    name: Annotated[str, typer.Argument(help="'list', or the name of an experiment, such as blog-cifar10.")],
    scale: Annotated[str, typer.Option(help="paper; or small, a stand-in that runs offline in seconds.")] = "paper",
    seeds: Annotated[
        int | None, typer.Option(help="Probes to draw, for means and deviations.", show_default="as published")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download candidates, datasets and proxies.")] = False,
    proxy: Annotated[
        str | None,
        typer.Option(help="The candidate that describes datasets to fennec, rsa and dds.", show_default="as published"),
    ] = None,
    train_proxy: Annotated[
        bool | None,
        typer.Option(help="Fine-tune the proxy of rsa and dds on each dataset first.", show_default="as published"),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", help="Also write the figures: .md, .csv, .json or .txt; may be repeated."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also write a plot, such as figure.png.", show_default=False)
    ] = None,
    plot_kind: Annotated[
        str | None, typer.Option(help="What --plot shows: scores, time, dynamics or picture.", show_default=False)
    ] = None,
    all_rows: AllFlag = False,
    as_json: JsonFlag = False,
    verbose: VerboseFlag = False,
    **options: Any,
) -> None:
    """Run a published experiment, and compare figures."""
    if name == LIST:  # needs none of what follows
        _list(as_json)
        return
    from modelselect.cli.streams import answering, say_json
    from modelselect.cli.terminal import check_plot, check_writable, console, note
    from modelselect.reproducing import running
    from modelselect.reproducing.reproduction import check_suffix

    for path in output or []:
        check_suffix(path)
        check_writable(path, "--output")
    check_plot(plot)
    settings = meant(options, RunKeywords)
    found: Reproduction = running.reproduce(
        name, scale=scale, seeds=seeds, download=download, proxy=proxy, train_proxy=train_proxy, **settings
    )
    for path in output or []:
        found.save(path)
        note(f"figures written to {path}", settings)
    if plot is not None:
        found.plot(plot_kind, plot)
        note(f"plot written to {plot}", settings)
    if as_json:
        say_json(found.to_json())
        return
    with answering():
        console().print(found.to_rich(all_rows))


def _list(as_json: bool) -> None:
    from modelselect.cli.terminal import loaded_host, print_listing
    from modelselect.reproducing.needs import needs_of, state_of

    listed = []
    for protocol in loaded_host().protocols.values():
        needs = needs_of(protocol)
        for experiment in protocol.experiments:
            state, reason = state_of(protocol, experiment, needs)
            listed.append(
                {
                    "name": protocol.name,
                    "where": experiment.where,
                    "shows": experiment.shows,
                    "state": state,
                    "because": reason,
                    "document": protocol.document,
                    "truth": None if (truth := protocol.truth) is None else truth.name,
                    "truth_source": None if truth is None else truth.source,
                    "truth_commit": None if truth is None else truth.commit,
                    "truth_licence": None if truth is None else truth.licence,
                    "hours": protocol.hours,
                }
            )
    print_listing(listed, ["name", "where", "shows", "state", "because"], as_json)
