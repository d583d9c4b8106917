"""`modelselect benchmark`: estimators against known or computed fine-tuning results, as a table."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import EpochsOption, PatienceOption, TrialsOption, meant, with_settings
from modelselect.evaluation.settings import BenchmarkKeywords

if TYPE_CHECKING:
    from modelselect.benchmarking.benchmark import Benchmark


@with_settings(BenchmarkKeywords, shown={"estimators": "all"})
def benchmark(
    candidates: Annotated[
        str | None, typer.Argument(help="'dir:models/*', 'timm:resnet*', ...; more with -c.", show_default=False)
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Folders of class folders, or ids of datasets on the Hub.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("--candidates", "-c", help="More candidates; may be repeated.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Known accuracies: a CSV file dataset,model,accuracy.", show_default=False)
    ] = None,
    verify: Annotated[
        str | None, typer.Option(help="Fine-tune all candidates instead: full, head or lora.", show_default=False)
    ] = None,
    epochs: EpochsOption = None,
    trials: TrialsOption = None,
    patience: PatienceOption = None,
    save_truth: Annotated[
        Path | None, typer.Option(help="Write the accuracies to this file, for --truth.", show_default=False)
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Judge these scores instead: a CSV file dataset,model,ESTIMATOR,...", show_default=False),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column's name in the CSV file: accuracy=top1; may be repeated.")
    ] = None,
    measure: Annotated[
        str, typer.Option(help="weighted_kendall, kendall, spearman, pearson or top1_regret.")
    ] = "weighted_kendall",
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap; 0 for no intervals.")] = 1000,
    no_intervals: Annotated[
        bool, typer.Option("--no-intervals", help="Leave out the intervals of single datasets.")
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="Also write the table: .md, .tex, .html, .csv, .json or .txt; may be repeated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    **options: Any,
) -> None:
    """Judge estimators by known fine-tuning results."""
    from modelselect.benchmarking import running
    from modelselect.benchmarking.benchmark import Benchmark
    from modelselect.benchmarking.measures import find_measure
    from modelselect.benchmarking.table import check_suffix
    from modelselect.benchmarking.truth import write_truth
    from modelselect.cli.terminal import check_writable
    from modelselect.errors import InvalidInputError
    from modelselect.store.files import write_text
    from modelselect.verification.recipe import FineTuning

    find_measure(measure)  # errors are reported before the work, not after it
    for path in output or []:
        check_suffix(path)
        check_writable(path, "--output")
    check_writable(save_truth, "--save-truth")
    columns = _columns(column)
    settings = meant(options, BenchmarkKeywords)
    found: Benchmark
    if scores is not None:
        if candidates is not None or verify is not None:
            raise InvalidInputError("--scores judges existing scores; leave out the candidates and --verify")
        if truth is None:
            raise InvalidInputError(
                "--scores also needs the known accuracies; add --truth FILE.csv, which may be the same file"
            )
        found = Benchmark.of_scores(scores, truth, columns=columns)
    else:
        if candidates is None or not datasets:
            raise InvalidInputError(
                "expected candidates and datasets: modelselect benchmark 'dir:models/*' data/a data/b --truth truth.csv"
            )
        given = {"epochs": epochs, "trials": trials, "patience": patience}
        recipe: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if recipe and verify is None:
            raise InvalidInputError(
                f"--{next(iter(recipe))} applies to fine-tuning, but no candidate is fine-tuned; add "
                f"--verify full (or head, lora), or leave out --{next(iter(recipe))}"
            )
        with contextlib.redirect_stdout(sys.stderr):  # candidates may print; the answer must hold nothing else
            found = running.benchmark(
                [candidates, *(more or [])],
                datasets,
                truth,
                columns=columns,
                verify=verify,
                fine_tuning=FineTuning(**recipe),
                **settings,
            )
    if save_truth is not None:
        write_text(save_truth, write_truth(found.truth))
        typer.echo(f"accuracies written to {save_truth}", err=True)
    table = found.table(measure, resamples=resamples, seed=options["seed"])
    for path in output or []:
        table.save(path, intervals=not no_intervals)
        typer.echo(f"table written to {path}", err=True)
    if as_json:
        typer.echo(table.to_json(), nl=False)
        return
    from modelselect.cli.terminal import console

    drawn: Any = table.to_rich(intervals=False) if no_intervals else table
    console().print(drawn)


def _columns(given: list[str] | None) -> dict[str, str] | None:
    from modelselect.errors import InvalidInputError

    columns = dict(text.split("=", 1) for text in given or [] if "=" in text)
    known = ("dataset", "model", "accuracy", "estimator", "score")
    for text in given or []:
        if text.split("=", 1)[0] not in known or "=" not in text:
            raise InvalidInputError(
                f"--column is {text!r}; expected NAME=COLUMN, such as accuracy=top1, where NAME is one of "
                f"{', '.join(known)}"
            )
    return columns or None
