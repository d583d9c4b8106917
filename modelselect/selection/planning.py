"""`plan()`: what `select()` would do and what that would cost, before anything is downloaded or loaded."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Unpack

from modelselect.budget.budget import MOST_TUNED, Budget, round_sizes
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.zoo import BYTES_PER_PARAMETER
from modelselect.errors import Failure, Stage
from modelselect.estimators.resampling import looks_at_rows
from modelselect.evaluation.keywords import Keywords, with_signature
from modelselect.evaluation.request import Request
from modelselect.evaluation.settings import Settings
from modelselect.evaluation.task import ScoringTask
from modelselect.evaluation.timing import decode_seconds, macs_per_second
from modelselect.extraction.inputs import InputCache
from modelselect.history.proxy import named_proxy
from modelselect.selection.affordable import fine_tuning_seconds
from modelselect.selection.bounded import time_left
from modelselect.selection.choosing import chosen
from modelselect.selection.forecast import PlannedRound, kept_for_verification, plan_rounds, smallest_budget
from modelselect.selection.narrowing import recalled, within_limits
from modelselect.selection.plan import Plan, PlannedCandidate
from modelselect.selection.rounds import planned_rounds
from modelselect.selection.state import State
from modelselect.utils.progress import Progress


@with_signature(Keywords)
def plan(dataset: Any, candidates: Any = None, **settings: Unpack[Keywords]) -> Plan:
    """What `select()` would do with the same arguments, and what that would cost.

    `plan()` reads the dataset, because what is in the store depends on its rows. Of candidates it only reads metadata
    and modules without weights, and downloads nothing else. Times come from a short run of a small network on the
    device and from decoding some rows. They are right within a factor of three, since architectures differ in how well
    they use a device.

    Args:
        dataset: as for `select()`.
        candidates: as for `select()`.
        settings: every keyword of `select()`, checked as there. With `recall`, the history is asked as `select()` asks
            it: its proxy is run on the probe, and `select()` then finds the result in the store.

    Raises:
        InvalidInputError: as `select()`.
        HistoryError, NotApplicableError: `recall` is given, and the history cannot be read, or is empty.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> plan = ms.plan((images, [0] * 20 + [1] * 20), "embedded:*")
    >>> len(plan.rows), plan.download_bytes, plan.rows[0].stored
    (12, 0, '')
    """
    asked = Settings.of("plan", settings)
    budget = None if asked.budget is None else Budget.of(asked.budget)
    request, choice = chosen(Request.of(asked, dataset, candidates))
    state = State(
        context=request.context(InputCache(None)),
        bars=Progress(asked.progress),
        pool=tuple(request.pool),
        results=request.unsearched,
    )
    if asked.proxy is not None:
        named_proxy(asked.proxy)
    state = within_limits(request, state)
    if asked.recall is not None:
        state = recalled(request, state)
    speed, decoding = macs_per_second(request.device), decode_seconds(request.probe)
    rows = tuple(_planned_candidate(request, state, candidate, speed) for candidate in state.pool)
    open_rows = [row for row in rows if row.candidate.id not in state.results]
    row_seconds = [_row_seconds(row, speed, decoding / len(request.probe)) for row in open_rows]
    rounds: tuple[PlannedRound, ...] = ()
    smallest: int | None = None
    if budget is not None and open_rows:
        sizes = [len(request.probe)]
        if any(looks_at_rows(estimator) for estimator in request.chosen):
            sizes = round_sizes(len(request.probe), request.probe.n_classes)
        keep = kept_for_verification(budget, asked.fine_tunes)
        rounds = plan_rounds(sizes, row_seconds, budget, max(asked.top_k, 1), keep)
        smallest = None if rounds else _smallest_budget(budget, sizes[0], row_seconds, fine_tunes=asked.fine_tunes)
    elif asked.rounds and open_rows:
        rounds = planned_rounds(request, [_row_seconds(row, speed, 0.0) for row in open_rows])  # decoded once for all
    tune = min(asked.tune, len(open_rows))
    if budget is not None and asked.top_k and not tune and asked.verify != "head":
        tune = min(MOST_TUNED, len(open_rows))
        tune = tune if tune > asked.top_k else 0
    macs = [row.macs for row in open_rows if row.macs is not None]
    tuning_seconds, verifying_seconds = fine_tuning_seconds(request, macs, speed)
    if verifying_seconds is not None:
        passes = sum(each.seconds or 0.0 for each in rounds or open_rows)
        verifying_seconds = min(verifying_seconds, time_left(asked, passes))
    return Plan(
        rows=rows,
        probe_rows=len(request.probe),
        device=request.device,
        macs_per_second=speed,
        decode_seconds=decoding,
        recalled_from=None if state.recalled is None else state.recalled["pool"],
        budget=budget,
        rounds=rounds,
        smallest_budget=smallest,
        fine_tuning_seconds=verifying_seconds if budget is None else None,
        top_k=asked.top_k,
        tune=tune,
        tuning_seconds=tuning_seconds if budget is None else None,
        remarks=(*request.probe.remarks, *choice.remarks),
    )


def _smallest_budget(budget: Budget, rows: int, row_seconds: Sequence[float | None], *, fine_tunes: bool) -> int | None:
    """The smallest amount that ranks a typical candidate on this number of rows; None if its time is unknown."""
    price: float = rows
    if budget.seconds is not None:
        known = [seconds for seconds in row_seconds if seconds]
        if not known:
            return None
        price = rows * fmean(known)
    return smallest_budget(budget, price, fine_tunes)


def _row_seconds(row: PlannedCandidate, speed: float, decoding: float) -> float | None:
    """The time to decode a row and pass it forward; 0 if the result is in the store."""
    if row.stored:
        return 0.0
    return None if row.macs is None else row.macs / speed + decoding


def _planned_candidate(request: Request, state: State, candidate: Candidate, speed: float) -> PlannedCandidate:
    settled = state.results.get(candidate.id)
    known = candidate.metadata
    if isinstance(settled, Failure):
        if settled.stage == Stage.LIMIT:
            parameters = known.get("parameters")
            return PlannedCandidate(
                candidate, 0, parameters, seconds=0.0, stored="", remark=f"left out: {settled.reason}"
            )
        return PlannedCandidate(candidate, remark=settled.reason)
    preview = ScoringTask(state.context).preview(candidate)
    seconds = None if preview.macs is None else len(request.probe) * preview.macs / speed
    remarks = []
    if known.get("remote_code") and not request.settings.trust_remote_code:
        remarks.append("runs its own code: only with trust_remote_code=True (--trust-remote-code)")
    if known.get("gated"):
        remarks.append("gated: ask its owner for access")
    return PlannedCandidate(
        candidate,
        download_bytes=request.bytes_to_download(candidate),
        parameters=preview.parameters,
        memory=None if preview.parameters is None else BYTES_PER_PARAMETER * preview.parameters,
        macs=preview.macs,
        seconds=0.0 if preview.extracted or preview.scored else seconds,
        stored="scores" if preview.scored else {None: None, True: "features", False: ""}[preview.extracted],
        remark="; ".join(remarks),
    )
