"""`select()`: the funnel. Candidates in, a ranked leaderboard out, without fine-tuning more than the top k."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.assessment import Assessment, Verification, VerificationWork, Work
from modelselect.backbone import in_evaluation_mode
from modelselect.budget import DEFAULT_CONFIDENCE, Budget, Gate, Meter, check_confidence
from modelselect.candidates import Candidate, Expression
from modelselect.cost import Limits
from modelselect.errors import (
    ExpressionError,
    Failure,
    InvalidInputError,
    ModelSelectError,
    NothingRankedError,
    SearchError,
)
from modelselect.estimator import Estimator
from modelselect.executor import Executor
from modelselect.extraction import ALL_LIBRARIES, BatchProgress, check_precision, choose_device, numeric_versions
from modelselect.host import Host, get_host
from modelselect.leaderboard import LIMIT, Leaderboard, Row
from modelselect.progress import Progress
from modelselect.ranking import rank
from modelselect.recall import GivenHistory, look, open_history, recollect, remember, shortlist, usable
from modelselect.rounds import Affordable, Ended, Rounds, affordable_fine_tuning, record
from modelselect.spool import InputSpool
from modelselect.store import Store
from modelselect.uncertainty import check_resamples

if TYPE_CHECKING:
    from modelselect.history import History
    from modelselect.modules import ModuleZoo
    from modelselect.probe import Probe
    from modelselect.verification import FineTuning

DEFAULT_ESTIMATORS = ("etran", "knn", "logme")
"""What `select()` ranks by where the caller names no estimator: see docs/explanation/default-estimators.md."""

ALL_ESTIMATORS = "all"
"""What stands for every estimator that is registered, but for the static baselines, which stand beside anyway."""

MAX_SEED = 2**32 - 2**16
"""What every library's random numbers can start from, with room for what is counted up from it."""

DEFAULT_PROBE_SIZE = 2000
"""Rows that every candidate is shown, at most."""

DEFAULT_HOLDOUT = 0.2
"""Share of the rows held out for verification where the dataset has no validation split."""

DEFAULT_MAX_CORRUPT = 0.1
"""Share of the rows looked at that may be unreadable."""


