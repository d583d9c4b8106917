"""`select()`: the funnel. Candidates in, a ranked leaderboard out, without fine-tuning more than the top k."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.assessment import Assessment, VerificationWork, Work
from modelselect.candidates import Candidate, Expression, Zoo
from modelselect.errors import ExpressionError, Failure, InvalidInputError, NothingRankedError
from modelselect.estimator import Estimator, mean_rank, normalised_ranks
from modelselect.executor import Executor
from modelselect.extraction import DEFAULT_BATCH_SIZE, InputSpool, choose_device, numeric_versions
from modelselect.host import Host, get_host
from modelselect.leaderboard import Leaderboard, Row
from modelselect.progress import Progress
from modelselect.store import Store

if TYPE_CHECKING:
    from modelselect.probe import Probe
    from modelselect.verification import FineTuning

DEFAULT_ESTIMATORS = ("logme",)
"""What `select()` ranks by where the caller names no estimator."""

DEFAULT_PROBE_SIZE = 2000
"""Rows that every candidate is shown, at most."""

DEFAULT_HOLDOUT = 0.2
"""Share of the rows held out for verification where the dataset has no validation split."""

ENCODER = "graph2vec"
NEAREST_SHOWN = 3


def search(expressions: str | Iterable[str]) -> list[Candidate]:
    """The candidates that candidate expressions name: metadata only, in the zoos' order, each once.

    Args:
        expressions: `"timm:resnet*"`, `"embedded:*"`, `"dir:path/to/models/*"`, ... or several of them.

    Raises:
        ExpressionError: an expression cannot be read.
        UnknownNameError: no such zoo.

    >>> import modelselect as ms
    >>> len(ms.search("embedded:*"))
    12
    """
    host = get_host()
    found: dict[str, Candidate] = {}
    for text in [expressions] if isinstance(expressions, str) else expressions:
        expression = Expression.parse(text)
        for candidate in host.zoo(expression.zoo).search(expression.pattern):
            found.setdefault(candidate.id, candidate)
    return list(found.values())


def select(
    dataset: Any,
    candidates: Any,
    *,
    estimators: str | Estimator | Sequence[str | Estimator] | None = None,
    top_k: int = 0,
    probe_size: int | None = DEFAULT_PROBE_SIZE,
    source: Any = None,
    device: str = "auto",
    executor: str | Executor = "local",
    cache_dir: str | os.PathLike[str] | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    fine_tuning: FineTuning | None = None,
    progress: bool = True,
) -> Leaderboard:
    """Ranks pre-trained candidates for a dataset without fine-tuning them, then fine-tunes the top k if asked to.

    Everything computed is on disk the moment it exists, so that a run that was killed goes on where it stopped.

    Args:
        dataset: what `Probe.of` takes: a folder of class folders, a `datasets.Dataset`, the id of one on the Hub, a
            torch dataset, or `(inputs, labels)`. Its test split is never used.
        candidates: a candidate expression (`"timm:resnet*"`), a `Candidate`, a torch module, a tuple of a torch module
            and a transform from one row to a tensor, or a list of any of these.
        estimators: names or instances to rank by; with several, `score` is the mean normalised rank (0 last, 1 first).
            Static baselines (parameter count, ...) stand beside them and count only where they are named.
        top_k: how many of the best to fine-tune; their accuracy on held-out rows then orders them.
        probe_size: rows that every candidate is shown, at most, drawn evenly over the classes; None for all.
        source: a dataset of what the candidates were pre-trained on, for estimators that need source evidence. Where
            it is None, zoos that know their candidates' source data provide it.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`.
        executor: `"local"`, `"process"` (a crash costs one candidate), or an `Executor`.
        cache_dir: where evidence is kept; None for the user's cache folder.
        trust_remote_code: whether candidates may run code that they bring.
        seed: of the probe, of stochastic estimators and of fine-tuning.
        batch_size: rows in a forward pass; halved when memory runs out.
        fine_tuning: how to fine-tune the top k; None for the defaults.
        progress: whether to show progress in a terminal.

    Returns:
        The leaderboard. A candidate that fails is a row that says why.

    Raises:
        InvalidInputError: dataset, candidates or estimators cannot be used (`DatasetError`, `ExpressionError`,
            `UnknownNameError`, ...).
        NothingRankedError: not one candidate could be ranked; its `leaderboard` says why for each.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> images[:20, :16] //= 8  # half of them are dark above
    >>> board = ms.select((images, [0] * 20 + [1] * 20), "embedded:*", estimators="logme", progress=False)
    >>> board.best.rank
    1
    """
    from modelselect.probe import Probe

    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    if top_k < 0:
        raise InvalidInputError(f"top_k is {top_k}; expected 0 (no fine-tuning) or how many to fine-tune")
    host = get_host()
    runner = executor if isinstance(executor, Executor) else host.executor(executor)
    chosen = _estimators(host, estimators)
    methods = chosen + [e for e in host.estimators.values() if e.is_static and e.name not in {c.name for c in chosen}]
    device = choose_device(device)
    probe = Probe.of(dataset, size=probe_size, seed=seed, holdout=DEFAULT_HOLDOUT if top_k else 0.0)
    if top_k and probe.holdout is None:
        raise InvalidInputError(
            "top_k asks for fine-tuning, and the probe has no held-out rows to measure it on. Make the probe with "
            f"Probe.of(dataset, holdout={DEFAULT_HOLDOUT}), or give select() the dataset itself."
        )
    source_probe = None if source is None else Probe.of(source, size=probe_size, seed=seed)
    pool, own_zoos = _candidates(candidates, probe)
    store = Store(None if cache_dir is None else Path(cache_dir))

    with InputSpool.temporary(store.path / "spool") as spool, Progress(progress) as bars:
        work = Work(
            probe=probe,
            source=source_probe,
            estimators=tuple(methods),
            cache_dir=store.path,
            spool=spool,
            device=device,
            batch_size=batch_size,
            trust_remote_code=trust_remote_code,
            seed=seed,
            zoos=own_zoos,
            progress=None if runner.isolated else bars.batches,
        )
        results = _assess(host, runner, work, pool, bars)
        board = _rank(pool, results, methods, chosen)
        if top_k and board.ranked:
            identities = {key: result.identity for key, result in results.items() if isinstance(result, Assessment)}
            board = _verify(board, runner, work, identities, top_k, fine_tuning, bars)
    board = replace(
        board,
        provenance={
            "dataset": probe.provenance,
            "source": None if source_probe is None else source_probe.provenance,
            "fingerprint": probe.fingerprint,
            "ranked_by": [e.name for e in chosen],
            "estimators": {e.name: {"key": e.key, "parameters": e.parameters, "citation": e.citation} for e in methods},
            "settings": {
                "top_k": top_k,
                "probe_size": probe_size,
                "device": device,
                "executor": runner.name,
                "batch_size": batch_size,
                "trust_remote_code": trust_remote_code,
                "seed": seed,
            },
            "versions": {"python": platform.python_version(), **numeric_versions()},
            "plugins": {p.name: f"{p.distribution} {p.version}" for p in host.plugins if not p.faults},
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
            "from_store": sum(result.reused for result in results.values() if isinstance(result, Assessment)),
        },
    )
    host.notify("selection_finished", leaderboard=board)
    if not board.ranked:
        reasons = "; ".join(f"{row.candidate}: {_why_unranked(row)}" for row in board.rows[:3])
        more = f"; and {len(board.rows) - 3} more" if len(board.rows) > 3 else ""
        raise NothingRankedError(f"not one of {len(board.rows)} candidates could be ranked: {reasons}{more}", board)
    return board


# --- the stages ------------------------------------------------------------------------------------------------------


def _assess(
    host: Host, runner: Executor, work: Work, pool: Sequence[Candidate], bars: Progress
) -> dict[str, Assessment | Failure]:
    """Every candidate's assessment, or why it has none, by id."""
    results: dict[str, Assessment | Failure] = {}
    with bars.candidates("scoring", len(pool)) as advance:
        for outcome in runner.map(work, pool):
            candidate: Candidate = outcome.item
            if outcome.failure is not None:
                results[candidate.id] = outcome.failure
                host.notify("candidate_failed", candidate=candidate, failure=outcome.failure)
            else:
                results[candidate.id] = outcome.value
                host.notify("candidate_scored", candidate=candidate, scores=outcome.value.components)
            advance(candidate.id)
    return results


