"""What a benchmark shows, in sentences: the verdict, what the truth itself allows, and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelselect.benchmarking.cells import mean_of, number_text, seconds_text, value_of
from modelselect.benchmarking.figures import FEWEST_FOR_AN_INTERVAL, METHOD, BenchmarkFigures, EstimatorRow
from modelselect.benchmarking.protocol import SEEDS
from modelselect.utils.text import counted, listed

FEW_DATASETS = 5
"""With fewer datasets than these a note says that they are few."""


def verdicts(table: BenchmarkFigures) -> list[str]:
    """See `BenchmarkTable.sentences`."""
    methods = [row for row in table.rows if row.kind == METHOD]
    over = f"over {counted(len(table.datasets), 'dataset')} and {counted(len(table.benchmark.models), 'model')}"
    if not methods:
        return [f"No method has a figure {over}.", *truth_itself(table)]
    best = methods[0]
    mean = "mean " if len(table.datasets) > 1 else ""
    named = f"By {mean}{table.measure.label} {over}, the best method is {best.estimator} ({value_of(table, best.mean)})"
    found = []
    if table.static is None:
        found.append(
            f"{named}. No static baseline has a score, so the table cannot say whether a method is worth its forward "
            "passes."
        )
    else:
        found.append(f"{named}, and the best static baseline is {table.static} ({mean_of(table, table.static)}).")
        found += _against(table, methods, table.static, f"the static baseline {table.static}")
    if table.history is not None:
        found.append(f"The baseline from other datasets, {table.history}, reaches {mean_of(table, table.history)}.")
        found += _against(table, methods, table.history, table.history)
    if table.reference not in (None, table.static, table.history):
        found.append(_than_reference(table, methods, table.reference))
    return [*found, *_of_probes(table, best.estimator), *truth_itself(table)]


def truth_itself(table: BenchmarkFigures) -> list[str]:
    """What the truth itself allows: how alike the datasets order the models, and how far chance decides the order."""
    alike, ceiling = table.protocol.dispersion, table.protocol.ceiling
    said = []
    if alike.weighted_kendall is not None:
        best = "1 model is" if alike.distinct == 1 else f"{alike.distinct} different models are"
        said.append(
            f"Two datasets agree on the order of the models at {alike.weighted_kendall:.2f} (mean weighted Kendall of "
            f"{counted(alike.pairs, 'pair')}), and {best} best on the {len(alike.winners)} datasets."
        )
    if ceiling is None:
        said.append(
            "The truth has one result for each model and no numbers of test rows, so how far chance decides its order "
            "is unknown."
        )
    else:
        by_seeds = SEEDS in ceiling.sources.values()
        again = "Fine-tuning again with another seed" if by_seeds else "Another draw of the test rows"
        said.append(
            f"{again} would agree with this truth at about {number_text(table, ceiling.mean)} ({table.measure.label}), "
            "so a method that reaches this is as good as a second truth."
        )
    return [" ".join(said)]


def _than_reference(table: BenchmarkFigures, methods: Sequence[EstimatorRow], reference: str) -> str:
    gains = {row.estimator: row.gains[reference] for row in methods if reference in row.gains}
    clear = [name for name, gain in gains.items() if gain.interval is not None and gain.interval[0] > 0]
    by = f"{reference} ({mean_of(table, reference)}), by the 95% interval of the difference"
    return f"Better than {by}: {listed(clear, len(clear))}." if clear else f"No method is better than {by}."


def _of_probes(table: BenchmarkFigures, best: str) -> Iterator[str]:
    """How much the figure of the best method depends on the draw of the probe, if several were drawn."""
    sweep = table.protocol.sweep
    repeated = next(iter(sweep.values())).get(best) if sweep else None
    if repeated is not None and repeated.deviation is not None:
        spread = f"{number_text(table, repeated.mean)} ± {number_text(table, repeated.deviation)}"
        yield f"Over {repeated.seeds} draws of the table's probe, {best} reaches {spread} (mean and deviation)."


def _against(table: BenchmarkFigures, methods: Sequence[EstimatorRow], baseline: str, called: str) -> Iterator[str]:
    compared = [(row.estimator, row.gains[baseline]) for row in methods if baseline in row.gains]
    losing = [name for name, gain in compared if gain.value <= 0]
    winning = [(name, gain) for name, gain in compared if gain.value > 0]
    open_ = [name for name, gain in winning if gain.interval is not None and gain.interval[0] <= 0]
    clear = [name for name, gain in winning if gain.interval is not None and gain.interval[0] > 0]
    in_the_mean = " in the mean" if len(table.datasets) > 1 else ""
    if not compared:
        yield f"No method scores two of the models that {called} scores."
    elif len(compared) == 1:
        yield f"The one method {'does not beat' if losing else 'beats'} {called}{in_the_mean}."
    elif not losing:
        yield f"Every one of {counted(len(compared), 'method')} beats {called}{in_the_mean}."
    else:
        some = f"{len(losing)} of {counted(len(compared), 'method')}"
        yield f"{some} {'does' if len(losing) == 1 else 'do'} not beat {called}: {listed(losing, len(losing))}."
    if open_:
        yield (
            f"{counted(len(open_), 'method')} {'is' if len(open_) == 1 else 'are'} better than {called}{in_the_mean}, "
            f"but the 95% interval of the difference contains 0: {listed(open_, len(open_))}."
        )
    if clear:
        yield f"Better than {called}, also by the 95% interval of the difference: {listed(clear, len(clear))}."


def remarks(table: BenchmarkFigures) -> list[str]:
    """The notes: what a reader must know of the figures."""
    found = []
    if table.resamples:
        found.append(
            f"In brackets: 95% bootstrap intervals from {table.resamples:,} resamples of the models and, for the mean, "
            f"of the datasets. A figure over fewer than {FEWEST_FOR_AN_INTERVAL} models has no interval."
        )
    if 1 < len(table.datasets) < FEW_DATASETS:
        found.append(f"{len(table.datasets)} datasets are few: the intervals of the means are probably too narrow.")
    if any(figure.n < figure.of for row in table.rows for figure in (*row.figures.values(), row.mean)):
        found.append("5/9 after a figure means that the figure covers five of nine models (a mean: of nine datasets).")
    if table.measure.points:
        found.append("Figures are points of accuracy; lower is better.")
    if any(row.seconds is not None for row in table.rows):
        forward = table.evidence_seconds
        also = "" if forward is None else f", without the forward pass, which took {seconds_text(forward)} s"
        found.append(
            f"Seconds are the mean time for one model and dataset when first computed{also}. Work that estimators "
            "share counts for the first of them."
        )
    lacking: dict[str, list[str]] = {}
    for row in table.rows:
        reasons = _reasons(table, row.estimator)
        if reasons:
            said = f"{counted(len(reasons), 'score')}, the first because: {_bare(reasons[0], row.estimator)}"
            lacking.setdefault(said, []).append(row.estimator)
    for said, names in lacking.items():
        found.append(f"{listed(names, len(names))} {'lacks' if len(names) == 1 else 'lack'} {said}")
    absent: dict[str, list[str]] = {}
    for name, reason in table.absent.items():
        absent.setdefault(_bare(reason, name), []).append(name)
    found += [f"Not in the table: {listed(names, len(names))}: {reason}" for reason, names in absent.items()]
    return [*found, *table.notes]


def _reasons(table: BenchmarkFigures, estimator: str) -> list[str]:
    by_dataset = table.benchmark.failures.get(estimator, {})
    return [failure.reason for by_model in by_dataset.values() for failure in by_model.values()]


def _bare(reason: str, estimator: str) -> str:
    """The reason without the estimator's name in front, so that one note can list all estimators with this reason."""
    return reason.removeprefix(f"{estimator} ")
