"""`modelselect benchmark`: estimators against known or computed fine-tuning results, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import VerboseFlag, meant, with_settings
from modelselect.cli.streams import answering, say_json
from modelselect.evaluation.keywords import BenchmarkKeywords
from modelselect.evaluation.settings import RECIPE_PARTS, rows_or_all

if TYPE_CHECKING:
    from modelselect.benchmarking.benchmark import Benchmark


@with_settings(BenchmarkKeywords, shown={"estimators": "all"})
def benchmark(
    candidates: Annotated[
        str | None, typer.Argument(help="'dir:models/*', 'timm:resnet18*', ...; more with -c.", show_default=False)
    ] = None,
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Folders of class folders, or ids of datasets on the Hub.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("--candidates", "-c", help="More candidates; may be repeated.")
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="Known accuracies: a CSV file dataset,model,accuracy; or truth:NAME.", show_default=False),
    ] = None,
    verify: Annotated[
        str | None, typer.Option(help="Fine-tune all candidates instead: full, head or lora.", show_default=False)
    ] = None,
    probe_sizes: Annotated[
        str | None, typer.Option(help="Further probe sizes: 100,300,all.", show_default=False)
    ] = None,
    per_class: Annotated[
        str | None, typer.Option(help="Further probe sizes, in rows of each class: 5,10,50.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Probes to draw of each size, for means and deviations.")] = 1,
    save_truth: Annotated[
        Path | None, typer.Option(help="Write the accuracies to this file, for --truth.", show_default=False)
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Judge these scores instead: a CSV file dataset,model,ESTIMATOR,...", show_default=False),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="Facts for --scores: a CSV file model,parameters,family.", show_default=False),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column's name in the CSV file: accuracy=top1; may be repeated.")
    ] = None,
    measure: Annotated[
        str,
        typer.Option(
            help="weighted_kendall, weighted_kendall_by_truth, weighted_kendall_itm, kendall, spearman, pearson, "
            "pairwise_accuracy, top1_regret or topk_regret (of 3)."
        ),
    ] = "weighted_kendall",
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap; 0 for no intervals.")] = 1000,
    reference: Annotated[
        str | None,
        typer.Option(help="What --detail compares all estimators with.", show_default="evidence"),
    ] = None,
    detail: Annotated[
        bool, typer.Option("--detail", help="Also show the truth itself, differences, win rates and parts of the pool.")
    ] = False,
    no_intervals: Annotated[
        bool, typer.Option("--no-intervals", help="Leave out the intervals of single datasets.")
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="Also write the table: .md, .tex, .html, .csv, .json or .txt; may be repeated."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also write a figure, such as figure.png.", show_default=False)
    ] = None,
    plot_kind: Annotated[
        str, typer.Option(help="What --plot shows: scores (against accuracies) or time (against agreement).")
    ] = "scores",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    verbose: VerboseFlag = False,
    **options: Any,
) -> None:
    """Judge estimators by known fine-tuning results."""
    from modelselect.benchmarking import rendering, running
    from modelselect.benchmarking.benchmark import PLOTS
    from modelselect.benchmarking.measures import find_measure
    from modelselect.benchmarking.table import check_suffix
    from modelselect.benchmarking.truth import write_truth
    from modelselect.cli.terminal import check_plot, check_writable, note
    from modelselect.errors import InvalidInputError
    from modelselect.store.files import write_text

    find_measure(measure)  # errors are reported before the work, not after it
    for path in output or []:
        check_suffix(path)
        check_writable(path, "--output")
    check_writable(save_truth, "--save-truth")
    check_plot(plot)
    if plot_kind not in PLOTS:
        raise InvalidInputError(f"--plot-kind is {plot_kind!r}; expected one of {', '.join(PLOTS)}")
    columns = _columns(column)
    settings = meant(options, BenchmarkKeywords)
    found: Benchmark
    if scores is not None:
        if candidates is not None or verify is not None:
            raise InvalidInputError("--scores judges existing scores; leave out the candidates and --verify")
        draws = probe_sizes is not None or per_class is not None or seeds != 1
        found = _of_scores(scores, truth, columns, models, draws)
    else:
        if models is not None:
            raise InvalidInputError("--models describes the models of --scores; candidates bring their own facts")
        sizes = _numbers("--probe-sizes", probe_sizes, "100,300,1000"), _numbers("--per-class", per_class, "5,10,50")
        if candidates is None or not datasets:
            raise InvalidInputError(
                "expected candidates and datasets: modelselect benchmark 'dir:models/*' data/a data/b --truth truth.csv"
            )
        _check_fine_tuned(verify, settings)
        found = running.benchmark(
            [candidates, *(more or [])],
            datasets,
            truth,
            columns=columns,
            verify=verify,
            probe_sizes=sizes[0],
            per_class=sizes[1],
            seeds=seeds,
            **settings,
        )
    if save_truth is not None:
        write_text(save_truth, write_truth(found.truth, found.test_rows))
        note(f"accuracies written to {save_truth}", settings)
    table = found.table(measure, resamples=resamples, seed=options["seed"], reference=reference)
    for path in output or []:
        table.save(path, intervals=not no_intervals, detail=detail)
        note(f"table written to {path}", settings)
    if plot is not None:
        found.plot(plot_kind, measure=measure).savefig(plot, dpi=110)
        note(f"plot written to {plot}", settings)
    if as_json:
        say_json(table.to_json())
        return
    from modelselect.cli.terminal import console

    with answering():
        screen = console()
        screen.print(table.to_rich(not no_intervals and rendering.width(table) <= screen.width, detail))


def _of_scores(
    scores: Path, truth: str | None, columns: dict[str, str] | None, models: Path | None, draws: bool
) -> Benchmark:
    """The benchmark of scores that exist already; `draws` says whether options ask for further probes."""
    from modelselect.benchmarking.benchmark import Benchmark
    from modelselect.errors import InvalidInputError

    if draws:
        raise InvalidInputError(
            "--scores judges existing scores; leave out --probe-sizes, --per-class and --seeds, which draw probes"
        )
    if truth is None:
        raise InvalidInputError(
            "--scores also needs the known accuracies; add --truth FILE.csv, which may be the same file"
        )
    return Benchmark.of_scores(scores, truth, columns=columns, models=models)


def _check_fine_tuned(verify: str | None, settings: Mapping[str, Any]) -> None:
    """Raises `InvalidInputError` if an option is about fine-tuning, and no candidate is fine-tuned."""
    from modelselect.errors import InvalidInputError

    for name in RECIPE_PARTS:
        if name in settings and verify is None:
            raise InvalidInputError(
                f"--{name} applies to fine-tuning, but no candidate is fine-tuned; add --verify full (or head, lora), "
                f"or leave out --{name}"
            )


def _numbers(option: str, given: str | None, example: str) -> list[Any] | None:
    """The numbers of a list such as `100,300,all`; None if the option is left out."""
    from modelselect.errors import InvalidInputError

    if given is None:
        return None
    try:
        return [rows_or_all(text.strip()) for text in given.split(",")]
    except ValueError:
        raise InvalidInputError(f"{option} is {given!r}; expected numbers of rows such as {example}") from None


def _columns(given: list[str] | None) -> dict[str, str] | None:
    from modelselect.errors import InvalidInputError

    columns = dict(text.split("=", 1) for text in given or [] if "=" in text)
    known = ("dataset", "model", "accuracy", "rows", "estimator", "score", "parameters", "family")
    for text in given or []:
        if text.split("=", 1)[0] not in known or "=" not in text:
            raise InvalidInputError(
                f"--column is {text!r}; expected NAME=COLUMN, such as accuracy=top1, where NAME is one of "
                f"{', '.join(known)}"
            )
    return columns or None