def search(expressions: str | Iterable[str]) -> list[Candidate]:
    """The candidates that candidate expressions name: metadata only, in the zoos' order, each once.

    Args:
        expressions: `"timm:resnet*"`, `"embedded:*"`, `"dir:path/to/models/*"`, ... or several of them.

    Raises:
        ExpressionError: an expression cannot be read.
        UnknownNameError: no such zoo.
        SearchError: the zoo failed: no network, say.

    >>> import modelselect as ms
    >>> len(ms.search("embedded:*"))
    12
    """
    host = get_host()
    found: dict[str, Candidate] = {}
    for text in [expressions] if isinstance(expressions, str) else expressions:
        expression = Expression.parse(text)
        zoo = host.zoo(expression.zoo)
        try:
            for candidate in zoo.search(expression.pattern):
                found.setdefault(candidate.id, candidate)
        except ModelSelectError:
            raise
        except Exception as error:
            owner = host.owner("zoos", zoo.name).owner
            raise SearchError(
                f"{text!r} could not be searched: {type(error).__name__}: {error} (from {owner})"
            ) from error
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
    batch_size: int | None = None,
    precision: str = "float32",
    compile: bool = False,
    fine_tuning: FineTuning | None = None,
    verify: str = "full",
    resamples: int = 0,
    max_corrupt: float = DEFAULT_MAX_CORRUPT,
    recall: int | None = None,
    history: GivenHistory = None,
    proxy: str | Candidate | None = None,
    budget: Budget | str | int | None = None,
    confidence: float = DEFAULT_CONFIDENCE,
    costs: bool = False,
    max_parameters: int | None = None,
    max_latency_ms: float | None = None,
    license: str | Sequence[str] | None = None,
    progress: bool = True,
) -> Leaderboard:
    """Ranks pre-trained candidates for a dataset without fine-tuning them, then fine-tunes the top k if asked to.

    Everything computed is on disk the moment it exists, so that a run that was killed goes on where it stopped.

    Args:
        dataset: what `Probe.of` takes: a folder of class folders, a `datasets.Dataset`, the id of one on the Hub, a
            torch dataset, or `(inputs, labels)`. Its test split is never used.
        candidates: a candidate expression (`"timm:resnet*"`), a `Candidate`, a torch module, a tuple of a torch module
            and a transform from one row to a tensor, or a list of any of these.
        estimators: names or instances to rank by, or `"all"`; with several, `score` is the mean normalised rank (0
            last, 1 first). Static baselines (parameter count, ...) stand beside them and count only where named.
        top_k: how many of the best to fine-tune; their accuracy on held-out rows then orders them.
        probe_size: rows that every candidate is shown, at most, drawn evenly over the classes; None for all.
        source: a dataset of what the candidates were pre-trained on, for estimators that need source evidence. Where
            it is None, zoos that know their candidates' source data provide it.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:1"`.
        executor: `"local"`, `"process"` (a crash costs one candidate), or an `Executor`.
        cache_dir: where evidence is kept; None for the user's cache folder.
        trust_remote_code: whether candidates may run code that they bring.
        seed: of the probe, of stochastic estimators and of fine-tuning.
        batch_size: rows in a forward pass; None: what suits the device and the size of the inputs. Halved when memory
            runs out.
        precision: of the forward pass: `"float32"`, or, where the device has it, `"bfloat16"` or `"float16"` (matrix
            products and convolutions in it by autocast, the rest in float32; features are stored as float32).
        compile: whether to compile every candidate with `torch.compile`: some seconds or minutes each, for a faster
            forward pass; pays for large probes on a GPU.
        fine_tuning: how to fine-tune the top k; None for the defaults.
        verify: what fine-tuning trains: `"full"`, all weights; `"head"`, a linear head alone, which takes one forward
            pass; `"lora"`, low-rank adapters and the head (takes peft, the extra `lora`).
        resamples: how often to score four fifths of the probe's rows as well, the same for every candidate, to tell
            how sure the scores are (`Row.standard_error`, `Leaderboard.confidence`); 0 not to, else 50 or so.
        max_corrupt: share of the dataset's rows looked at that may be unreadable.
        recall: how many candidates to keep before any is downloaded: those of which the transfer history expects most
            (`fennec`). None keeps all.
        history: the transfer history that recall and estimators go by, and that this run is added to: a path, a
            `History`, None for the user's own, or False for none.
        proxy: the candidate that looks at the dataset for estimators that compare others with it (`rsa`, `dds`) or
            datasets by it (`fennec`); None for CLIP where it is cached, else a small network that comes along.
        budget: what the run may take: a time (`"20m"`), forward passes (`"50000 passes"`, or the number), money
            (`"3 EUR at 1.20 EUR/h"`), or a `Budget`; None for what it takes. Under a budget candidates are shown ever
            larger parts of the probe, and only those that may still be among the first go on; see
            docs/explanation/budget.md.
        confidence: with which the first place counts as decided, where there is a budget.
        costs: whether to measure latency, throughput and memory of every candidate on this device.
        max_parameters: candidates with more have no rank, and are neither downloaded nor loaded where their zoo knows.
        max_latency_ms: candidates that take more milliseconds for one row on this device have none.
        license: a glob, or several: candidates whose licence matches none, or is not known, have none.
        progress: whether to show progress in a terminal.

    Returns:
        The leaderboard. A candidate that fails, or does not pass a limit, is a row that says why.

    Raises:
        InvalidInputError: dataset, candidates or estimators cannot be used (`DatasetError`, `ExpressionError`,
            `UnknownNameError`, ...).
        NothingRankedError: not one candidate could be ranked; its `leaderboard` says why for each.
        HistoryError, NotApplicableError: `recall` is asked for, and the history cannot be read, or holds nothing.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> images[:20, :16] //= 8  # half of them are dark above
    >>> board = ms.select((images, [0] * 20 + [1] * 20), "embedded:*", estimators="logme", progress=False)
    >>> board.best.rank
    1
    """
    from modelselect.verification import FineTuning, check_method

    started = datetime.datetime.now(datetime.UTC)
    clock = time.perf_counter()
    meter = None if budget is None else Meter(Budget.of(budget))
    check_confidence(confidence)
    limits = Limits.of(max_parameters, max_latency_ms, license)
    past = history_for(history, recall)
    if top_k:
        check_method(verify)
    settings = FineTuning() if fine_tuning is None else fine_tuning
    if not isinstance(settings, FineTuning):
        raise InvalidInputError(f"fine_tuning is {settings!r}; expected FineTuning(epochs=..., ...), or None")
    request = Request.of(
        dataset,
        candidates,
        estimators=estimators,
        top_k=top_k,
        probe_size=probe_size,
        source=source,
        device=device,
        executor=executor,
        cache_dir=cache_dir,
        trust_remote_code=trust_remote_code,
        seed=seed,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
        resamples=resamples,
        max_corrupt=max_corrupt,
    )
    host, runner, chosen, methods = request.host, request.runner, request.chosen, request.methods

    bare = in_evaluation_mode(*(module for zoo in request.own_zoos.values() for module in zoo.modules))
    with bare, InputSpool.temporary(request.store.path / "spool") as spool, Progress(progress) as bars:
        work = request.work(spool, None if runner.isolated else bars.batches)
        work.costs, work.limits = costs or limits.max_latency_ms is not None, limits
        pool, settled, recalled = narrow(request, work, past, recall, proxy, bars)
        scored = None
        stages = []
        if meter is None:
            open_ones = [candidate for candidate in pool if candidate.id not in settled]
            results = settled | _assess(host, runner, work, open_ones, len(open_ones), bars=bars)
            board = rank(pool, results, methods, chosen, resamples)
        else:
            assess = partial(_assess, host, runner, bars=bars)
            rounds = Rounds(work, chosen, methods, meter, confidence, top_k, assess, runner.workers)
            scored = rounds.score(pool, settled)
            board, results, work = scored.board, scored.results, scored.work
        if top_k and board.ranked:
            identities = {key: result.identity for key, result in results.items() if isinstance(result, Assessment)}
            task = VerificationWork(work, settings, identities, verify)
            if meter is None or scored is None:
                board = _verify(board, runner, task, top_k, bars)
            else:
                affordable = affordable_fine_tuning(scored, meter, task, top_k=top_k, confidence=confidence)
                settings = affordable.settings
                board, stage = _verify_within(affordable, meter, board, runner, task, bars)
                stages.append(stage)
        recipe = {"method": verify, **asdict(settings)} if top_k else None
        if past is not None:
            assessed = {key: result for key, result in results.items() if isinstance(result, Assessment)}
            remember(past, board, work, chosen, assessed, recipe, may_look=meter is None)
    board = replace(
        board,
        provenance={
            "dataset": work.probe.provenance,
            "source": None if request.source is None else request.source.provenance,
            "fingerprint": work.probe.fingerprint,
            "ranked_by": [e.name for e in chosen],
            "estimators": {e.name: {"key": e.key, "parameters": e.parameters, "citation": e.citation} for e in methods},
            "settings": {
                "top_k": top_k,
                "probe_size": len(work.probe),
                "requested_probe_size": probe_size,
                "fine_tuning": recipe,
                "device": request.device,
                "executor": runner.name,
                "batch_size": batch_size,
                "precision": precision,
                "compile": compile,
                "trust_remote_code": trust_remote_code,
                "seed": seed,
                "probe_seed": work.probe.seed,
                "resamples": work.resamples,
                "costs": work.costs,
                "limits": asdict(limits),
            },
            "recall": recalled,
            "budget": None if meter is None or scored is None else record(budget, meter, confidence, scored, stages),
            "versions": {"python": platform.python_version(), **numeric_versions(ALL_LIBRARIES)},
            "plugins": {p.name: f"{p.distribution} {p.version}" for p in host.plugins if not p.faults},
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
            "from_store": sum(result.reused for result in results.values() if isinstance(result, Assessment)),
        },
    )
    host.notify("selection_finished", leaderboard=board)
    if not board.ranked:
        limited = all(row.failure is not None and row.failure.stage == LIMIT for row in board.rows)
        why = f"passes the limits ({limits})" if limits and limited else "could be ranked"
        reasons = "; ".join(f"{row.candidate}: {_why_unranked(row)}" for row in board.rows[:3])
        more = f"; and {len(board.rows) - 3} more" if len(board.rows) > 3 else ""
        raise NothingRankedError(f"not one of {len(board.rows)} candidates {why}: {reasons}{more}", board)
    return board


