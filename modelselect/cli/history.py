"""`modelselect history show | import | export | merge | mine`: the transfer history on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import AllFlag, JsonFlag
from modelselect.cli.streams import say
from modelselect.cli.terminal import print_json, print_table
from modelselect.errors import InvalidInputError
from modelselect.history.database import Database
from modelselect.utils.text import counted

if TYPE_CHECKING:
    from modelselect.history.history import History

HUB = "hub:"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The transfer history: past results of candidates on datasets.",
)

HistoryOption = Annotated[
    Path | None, typer.Option("--history", help="The history's file; the user's own by default.", show_default=False)
]


@app.command()
def show(
    candidate: Annotated[
        str | None, typer.Option(help="Results of this candidate, zoo:name.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Results on this dataset.", show_default=False)] = None,
    history: HistoryOption = None,
    all_rows: AllFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the size of the history, or list the results of a candidate or a dataset."""
    kept = _history(history)
    if candidate is None and dataset is None:
        _show_summary(kept.summary(), all_rows, as_json)
        return
    results = kept.results(candidate=candidate, dataset=dataset)
    listed = [{"candidate": r.candidate, "dataset": r.dataset, "metric": r.metric, "value": r.value} for r in results]
    if as_json:
        print_json(listed)
        return
    print_table(
        ["candidate", "dataset", "metric", "value"], [[*map(str, row.values())] for row in listed], all_rows=all_rows
    )


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="A .csv file, an exported folder, or hub:owner/name.")],
    timm: Annotated[bool, typer.Option("--timm", help="SOURCE is one of timm's tables, or a folder of them.")] = False,
    column: Annotated[
        list[str] | None, typer.Option(help="A column's name in the CSV file: value=accuracy; may be repeated.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of all rows, if the CSV file has no such column.")] = None,
    zoo: Annotated[str | None, typer.Option(help="Zoo of ids in the CSV file without a zoo: timm, hub, ...")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Name of the fine-tuning recipe that all accuracies of the CSV file were measured under. "
            "Without it, they count as published."
        ),
    ] = None,
    history: HistoryOption = None,
) -> None:
    """Add results that others have published, or that you have measured yourself."""
    from modelselect.history.importers import import_csv, import_timm

    kept = _history(history)
    is_table = not source.startswith(HUB) and not timm and source.lower().endswith(".csv")
    if recipe is not None and not is_table:
        raise InvalidInputError(
            f"--recipe is {recipe!r}, and {source!r} is no CSV file of your own results; give a .csv file without "
            "--timm, or leave out --recipe"
        )
    if source.startswith(HUB):
        say(kept.fetch(source.removeprefix(HUB)))
    elif timm:
        say(import_timm(kept, source))
    elif is_table:
        pairs = [given.partition("=") for given in column or []]
        if not all(equals and ours and theirs for ours, equals, theirs in pairs):
            raise InvalidInputError(f"--column is {column}; expected OURS=THEIRS, such as value=accuracy")
        names = {ours: theirs for ours, _, theirs in pairs}
        say(import_csv(kept, source, columns=names, metric=metric, zoo=zoo, recipe=recipe))
    else:
        say(kept.load(source))
    kept.exchange()


@app.command()
def export(
    target: Annotated[str, typer.Argument(help="A folder for Parquet files, or hub:owner/name.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository on the Hub private.")] = False,
    history: HistoryOption = None,
) -> None:
    """Write the history as Parquet files, or add it to a dataset repository on the Hub."""
    kept = _history(history)
    if target.startswith(HUB):
        say(kept.publish(target.removeprefix(HUB), private=private or None))
    else:
        say(f"{counted(kept.summary()['results'], 'result')} written to {kept.export(target)}")


@app.command()
def merge(
    others: Annotated[list[Path], typer.Argument(metavar="OTHER...", help="Files of histories, or folders of them.")],
    history: HistoryOption = None,
) -> None:
    """Add other histories. Nothing is lost or counted twice."""
    kept = _history(history)
    for other in others:
        files = sorted(other.glob("*.sqlite")) if other.is_dir() else [other]
        if not files:
            raise InvalidInputError(f"the folder {str(other)!r} holds no history; expected files named *.sqlite")
        for file in files:
            say(f"{file}: {kept.merge(Database(file))}" if len(others) + len(files) > 2 else kept.merge(Database(file)))
    kept.exchange()


@app.command()
def mine(
    task: Annotated[str, typer.Option(help="image-classification or text-classification.")] = "image-classification",
    limit: Annotated[int | None, typer.Option(help="Maximum number of models to read.", show_default=False)] = None,
    pause: Annotated[float, typer.Option(help="Seconds to wait between two pages of the Hub.")] = 1.0,
    history: HistoryOption = None,
) -> None:
    """Add the fine-tunings that models on the Hub report."""
    from modelselect.history import model_cards

    say(model_cards.mine(_history(history), task=task, limit=limit, pause=pause))


def _history(path: Path | None) -> History:
    from modelselect.history.history import History

    history = History(path)
    history.exchange(leave=False)
    return history


def _show_summary(summary: dict[str, Any], all_rows: bool, as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    say(
        f"{counted(summary['results'], 'result')} of {counted(summary['candidates'], 'candidate')} on "
        f"{counted(summary['datasets'], 'dataset')}, {counted(summary['architectures'], 'architecture')}, in "
        f"{summary['path']}"
    )
    if summary["metrics"]:
        print_table(
            ["metric", "results"],
            [[name, f"{count:,}"] for name, count in summary["metrics"].items()],
            all_rows=all_rows,
        )
    if summary["metrics"].get("accuracy"):
        published = summary["metrics"]["accuracy"] - sum(summary["recipes"].values())
        recipes = summary["recipes"] | ({"none (counts as published)": published} if published else {})
        print_table(
            ["recipe of fine-tuning", "accuracies"],
            [[name, f"{count:,}"] for name, count in recipes.items()],
            all_rows=all_rows,
        )
    for proxy, count in summary["proxies"].items():
        say(f"features of {counted(count, 'dataset')} by the proxy {proxy}")