def _rank(
    pool: Sequence[Candidate],
    results: Mapping[str, Assessment | Failure],
    methods: Sequence[Estimator],
    chosen: Sequence[Estimator],
) -> Leaderboard:
    """Rows in order. Scores are combined over the whole pool, in the pool's order, whatever finished first."""
    scores = {e.name: _combined(e, pool, results) for e in methods}
    shown = [e for e in methods if e in chosen or not np.isnan(scores[e.name]).all()]
    totals = scores[chosen[0].name]
    if len(chosen) > 1:
        totals = mean_rank({e.name: normalised_ranks(scores[e.name]) for e in chosen})
    ranks = _competition_ranks(totals)
    embeddings = _embed(pool, results)
    rows = []
    for index, candidate in enumerate(pool):
        result = results[candidate.id]
        if isinstance(result, Failure):
            rows.append(Row(candidate, failure=result, parameters=candidate.metadata.get("parameters")))
            continue
        embedding, nearest = embeddings.get(candidate.id, (None, ()))
        rows.append(
            Row(
                candidate,
                rank=ranks[index],
                score=None if ranks[index] is None else float(totals[index]),
                predicted_rank=ranks[index],
                scores={e.name: float(scores[e.name][index]) for e in shown if not np.isnan(scores[e.name][index])},
                components=result.components,
                failures={name: f for name, f in result.failures.items() if name in {e.name for e in chosen}},
                warnings=result.warnings,
                parameters=result.parameters,
                macs=result.macs,
                feature_dim=result.feature_dim,
                seconds=result.seconds,
                embedding=embedding,
                nearest=nearest,
            )
        )
    order = sorted(range(len(rows)), key=lambda i: (rows[i].failure is not None, ranks[i] or len(rows) + 1, i))
    return Leaderboard(tuple(rows[i] for i in order), tuple(e.name for e in shown))