# --- what is asked for -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What a caller of `select()` or `plan()` asks for, checked, with the dataset read and the candidates searched."""

    host: Host
    runner: Executor
    chosen: list[Estimator]
    methods: list[Estimator]
    probe: Probe
    source: Probe | None
    pool: list[Candidate]
    own_zoos: dict[str, ModuleZoo]
    unsearched: dict[str, Assessment | Failure]
    store: Store
    device: str
    batch_size: int | None
    precision: str
    compile: bool
    trust_remote_code: bool
    seed: int
    resamples: int

    @classmethod
    def of(
        cls,
        dataset: Any,
        candidates: Any,
        *,
        estimators: str | Estimator | Sequence[str | Estimator] | None,
        top_k: int,
        probe_size: int | None,
        source: Any,
        device: str,
        executor: str | Executor,
        cache_dir: str | os.PathLike[str] | None,
        trust_remote_code: bool,
        seed: int,
        batch_size: int | None,
        precision: str,
        compile: bool,
        resamples: int,
        max_corrupt: float,
    ) -> Request:
        """See `select`, whose arguments these are, and whose errors are raised here."""
        from modelselect.probe import Probe

        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0:
            raise InvalidInputError(f"top_k is {top_k!r}; expected 0 (no fine-tuning) or how many to fine-tune")
        if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise InvalidInputError(f"seed is {seed!r}; expected an integer from 0 to {MAX_SEED}")
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise InvalidInputError(f"batch_size is {batch_size!r}; expected 1 or more rows, or None")
        if not isinstance(cache_dir, str | os.PathLike | None):
            raise InvalidInputError(f"cache_dir is {cache_dir!r}; expected the path of a folder, or None")
        if not isinstance(executor, str | Executor):
            raise InvalidInputError(f"executor is {executor!r}; expected a name such as 'local', or an Executor")
        check_resamples(resamples)
        host = get_host()
        runner = executor if isinstance(executor, Executor) else host.executor(executor)
        chosen = choose_estimators(host, estimators)
        named = {estimator.name for estimator in chosen}
        device = choose_device(device, host.extractors)
        check_precision(precision, device)
        holdout = DEFAULT_HOLDOUT if top_k else 0.0
        probe = Probe.of(dataset, size=probe_size, seed=seed, holdout=holdout, max_corrupt=max_corrupt)
        if top_k and probe.holdout is None:
            raise InvalidInputError(
                "top_k asks for fine-tuning, and the probe has no held-out rows to measure it on. Make the probe with "
                f"Probe.of(dataset, holdout={DEFAULT_HOLDOUT}), or give select() the dataset itself."
            )
        pool, own_zoos, unsearched = _candidates(candidates, probe)
        return cls(
            host=host,
            runner=runner,
            chosen=chosen,
            methods=chosen + [e for e in host.estimators.values() if e.is_static and e.name not in named],
            probe=probe,
            source=None if source is None else Probe.of(source, size=probe_size, seed=seed, max_corrupt=max_corrupt),
            pool=pool,
            own_zoos=own_zoos,
            unsearched=unsearched,
            store=Store(None if cache_dir is None else Path(cache_dir)),
            device=device,
            batch_size=batch_size,
            precision=precision,
            compile=compile,
            trust_remote_code=trust_remote_code,
            seed=seed,
            resamples=resamples,
        )

    def work(self, spool: InputSpool, progress: BatchProgress | None = None) -> Work:
        """What executors are to do with every candidate."""
        return Work(
            probe=self.probe,
            source=self.source,
            estimators=tuple(self.methods),
            cache_dir=self.store.path,
            spool=spool,
            device=self.device,
            batch_size=self.batch_size,
            precision=self.precision,
            compile=self.compile,
            trust_remote_code=self.trust_remote_code,
            seed=self.seed,
            zoos=self.own_zoos,
            resamples=self.resamples,
            progress=progress,
        )


