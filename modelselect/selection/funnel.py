"""`select()`: the funnel. Candidates in, a ranked leaderboard out, without fine-tuning more than the top k."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from modelselect.budget.budget import DEFAULT_CONFIDENCE, Budget, check_confidence
from modelselect.budget.meter import Meter
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.limits import Limits
from modelselect.candidates.modules import in_evaluation_mode
from modelselect.errors import LIMIT, InvalidInputError, NothingRankedError
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.recall import record as record_run
from modelselect.evaluation.request import DEFAULT_MAX_CORRUPT, DEFAULT_PROBE_SIZE, Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.standings import rank
from modelselect.evaluation.task import ScoringTask
from modelselect.executor import Executor
from modelselect.extraction.inputs import InputCache
from modelselect.history.history import GivenHistory
from modelselect.leaderboard.leaderboard import Leaderboard
from modelselect.ranking.row import RankedCandidate
from modelselect.selection.affordable import affordable_fine_tuning
from modelselect.selection.halving import SuccessiveHalving, record
from modelselect.selection.narrowing import history_for, prefilter
from modelselect.selection.scoring import score_candidates
from modelselect.selection.verifying import verify_best, verify_within_budget
from modelselect.utils.progress import Progress
from modelselect.utils.versions import ALL_LIBRARIES, numeric_versions

if TYPE_CHECKING:
    from modelselect.verification.recipe import FineTuning


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
    from modelselect.verification.recipe import FineTuning, check_method

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
    with bare, InputCache.temporary(request.store.path / "spool") as spool, Progress(progress) as bars:
        context = replace(
            request.context(spool, None if runner.isolated else bars.batches),
            costs=costs or limits.max_latency_ms is not None,
            limits=limits,
        )
        pool, settled, recalled, context = prefilter(request, context, past, recall, proxy, bars)
        scored = None
        stages = []
        if meter is None:
            open_ones = [candidate for candidate in pool if candidate.id not in settled]
            results = settled | score_candidates(
                host, runner, ScoringTask(context), open_ones, len(open_ones), bars=bars
            )
            ranking = rank(pool, results, methods, chosen, resamples)
        else:
            assess = partial(score_candidates, host, runner, bars=bars)
            rounds = SuccessiveHalving(context, chosen, methods, meter, confidence, top_k, assess, runner.workers)
            scored = rounds.score(pool, settled)
            ranking, results, context = scored.board, scored.results, scored.context
        if top_k and ranking.ranked:
            identities = {key: result.identity for key, result in results.items() if isinstance(result, ScoringResult)}
            task = VerificationTask(context, settings, identities, verify)
            if meter is None or scored is None:
                ranking = verify_best(ranking, runner, task, top_k, bars)
            else:
                affordable = affordable_fine_tuning(scored, meter, task, top_k=top_k, confidence=confidence)
                settings = affordable.settings
                ranking, stage = verify_within_budget(affordable, meter, ranking, runner, task, bars)
                stages.append(stage)
        recipe = {"method": verify, **asdict(settings)} if top_k else None
        if past is not None:
            record_run(ScoringTask(context), past, ranking, results, recipe, may_look=meter is None)
    ranking = replace(
        ranking,
        provenance={
            "dataset": context.probe.provenance,
            "source": None if request.source is None else request.source.provenance,
            "fingerprint": context.probe.fingerprint,
            "ranked_by": [e.name for e in chosen],
            "estimators": {e.name: {"key": e.key, "parameters": e.parameters, "citation": e.citation} for e in methods},
            "settings": {
                "top_k": top_k,
                "probe_size": len(context.probe),
                "requested_probe_size": probe_size,
                "fine_tuning": recipe,
                "device": request.device,
                "executor": runner.name,
                "batch_size": batch_size,
                "precision": precision,
                "compile": compile,
                "trust_remote_code": trust_remote_code,
                "seed": seed,
                "probe_seed": context.probe.seed,
                "resamples": context.resamples,
                "costs": context.costs,
                "limits": asdict(limits),
            },
            "recall": recalled,
            "budget": None if meter is None or scored is None else record(budget, meter, confidence, scored, stages),
            "versions": {"python": platform.python_version(), **numeric_versions(ALL_LIBRARIES)},
            "plugins": {p.name: f"{p.distribution} {p.version}" for p in host.plugins if not p.faults},
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
            "from_store": sum(result.reused for result in results.values() if isinstance(result, ScoringResult)),
        },
    )
    board = Leaderboard.of(ranking)
    host.notify("selection_finished", leaderboard=board)
    if not board.ranked:
        limited = all(row.failure is not None and row.failure.stage == LIMIT for row in board.rows)
        why = f"passes the limits ({limits})" if limits and limited else "could be ranked"
        reasons = "; ".join(f"{row.candidate}: {_why_unranked(row)}" for row in board.rows[:3])
        more = f"; and {len(board.rows) - 3} more" if len(board.rows) > 3 else ""
        raise NothingRankedError(f"not one of {len(board.rows)} candidates {why}: {reasons}{more}", board)
    return board


def _why_unranked(row: RankedCandidate) -> str:
    return row.failure.reason if row.failure else row.status
