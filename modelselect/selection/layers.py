"""The stage that chooses a layer for each candidate that leaves it open: `?layer=best`, by a linear probe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from modelselect.budget.budget import round_sizes
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import BEST
from modelselect.candidates.limits import Limits
from modelselect.candidates.zoo import Zoo
from modelselect.errors import CandidateError, Failure, InvalidInputError, Stage, contained
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.context import FORWARD_FIELDS, EvaluationContext
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.running import run
from modelselect.evaluation.task import ScoringTask
from modelselect.host.defaults import LAYER_CHOOSER
from modelselect.host.lookup import registered
from modelselect.probe.nested import nest
from modelselect.selection.state import State

Choices = Mapping[str, Sequence[Candidate]]
"""By the id of a candidate, those that it stands for."""

MOST_CHOICES = 10_000
"""Candidates that one stands for. An answer without an end must not fill the memory."""


def layers_chosen(request: Request, state: State) -> State:
    """The pool with the best layer of each model in the place of a candidate that leaves the layer open.

    The layers of a model share a forward pass over the probe's rows, and a linear probe on these rows chooses. Rows
    that are held out for fine-tuning play no part. Of layers that do equally well, the last one is taken.

    Raises:
        InvalidInputError: there is such a candidate, and a budget.
    """
    given = request.settings
    choices: dict[str, Sequence[Candidate]] = {}
    results = dict(state.results)
    for candidate in state.unsettled:
        zoo = request.host.zoos.get(candidate.zoo)
        try:
            with contained():
                found = _choices_of(zoo, candidate, trust_remote_code=given.trust_remote_code)
        except Exception as error:  # a plugin may raise anything
            results[candidate.id] = Failure.from_exception(Stage.LOAD, error)
            continue
        if found:
            choices[candidate.id] = found
    if not choices:
        return replace(state, results=results)
    if given.budget is not None:
        raise InvalidInputError(
            f"layer={BEST} shows all rows to each layer before the budget begins to count. Leave out budget= "
            "(--budget), or name a layer by its number, such as ?layer=2, or all of them: ?layer=*"
        )
    context = _conditions(request, state.context)
    candidates = list({each.id: each for group in choices.values() for each in group}.values())
    scored = run(request.runner, ScoringTask(context), candidates, state.bars.candidates("layers", len(candidates)))
    taken: dict[str, Candidate] = {}
    remarks, record = [], {}
    for key, group in choices.items():
        name = context.estimators[0].name
        values = [_value(scored[each.id], name) for each in group]
        if all(math.isnan(value) for value in values):
            results[key] = _failure(scored[group[-1].id], name)
            continue
        place = len(group) - 1 - int(np.nanargmax(values[::-1]))
        taken[key] = group[place]
        remarks.append(_remark(group, values, place, name))
        record[group[place].id] = dict(zip((each.id for each in group), map(_known, values), strict=True))
    pool = {each.id: each for each in (taken.get(candidate.id, candidate) for candidate in state.pool)}
    layers = {"remarks": remarks, "chosen_by": context.estimators[0].name, "scores": record}
    return replace(state, pool=tuple(pool.values()), results=results, layers=layers)


def _choices_of(zoo: Zoo | None, candidate: Candidate, *, trust_remote_code: bool) -> Sequence[Candidate]:
    if zoo is None:
        return ()
    found = tuple(itertools.islice(zoo.choices(candidate, trust_remote_code=trust_remote_code), MOST_CHOICES + 1))
    if len(found) > MOST_CHOICES:
        raise CandidateError(f"the zoo {zoo.name!r} gives more than {MOST_CHOICES:,} choices; expected fewer")
    for each in found:
        if type(each) is not Candidate:
            raise CandidateError(
                f"the zoo {zoo.name!r} gives {type(each).__name__} among the choices; expected candidates"
            )
    return found


def _conditions(request: Request, context: EvaluationContext) -> EvaluationContext:
    """How layers are scored: by a linear probe of the task; in rounds, on the rows of the first."""
    chooser: Estimator | None = request.task.adapted(registered(request.host, LAYER_CHOOSER))
    if chooser is None or request.probe.targets is None:
        missing = "there are no labels" if chooser is not None else f"the task is {request.task.name}"
        raise InvalidInputError(
            f"layer={BEST} chooses a layer by how well a linear classifier does on it, and {missing}. Name a layer by "
            "its number, such as ?layer=2, or leave out layers= (--layers)."
        )
    # what later stages want of the same forward pass is kept with it
    context = replace(
        context,
        estimators=(chooser,),
        fields=context.wanted & FORWARD_FIELDS,
        resamples=0,
        costs=False,
        limits=Limits(),
        recall=None,
    )
    if not request.settings.rounds:
        return context
    probe = context.probe
    part = nest(probe, round_sizes(len(probe), probe.n_classes))[0]
    return replace(context, probe=part.probe, nested=part)


def _value(result: ScoringResult | Failure, name: str) -> float:
    """The score by the estimator of this name; NaN without one."""
    components = result.components.get(name, {}) if isinstance(result, ScoringResult) else {}
    return components.get(name, math.nan)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _failure(result: ScoringResult | Failure, name: str) -> Failure:
    """Why there is no score of any layer."""
    if isinstance(result, Failure):
        return result
    return result.failures.get(name, Failure(Stage.SCORE, f"{name} has no score for any layer"))


def _remark(group: Sequence[Candidate], values: Sequence[float], place: int, name: str) -> str:
    """Which layer was chosen, in a sentence."""
    model = group[-1].unversioned_id
    if len(group) == 1:
        return f"{model} has no sequence of layers, so its features are those of its end."
    best = f"layer {place + 1} of {len(group) - 1}" if place < len(group) - 1 else "the end"
    compared = "" if place == len(group) - 1 else f", against {values[-1]:.3g} at the end"
    return f"{model} is read at {best}, where its {name} on the probe is the highest ({values[place]:.3g}{compared})."