def history_for(given: GivenHistory, recall: int | None) -> History | None:
    """The history to go by and to add to; None where there is none, or none that can be read."""
    past = open_history(given)
    if recall is None:
        return None if past is None else usable(past)
    if isinstance(recall, bool) or not isinstance(recall, int) or recall < 1:
        raise InvalidInputError(f"recall is {recall!r}; expected how many candidates to keep, or None for all")
    if past is None:
        raise InvalidInputError("recall goes by the transfer history, and history is False; give one, or no recall")
    return past


# --- the stages ------------------------------------------------------------------------------------------------------


def narrow(
    request: Request,
    work: Work,
    history: History | None,
    recall: int | None,
    proxy: str | Candidate | None,
    bars: Progress,
) -> tuple[list[Candidate], dict[str, Assessment | Failure], dict[str, Any] | None]:
    """The cuts that load no candidate: limits, and recall by the history.

    Returns:
        The pool; why some of it have no scores, by id; the record of what was recalled.
    """
    chosen, pool = request.chosen, request.pool
    settled = request.unsearched | beyond(work.limits, work, pool, request.unsearched)
    recalled = None
    searched = [candidate for candidate in pool if candidate.id not in settled]
    if proxy is not None or any("proxy_features" in e.reads for e in chosen):
        look(work, history, proxy)
    if history is not None and searched and (recall is not None or any("history" in e.reads for e in chosen)):
        work.recollection = recollect(history, work, searched, bars)
        if recall is not None:
            survivors, recalled = shortlist(work.recollection, work, searched, recall)
            kept = {candidate.id for candidate in survivors} | settled.keys()
            pool = [candidate for candidate in pool if candidate.id in kept]
        if not any("history" in e.reads for e in chosen):
            work.recollection = None  # large, and of no further use
    return pool, settled, recalled


