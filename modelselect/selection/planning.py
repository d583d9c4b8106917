"""`plan()`: what `select()` would do and what that would cost, before anything is downloaded or loaded."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelselect.budget.budget import Budget, round_sizes
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.limits import Limits
from modelselect.errors import LIMIT, Failure
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.resampling import looks_at_rows
from modelselect.evaluation.loading import BYTES_PER_PARAMETER
from modelselect.evaluation.request import DEFAULT_MAX_CORRUPT, DEFAULT_PROBE_SIZE, Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.task import ScoringTask
from modelselect.evaluation.timing import decode_seconds, macs_per_second
from modelselect.extraction.inputs import InputCache
from modelselect.history.history import GivenHistory
from modelselect.selection.affordable import fine_tuning_passes
from modelselect.selection.forecast import PlannedRound, kept_for_verification, plan_rounds
from modelselect.selection.narrowing import history_for, over_limits, prefilter
from modelselect.selection.plan import Plan, PlannedCandidate
from modelselect.utils.progress import Progress

if TYPE_CHECKING:
    from modelselect.verification.recipe import FineTuning


def plan(
    dataset: Any,
    candidates: Any,
    *,
    estimators: str | Estimator | Sequence[str | Estimator] | None = None,
    top_k: int = 0,
    probe_size: int | None = DEFAULT_PROBE_SIZE,
    source: Any = None,
    device: str = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
    precision: str = "float32",
    compile: bool = False,
    fine_tuning: FineTuning | None = None,
    verify: str = "full",
    max_corrupt: float = DEFAULT_MAX_CORRUPT,
    recall: int | None = None,
    history: GivenHistory = None,
    proxy: str | Candidate | None = None,
    budget: Budget | str | int | None = None,
    max_parameters: int | None = None,
    license: str | Sequence[str] | None = None,
) -> Plan:
    """What `select()` would do with these arguments, and what that would cost.

    The dataset is read, since what is in the store depends on its rows; of candidates only metadata and skeletons
    without weights. Nothing is downloaded but that. Times come from a short run of a small network on the device, and
    from decoding some rows: they are good to a factor of three, for architectures differ in how well they use a device.

    Every argument is the one of that name of `select`. With `recall`, the history is asked as `select` asks it: its
    proxy looks at the probe, which `select` then need not do again.

    Raises:
        InvalidInputError: as `select`.
        HistoryError, NotApplicableError: `recall` is asked for, and the history cannot be read, or holds nothing.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> plan = ms.plan((images, [0] * 20 + [1] * 20), "embedded:*")
    >>> len(plan.rows), plan.download_bytes, plan.rows[0].stored
    (12, 0, '')
    """
    from modelselect.verification.recipe import FineTuning

    limits = Limits.of(max_parameters, None, license)
    meant = None if budget is None else Budget.of(budget)
    past = history_for(history, recall)
    request = Request.of(
        dataset,
        candidates,
        estimators=estimators,
        top_k=top_k,
        probe_size=probe_size,
        source=source,
        device=device,
        executor="local",
        cache_dir=cache_dir,
        trust_remote_code=trust_remote_code,
        seed=seed,
        batch_size=None,
        precision=precision,
        compile=compile,
        resamples=0,
        max_corrupt=max_corrupt,
    )
    context = replace(request.context(InputCache(None)), limits=limits)
    task = ScoringTask(context)
    pool, recalled = request.pool, None
    settled = request.unsearched | over_limits(task, pool, request.unsearched)
    if recall is not None:
        pool, settled, recalled, _ = prefilter(request, context, past, recall, proxy, Progress(False))
    speed, decoding = macs_per_second(request.device), decode_seconds(request.probe)
    rows = tuple(_expense(request, task, candidate, settled.get(candidate.id), speed) for candidate in pool)
    open_rows = [row for row in rows if row.candidate.id not in settled]
    row_seconds = [_row_seconds(row, speed, decoding / len(request.probe)) for row in open_rows]
    rounds: tuple[PlannedRound, ...] = ()
    if meant is not None and open_rows:
        sizes = [len(request.probe)]
        if any(looks_at_rows(estimator) for estimator in request.chosen):
            sizes = round_sizes(len(request.probe), request.probe.n_classes)
        rounds = plan_rounds(sizes, row_seconds, meant, max(top_k, 1), kept_for_verification(meant, top_k))
    known = [row.macs / speed for row in open_rows if row.macs is not None]
    fine_tuning_seconds = None
    if top_k and known:
        passes = fine_tuning_passes(fine_tuning or FineTuning(), verify, request.probe)
        fine_tuning_seconds = min(top_k, len(open_rows)) * passes * statistics.fmean(known)
    return Plan(
        rows=rows,
        probe_rows=len(request.probe),
        device=request.device,
        macs_per_second=speed,
        decode_seconds=decoding,
        recalled_from=None if recalled is None else recalled["pool"],
        budget=meant,
        rounds=rounds,
        fine_tuning_seconds=fine_tuning_seconds if meant is None else None,
        top_k=top_k,
    )


def _row_seconds(row: PlannedCandidate, speed: float, decoding: float) -> float | None:
    """To decode a row and pass it forward; 0 if that has been done."""
    if row.stored:
        return 0.0
    return None if row.macs is None else row.macs / speed + decoding


def _expense(
    request: Request, task: ScoringTask, candidate: Candidate, settled: ScoringResult | Failure | None, speed: float
) -> PlannedCandidate:
    known = candidate.metadata
    if isinstance(settled, Failure):
        if settled.stage == LIMIT:
            parameters = known.get("parameters")
            return PlannedCandidate(
                candidate, 0, parameters, seconds=0.0, stored="", remark=f"left out: {settled.reason}"
            )
        return PlannedCandidate(candidate, remark=settled.reason)
    zoo = request.own_zoos.get(candidate.zoo) or request.host.zoo(candidate.zoo)
    foreseen = task.preview(candidate)
    seconds = None if foreseen.macs is None else len(request.probe) * foreseen.macs / speed
    remarks = []
    if known.get("remote_code") and not request.trust_remote_code:
        remarks.append("runs code of its own: only with trust_remote_code")
    if known.get("gated"):
        remarks.append("gated: its owner has to let you in")
    return PlannedCandidate(
        candidate,
        download_bytes=known.get("download_bytes", known.get("size_bytes")) if zoo.downloads else 0,
        parameters=foreseen.parameters,
        memory=None if foreseen.parameters is None else BYTES_PER_PARAMETER * foreseen.parameters,
        macs=foreseen.macs,
        seconds=0.0 if foreseen.extracted or foreseen.scored else seconds,
        stored="scores" if foreseen.scored else {None: None, True: "features", False: ""}[foreseen.extracted],
        remark="; ".join(remarks),
    )