def _combined(
    estimator: Estimator, pool: Sequence[Candidate], results: Mapping[str, Assessment | Failure]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One number for each candidate; NaN where there is none."""
    components = [
        (index, result.components[estimator.name])
        for index, candidate in enumerate(pool)
        if isinstance(result := results[candidate.id], Assessment) and estimator.name in result.components
    ]
    column = np.full(len(pool), np.nan)
    if components:
        column[[index for index, _ in components]] = estimator.combine([c for _, c in components])
    return column


def _competition_ranks(totals: np.ndarray[Any, np.dtype[np.float64]]) -> list[int | None]:
    """1 for the highest; equal totals share the best of their ranks; None where there is no total."""
    return [None if np.isnan(t) else 1 + int((totals > t).sum()) for t in totals]


def _embed(
    pool: Sequence[Candidate], results: Mapping[str, Assessment | Failure]
) -> dict[str, tuple[tuple[float, ...], tuple[tuple[str, float], ...]]]:
    """archi2vec vector and nearest architectures of every candidate that has a graph, by id."""
    from modelselect import archi2vec

    graphs = {
        candidate.id: archi2vec.from_json(result.graph)
        for candidate in pool
        if isinstance(result := results[candidate.id], Assessment) and result.graph is not None
    }
    if len(graphs) < 2:
        return {}
    ids = list(graphs)
    vectors = archi2vec.embed(list(graphs.values()))
    answer = {}
    for index, candidate_id in enumerate(ids):
        near = archi2vec.nearest(vectors, index, min(NEAREST_SHOWN, len(ids) - 1))
        answer[candidate_id] = (
            tuple(float(v) for v in vectors[index]),
            tuple((ids[other], float(similarity)) for other, similarity in near),
        )
    return answer


def _verify(
    board: Leaderboard,
    runner: Executor,
    work: Work,
    identities: Mapping[str, str],
    top_k: int,
    settings: FineTuning | None,
    bars: Progress,
) -> Leaderboard:
    """The board with its first k fine-tuned, and those in the order of their accuracy."""
    from modelselect.verification import FineTuning

    survivors = board.ranked[:top_k]
    verified = {}
    failures = {}
    task = VerificationWork(work, settings or FineTuning(), identities)
    with bars.candidates("fine-tuning", len(survivors)) as advance:
        for outcome in runner.map(task, [row.candidate for row in survivors]):
            if outcome.failure is not None:
                failures[outcome.item.id] = replace(outcome.failure, stage="verify")
            else:
                verified[outcome.item.id] = outcome.value
            advance(outcome.item.id)
    rows = []
    for row in board.rows:
        if (result := verified.get(row.candidate.id)) is not None:
            row = replace(
                row,
                verified_accuracy=result.accuracy,
                verified_interval=result.interval,
                seconds=row.seconds + result.seconds,
            )
        elif (failure := failures.get(row.candidate.id)) is not None:
            row = replace(row, failures={**row.failures, "verify": failure})
        rows.append(row)
    first = sorted((r for r in rows if r.verified_accuracy is not None), key=lambda r: -(r.verified_accuracy or 0.0))
    accuracies = [r.verified_accuracy or 0.0 for r in first]
    first = [replace(row, rank=1 + sum(a > accuracies[i] for a in accuracies)) for i, row in enumerate(first)]
    rest = [row for row in rows if row.verified_accuracy is None]
    unverified_ranks = [row.predicted_rank for row in rest if row.predicted_rank is not None]
    rest = [
        row
        if row.predicted_rank is None
        else replace(row, rank=len(first) + 1 + sum(rank < row.predicted_rank for rank in unverified_ranks))
        for row in rest
    ]
    return replace(board, rows=(*first, *rest))


# --- what the caller gave --------------------------------------------------------------------------------------------


def _estimators(host: Host, given: str | Estimator | Sequence[str | Estimator] | None) -> list[Estimator]:
    names = DEFAULT_ESTIMATORS if given is None else [given] if isinstance(given, str | Estimator) else list(given)
    if not names:
        raise InvalidInputError("estimators is empty; name at least one, or leave it out for the default")
    chosen = [name if isinstance(name, Estimator) else host.estimator(name) for name in names]
    twice = sorted({e.name for e in chosen if [c.name for c in chosen].count(e.name) > 1})
    if twice:
        raise InvalidInputError(f"estimators given twice: {', '.join(twice)}; each name may stand there once")
    return chosen


def _candidates(given: Any, probe: Probe) -> tuple[list[Candidate], dict[str, Zoo]]:
    """Candidates in the order given, each once, and the zoo of bare modules if there are any."""
    from modelselect.modules import ModuleZoo, as_named_modules

    items = list(given) if isinstance(given, list | set | frozenset) or _is_iterator(given) else [given]
    expressions: list[str] = []
    pool: dict[str, Candidate] = {}
    modules = as_named_modules(item for item in items if not isinstance(item, str | Candidate))
    for item in items:
        if isinstance(item, str):
            found = search(item)
            expressions.append(item)
        elif isinstance(item, Candidate):
            found = [item]
        else:
            continue
        for candidate in found:
            pool.setdefault(candidate.id, candidate)
    own_zoos: dict[str, Zoo] = {}
    if modules:
        zoo = ModuleZoo(modules, probe)
        own_zoos[zoo.name] = zoo
        pool |= {candidate.id: candidate for candidate in zoo.search("*")}
    if not pool:
        described = ", ".join(map(repr, expressions)) or "an empty list"
        raise ExpressionError(
            f"no candidate matched {described}. See what there is with modelselect search 'ZOO:*' and modelselect zoos."
        )
    return list(pool.values()), own_zoos


def _is_iterator(given: Any) -> bool:
    return hasattr(given, "__next__")


def _why_unranked(row: Row) -> str:
    return row.failure.reason if row.failure else row.status