def beyond(
    limits: Limits, work: Work, pool: Sequence[Candidate], settled: Mapping[str, Assessment | Failure]
) -> dict[str, Assessment | Failure]:
    """The candidates that do not pass the limits, as far as can be told without loading them, by id."""
    beyond: dict[str, Assessment | Failure] = {}
    for candidate in pool if limits else ():
        if candidate.id not in settled:
            parameters = candidate.metadata.get("parameters")
            if parameters is None and limits.max_parameters is not None:
                parameters = work.foresee(candidate).parameters
            if (reason := limits.foreseen(candidate, parameters)) is not None:
                beyond[candidate.id] = Failure(LIMIT, reason)
    return beyond


def _assess(
    host: Host,
    runner: Executor,
    work: Work,
    candidates: Iterable[Candidate],
    count: int,
    ended: Ended | None = None,
    *,
    bars: Progress,
) -> dict[str, Assessment | Failure]:
    """The assessment of each of at most `count` candidates, or why it has none, by id; `ended` is told of each."""
    results: dict[str, Assessment | Failure] = {}
    one_by_one = runner.sized(1) if work.costs else runner  # so that nothing else is at work while one is timed
    with bars.candidates("scoring", count) as advance:
        for outcome in one_by_one.map(work, candidates):
            candidate: Candidate = outcome.item
            result: Assessment | Failure = outcome.failure or outcome.value
            results[candidate.id] = result
            if ended is not None:
                ended(candidate, result)
            if isinstance(result, Failure):
                host.notify("candidate_failed", candidate=candidate, failure=result)
            else:
                host.notify("candidate_scored", candidate=candidate, scores=result.components)
            advance(candidate.id)
    return results


def _verify_within(
    affordable: Affordable, meter: Meter, board: Leaderboard, runner: Executor, task: VerificationWork, bars: Progress
) -> tuple[Leaderboard, dict[str, Any]]:
    """The board with as many fine-tuned as can be afforded, and the record of that."""
    begun, passed = meter.seconds, meter.passes
    gate = Gate(meter, workers=runner.workers)

    def price(candidate: Candidate) -> float:
        return affordable.prices[candidate.id]

    def ended(candidate: Candidate, result: Verification | Failure) -> None:
        gate.ended(candidate)
        meter.passes += 0 if isinstance(result, Verification) and result.reused else affordable.passes

    if affordable.top_k:
        task = replace(task, settings=affordable.settings)
        board = _verify(board, runner, task, affordable.top_k, bars, partial(gate.admit, price=price), ended)
    return board, {
        "stage": "verify",
        "candidates": sum(row.verified_accuracy is not None for row in board.rows),
        "epochs": affordable.settings.epochs if affordable.top_k else 0,
        "seconds": meter.seconds - begun,
        "passes": meter.passes - passed,
        "decision": affordable.decision + ("; the budget was used up" if gate.refused is not None else ""),
    }


