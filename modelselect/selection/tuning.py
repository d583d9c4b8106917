"""The stage that fine-tunes the best candidates for one epoch, between scoring and verification.

The epoch is the first one of the fine-tuning that verification does: the same rows, order of rows, learning rates and
seed. Verification continues from its checkpoint, and finds what it would have found without this stage, to the last
bit. So no epoch is trained twice, and `tune` changes no verified accuracy. The alternatives were to set rows aside,
which would take them from verification, or to train an epoch with a schedule of its own, from which verification could
not continue.

The accuracy after it is measured on rows that the network has not trained on and that verification does not hold out:

- The recipe has a validation split (`patience`, or a search): these are the rows of that split, after the epoch.
- The recipe has none, like the default recipe: verification trains on every row that is not held out, so no row can be
  set aside. These are then the rows of the second half of the epoch: the forward pass that precedes the training on a
  batch predicts its classes. This costs nothing, and measures the network after three quarters of the epoch, on
  average.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from modelselect.budget.meter import Gate, Meter
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.estimators.posterior import sole_weigher
from modelselect.evaluation.fine_tuning import TuningTask, VerificationTask
from modelselect.evaluation.outlook import brief_reliability
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import TuningResult
from modelselect.evaluation.running import run
from modelselect.ranking.ranking import Ranking
from modelselect.selection.affordable import affordable_tuning
from modelselect.selection.bounded import bounded
from modelselect.selection.state import State
from modelselect.selection.verifying import Admit, verification_task

Ended = Callable[[Candidate, TuningResult | Failure], None]


def tune_best(request: Request, state: State) -> State:
    """The first `tune` candidates are fine-tuned for one epoch, and ordered by what is then expected of them."""
    task, state = bounded(request, state, verification_task(request, state))
    return tuned_briefly(request, state, task, request.settings.tune)


def tune_within_budget(request: Request, state: State, meter: Meter) -> State:
    """As many candidates are fine-tuned for one epoch as the budget pays for, and ordered by what is then expected.

    Verification comes first: what it is expected to take is kept for it.
    """
    task = verification_task(request, state)
    if not state.ranking.ranked or state.rounds is None or task.method == "head":
        return state
    begun, passed = meter.seconds, meter.passes
    affordable = affordable_tuning(request, state, meter, task)
    gate = Gate(meter, workers=request.runner.workers)

    def ended(candidate: Candidate, result: TuningResult | Failure) -> None:
        gate.ended(candidate)
        meter.passes += 0 if isinstance(result, TuningResult) and result.reused else affordable.passes

    if affordable.count:
        task = replace(task, settings=affordable.settings)
        admit = partial(gate.admit, price=lambda candidate: affordable.prices[candidate.id])
        state = tuned_briefly(request, state, task, affordable.count, admit, ended)
    if not affordable.count and not request.settings.tune:
        return state
    assert state.rounds is not None
    stage = {
        "stage": "tune",
        "candidates": len(state.tuned),
        "epochs": 1 if affordable.count else 0,
        "seconds": meter.seconds - begun,
        "passes": meter.passes - passed,
        "decision": affordable.decision + ("; the budget was used up" if gate.refused is not None else ""),
    }
    return replace(state, rounds=replace(state.rounds, stages=(*state.rounds.stages, stage)))


def tuned_briefly(
    request: Request,
    state: State,
    task: VerificationTask,
    count: int,
    admit: Admit = iter,
    ended: Ended = lambda candidate, result: None,
) -> State:
    """The state with the first candidates fine-tuned for one epoch. A failure costs a candidate this accuracy only."""
    first = [row.candidate for row in state.ranking.ranked[:count]]
    bar = state.bars.candidates("one epoch", len(first))
    found = run(request.runner, TuningTask(task), admit(first), bar, ended)
    tuned = {c.id: result for c in first if isinstance(result := found.get(c.id), TuningResult)}
    failures = {
        key: replace(result, stage=Stage.TUNE.value) for key, result in found.items() if isinstance(result, Failure)
    }
    ranking = _with_accuracies(state.ranking, tuned, failures)
    return _weighed(request, replace(state, tuned=tuned, ranking=ranking, fine_tuning=task.described_recipe))


def _weighed(request: Request, state: State) -> State:
    """The state in the order that the accuracies after one epoch, with all other evidence, say."""
    if state.outlook is None:
        return state
    known = state.context.recall
    reliability = brief_reliability(None if known is None else known.view)
    rows = {key: result.brief.rows for key, result in state.tuned.items()}
    outlook = state.outlook.with_brief(state.brief, rows, reliability)
    weighs = sole_weigher(request.chosen) is not None
    return replace(state, outlook=outlook, ranking=outlook.ordered(state.ranking, scored=weighs))


def _with_accuracies(ranking: Ranking, tuned: Mapping[str, TuningResult], failures: Mapping[str, Failure]) -> Ranking:
    """The ranking in its order, with the accuracy after one epoch."""
    rows = []
    for row in ranking.rows:
        key = row.candidate.id
        if (result := tuned.get(key)) is not None:
            brief = result.brief
            row = replace(
                row,
                brief_accuracy=brief.accuracy,
                learning_curve=((1, brief.training_loss, brief.accuracy),),
                seconds=row.seconds + brief.seconds,
            )
        elif (failure := failures.get(key)) is not None:
            row = replace(row, failures={**row.failures, "tune": failure})
        rows.append(row)
    return replace(ranking, rows=tuple(rows))
