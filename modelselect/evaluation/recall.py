"""What the transfer history needs of a run: the proxy's features and the pool's architectures, computed by a task."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.errors import CandidateError, Failure, ModelSelectError, contained
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.settings import Settings
from modelselect.evaluation.task import ScoringTask
from modelselect.evaluation.trained_proxy import trained
from modelselect.history.history import History
from modelselect.history.proxy import choose_proxy, named_proxy
from modelselect.history.recall import build_context, registered_recaller, shortlist
from modelselect.history.recording import Run, kept_keys, record_run
from modelselect.history.view import RecallContext
from modelselect.host.defaults import CLASSIFICATION
from modelselect.host.host import get_host
from modelselect.host.lookup import name_with_targets
from modelselect.ranking.ranking import Ranking
from modelselect.utils.progress import Progress

EACH_TRACED = 300
"""Number of candidates up to which each is traced by itself."""

SAME_SIZE = 1.05
"""Numbers of parameters within about this factor count as the same size."""

TRIES = 3
"""Number of candidates that seem to have the same architecture, after which no other is tried if none gives a graph."""


def task_name(context: EvaluationContext) -> str:
    """The name of the task, under which the history keeps results; accuracies and R² of one task never mix."""
    return CLASSIFICATION if context.task is None else name_with_targets(get_host(), context.task, context.probe)


def observe(context: EvaluationContext, history: History | None, settings: Settings) -> EvaluationContext:
    """Shows the probe to the proxy, once for all candidates, and returns the context with the proxy in it.

    It is the one of the settings, else the default one, and is fine-tuned first if the settings ask for that. If the
    default proxy cannot see the probe, that is a warning, and the context stays without. An estimator that needs the
    proxy's features then says that it does not apply.

    Raises:
        InvalidInputError: the settings name no candidate, or more than one.
        CandidateError: the given proxy cannot see this dataset, or cannot be trained on it.
    """
    proxy = choose_proxy(context.probe, history) if settings.proxy is None else named_proxy(settings.proxy)
    if proxy is None:
        return context
    does = "be trained on" if settings.train_proxy else "look at"
    try:
        with contained():
            if settings.train_proxy:
                zoo = trained(context, proxy, settings.recipe)
                seeing = replace(context, proxy=zoo.candidate, zoos={**context.zoos, zoo.name: zoo})
            else:
                seeing = replace(context, proxy=proxy)
            assert seeing.proxy is not None
            ScoringTask(seeing).features(seeing.proxy)
    except Exception as error:  # a zoo, or the module itself, may raise anything
        message = f"the proxy {proxy} cannot {does} the dataset: {error}"
        if settings.proxy is not None:
            raise CandidateError(message) from error
        warnings.warn(message, stacklevel=3)
        return context
    return seeing


def recall_context(
    task: ScoringTask,
    history: History,
    pool: Sequence[Candidate],
    readers: Iterable[Estimator],
    fine_tuning: Mapping[str, Any],
    bars: Progress,
) -> RecallContext:
    """What the history knows about this pool and this probe.

    No candidate is loaded. If one of the readers also reads architectures, those that the history does not know are
    traced without weights.

    Args:
        task: knows the probe and the proxy, and traces.
        history: the history to read.
        pool: the candidates.
        readers: the estimators that read the history.
        fine_tuning: the run's recipe and its method, as the history keeps them.
        bars: shows how many candidates are traced.
    """
    probe = task.context.probe
    read = {field for estimator in readers for field in estimator.reads}
    proxy = task.context.proxy or (choose_proxy(probe, history) if "proxy_features" in read else None)
    view = history.view(None if proxy is None else proxy.id, task_name(task.context))
    unknown = [c for c in pool if "architecture" in read and c.unversioned_id not in view.graphs]
    return build_context(view, proxy, probe, pool, _graphs(task, unknown, bars), fine_tuning)


def _graphs(task: ScoringTask, candidates: Sequence[Candidate], bars: Progress) -> dict[str, str]:
    """The graph of each candidate that has one, by id without revision.

    In a pool of more than `EACH_TRACED`, candidates that seem to have the same architecture share the graph of the
    first of them that has one: a listing of the Hub holds thousands of copies of a few hundred architectures.
    """
    many = len(candidates) > EACH_TRACED
    graphs: dict[str, str] = {}
    shared: dict[Hashable, str] = {}
    tried: Counter[Hashable] = Counter()
    with bars.candidates("tracing", len(candidates)) as advance:
        for candidate in candidates:
            kind = kind_of_architecture(candidate) if many else candidate.id
            if kind not in shared and tried[kind] < TRIES:
                tried[kind] += 1
                if (graph := task.graph(candidate)) is not None:
                    shared[kind] = graph
            if kind in shared:
                graphs[candidate.unversioned_id] = shared[kind]
            advance(candidate.id)
    return graphs


def kind_of_architecture(candidate: Candidate) -> Hashable:
    """What candidates with (nearly) the same graph have in common, as far as metadata say; else the candidate's id.

    Heads for other numbers of classes change the number of parameters by some percent, and the graph in one node.

    >>> def resnet(name, parameters):
    ...     return Candidate("hub", name, metadata={"architecture": "resnet50", "parameters": parameters})
    >>> kind_of_architecture(resnet("a", 23_500_000)) == kind_of_architecture(resnet("b", 23_600_000))
    True
    >>> kind_of_architecture(resnet("a", 23_500_000)) == kind_of_architecture(resnet("c", 40_000_000))
    False
    """
    known = candidate.metadata
    architecture, parameters = known.get("architecture"), known.get("parameters")
    if not architecture or not isinstance(parameters, int) or parameters < 1:
        return candidate.id
    size = round(math.log(parameters) / math.log(SAME_SIZE))
    return candidate.zoo, known.get("library"), known.get("family"), architecture, size


def recalled_shortlist(
    task: ScoringTask, context: RecallContext, pool: Sequence[Candidate], keep: int
) -> tuple[list[Candidate], dict[str, Any]]:
    """`shortlist`, with the proxy's features of the task's probe, if the estimator reads them."""
    proxy = context.proxy if "proxy_features" in registered_recaller().reads else None
    features = None if proxy is None else task.features(proxy)
    return shortlist(context, pool, keep, features, task.context.seed)


def record(
    task: ScoringTask,
    history: History,
    board: Ranking,
    results: Mapping[str, ScoringResult | Failure],
    fine_tuning: Mapping[str, Any] | None,
    *,
    pieces: Mapping[str, Mapping[str, float]] | None = None,
    may_look: bool = True,
) -> None:
    """Adds to the history what a run found. A history that cannot be written is a warning.

    Args:
        task: the task of the last round.
        history: the history to add to.
        board: the run's ranking.
        results: the result of each candidate, by id.
        fine_tuning: the recipe of the verified accuracies; None if nothing was verified.
        pieces: values of the pieces of evidence, by metric and candidate id.
        may_look: whether the proxy may see the dataset now; False adds its features only if they are in the store.
    """
    context = task.context
    graphs = {
        row.candidate.unversioned_id: found.graph
        for row in board.rows
        if isinstance(found := results.get(row.candidate.id), ScoringResult) and found.graph is not None
    }
    try:
        run = Run(kept_keys(context.estimators), context.seed, fine_tuning, pieces or {}, task_name(context))
        if not record_run(history, board, context.probe, graphs, run):
            return
        proxy = context.proxy or choose_proxy(context.probe, history)
        trained_here = proxy is not None and proxy.zoo in context.zoos  # nothing in another run is comparable with it
        if proxy is not None and not trained_here and (may_look or not task.preview(proxy, trace=False).passes):
            history.keep_proxy(context.probe.fingerprint, proxy.id, task.features(proxy))
        history.exchange()
    except (ModelSelectError, OSError) as error:
        warnings.warn(f"nothing of this run was added to the transfer history: {error}", stacklevel=3)