def _verify(
    board: Leaderboard,
    runner: Executor,
    task: VerificationWork,
    top_k: int,
    bars: Progress,
    admit: Callable[[Sequence[Candidate]], Iterable[Candidate]] = iter,
    ended: Callable[[Candidate, Verification | Failure], None] | None = None,
) -> Leaderboard:
    """The board with its first k fine-tuned, and those in the order of their accuracy; the best one's weights are kept.

    Of the others' weights, those that were made just now are dropped; what an earlier run has kept stays.
    """
    survivors = board.ranked[:top_k]
    place = {row.candidate.id: index for index, row in enumerate(survivors)}
    verified: dict[str, Verification] = {}
    failures = {}
    winner = None
    with bars.candidates("fine-tuning", len(survivors)) as advance:
        for outcome in runner.map(task, admit([row.candidate for row in survivors])):
            candidate: Candidate = outcome.item
            if ended is not None:
                ended(candidate, outcome.failure or outcome.value)
            if outcome.failure is not None:
                failures[candidate.id] = replace(outcome.failure, stage="verify")
            else:
                verified[candidate.id] = outcome.value
                order = sorted(verified, key=lambda c: (-verified[c].verified.accuracy, place[c]))
                winner = survivors[place[order[0]]].candidate
                for left in order[1:]:
                    _drop(verified, left, task.work.cache_dir)
            advance(candidate.id)
    if winner is not None and verified[winner.id].checkpoint is None:  # evicted, or dropped when it was not the best
        for outcome in runner.map(replace(task, needs_checkpoint=True), [winner]):
            if outcome.failure is None:
                verified[winner.id] = outcome.value
    folder = task.work.cache_dir
    kept_in = None if folder == Store().path else str(folder)
    rows = []
    for row in board.rows:
        if (result := verified.get(row.candidate.id)) is not None:
            best = winner is not None and row.candidate.id == winner.id
            row = replace(
                row,
                verified_accuracy=result.verified.accuracy,
                verified_interval=result.verified.interval,
                seconds=row.seconds + result.verified.seconds,
                fine_tuned=result.checkpoint if best else None,
                fine_tuned_in=kept_in if best else None,
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


def _drop(verified: dict[str, Verification], candidate_id: str, cache_dir: Path) -> None:
    """Removes the weights of one that is not the best, if they were made just now."""
    found = verified[candidate_id]
    if found.checkpoint is not None and not found.reused:
        Store(cache_dir).remove(found.checkpoint)
        verified[candidate_id] = replace(found, checkpoint=None)


# --- what the caller gave --------------------------------------------------------------------------------------------


def choose_estimators(host: Host, given: str | Estimator | Sequence[str | Estimator] | None) -> list[Estimator]:
    """The estimators that a caller names; None for the default.

    Raises:
        InvalidInputError: none is named, one twice, or something that is no estimator; `UnknownNameError`.
    """
    if isinstance(given, str) and given == ALL_ESTIMATORS:
        return [e for e in host.estimators.values() if not e.is_static]
    names = DEFAULT_ESTIMATORS if given is None else [given] if isinstance(given, str | Estimator) else list(given)
    if not names:
        raise InvalidInputError("estimators is empty; name at least one, or leave it out for the default")
    for name in names:
        if not isinstance(name, str | Estimator):
            raise InvalidInputError(f"{name!r} is not an estimator; expected a name or an instance, such as 'logme'")
    chosen = [name if isinstance(name, Estimator) else host.estimator(name) for name in names]
    twice = sorted({e.name for e in chosen if [c.name for c in chosen].count(e.name) > 1})
    if twice:
        raise InvalidInputError(f"estimators given twice: {', '.join(twice)}; each name may stand there once")
    return chosen


def _candidates(
    given: Any, probe: Probe
) -> tuple[list[Candidate], dict[str, ModuleZoo], dict[str, Assessment | Failure]]:
    """Candidates in the order given, each once; the zoo of bare modules if there are any; what could not be searched.

    An expression whose zoo failed stands in the pool as a candidate of that name, and in the last by its failure.
    """
    from modelselect.modules import ModuleZoo, as_named_modules

    if isinstance(given, set | frozenset):  # their order changes from run to run
        given = sorted(given, key=str)
    items = list(given) if isinstance(given, list) or _is_iterator(given) else [given]
    unsearched: dict[str, Assessment | Failure] = {}
    pool: dict[str, Candidate] = {}
    modules = as_named_modules(item for item in items if not isinstance(item, str | Candidate))
    for item in items:
        if isinstance(item, str):
            try:
                found = search(item)
            except SearchError as error:
                expression = Expression.parse(item)
                found = [Candidate(expression.zoo, expression.pattern)]
                unsearched[found[0].id] = Failure.from_exception("search", error)
        elif isinstance(item, Candidate):
            found = [item]
        else:
            continue
        if not found:
            raise ExpressionError(
                f"no candidate matched {item!r}. Look with modelselect search 'ZOO:*' and modelselect zoos."
            )
        for candidate in found:
            pool.setdefault(candidate.id, candidate)
    own_zoos: dict[str, ModuleZoo] = {}
    if modules:
        zoo = ModuleZoo(modules, probe)
        own_zoos[zoo.name] = zoo
        pool |= {candidate.id: candidate for candidate in zoo.search("*")}
    if not pool:
        raise ExpressionError("no candidate matched an empty list; name at least one, such as 'embedded:*'")
    return list(pool.values()), own_zoos, unsearched


def _is_iterator(given: Any) -> bool:
    return hasattr(given, "__next__")


def _why_unranked(row: Row) -> str:
    return row.failure.reason if row.failure else row.status
