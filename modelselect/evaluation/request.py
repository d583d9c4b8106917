"""What a caller asks of `select()`, resolved: host, executor, probe, pool and store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import BEST, LAYERS, Expression
from modelselect.candidates.limits import Limits
from modelselect.errors import Failure, InvalidInputError, UnknownNameError
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.own_modules import ModuleZoo
from modelselect.evaluation.pool import Offer, candidates_of, offered
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.settings import Settings
from modelselect.evaluation.tasks import adapted
from modelselect.evaluation.underway import Underway
from modelselect.executor import Executor
from modelselect.extraction.devices import Compute, check_precision, choose_device, free_memory
from modelselect.extraction.inputs import InputCache
from modelselect.history.history import History, open_history, open_or_warn
from modelselect.host.host import Host, get_host
from modelselect.host.lookup import (
    ALL_ESTIMATORS,
    choose_estimators,
    registered,
    search,
    static_estimators,
    target_kind,
    task_of,
    usual_task,
)
from modelselect.host.questions import bytes_to_download
from modelselect.probe.probe import DEFAULT_HOLDOUT, Probe
from modelselect.store.store import Store
from modelselect.tasks.task import Task
from modelselect.utils.stages import Report


@dataclass(frozen=True)
class Request:
    """What a caller of `select()` or `plan()` asks for, with the dataset read and the candidates searched.

    Attributes:
        settings: the settings, which are checked already.
        runner: the executor.
        chosen: the estimators that rank.
        methods: those, and the static baselines.
        task: what is to be predicted.
        pool: the candidates, in the order given.
        offer: what the pool is chosen from; None where the caller gave candidates.
        own_zoos: the zoo of the caller's bare modules, if there are any.
        history: the transfer history to read and to add to; None for none.
        unsearched: the failures of candidates that stand for an expression whose zoo failed, by id.
        device: the one that `settings.device` means on this machine.
        limits: what a candidate may cost at most, on this device.
    """

    settings: Settings
    host: Host
    runner: Executor
    chosen: list[Estimator]
    methods: list[Estimator]
    task: Task
    probe: Probe
    source: Probe | None
    pool: list[Candidate]
    offer: Offer | None
    own_zoos: dict[str, ModuleZoo]
    unsearched: dict[str, ScoringResult | Failure]
    store: Store
    history: History | None
    device: str
    limits: Limits

    @classmethod
    def of(cls, settings: Settings, dataset: Any, candidates: Any) -> Request:
        """See `select`, whose errors are raised here."""
        history = _history_for(settings)
        host = get_host()
        runner = settings.runner(host.executor)
        choose_estimators(host, settings.estimators)  # a wrong name is an error before the dataset is read
        device = choose_device(settings.device, host.extractors)
        check_precision(settings.precision, device)
        if settings.extractor is not None:
            _ = host.extractor(settings.extractor).library  # raises if there is no such extractor, or no such library
        draw = partial(
            Probe.of,
            size=settings.probe_size,
            seed=settings.seed,
            max_corrupt=settings.max_corrupt,
            max_pixels=settings.max_pixels,
        )
        probe = draw(
            dataset,
            holdout=DEFAULT_HOLDOUT,
            may_keep_all=not settings.fine_tunes,
            input=settings.input,
            label=settings.label,
            split=settings.split,
            targets=target_kind(host, settings.task),
        )
        task = task_of(host, settings.task, probe)
        chosen = adapted(
            task,
            choose_estimators(host, settings.estimators),
            usual=usual_task(host, probe),
            every=settings.estimators == ALL_ESTIMATORS,
        )
        named = {estimator.name for estimator in chosen}
        if settings.fine_tunes and probe.holdout is None:
            asked = f"top_k={settings.top_k}" if settings.top_k else f"tune={settings.tune}"
            raise InvalidInputError(
                f"{asked} asks for fine-tuning, but the probe has no held-out rows to measure accuracy on. Make the "
                f"probe with Probe.of(dataset, holdout={DEFAULT_HOLDOUT}), or give select() the dataset."
            )
        offer: Offer | None = None
        own_zoos: dict[str, ModuleZoo] = {}
        unsearched: dict[str, ScoringResult | Failure] = {}
        if candidates is None:
            pool, offer = offered(probe)
        else:
            pool, own_zoos, unsearched = candidates_of(candidates, probe, task.name)
        if settings.layers is not None:
            pool = [each for found in pool for each in _at_layers(found, settings.layers, {*own_zoos, *unsearched})]
        return cls(
            settings=settings,
            host=host,
            runner=runner,
            chosen=chosen,
            task=task,
            methods=chosen + [registered(host, name) for name in static_estimators(host) if name not in named],
            probe=probe,
            source=None if settings.source is None else draw(settings.source, size=settings.source_rows),
            pool=pool,
            offer=offer,
            own_zoos=own_zoos,
            unsearched=unsearched,
            store=Store(settings.cache_dir),
            history=history,
            device=device,
            limits=settings.limits_with(partial(free_memory, device)),
        )

    def bytes_to_download(self, candidate: Candidate) -> int | None:
        """Bytes that loading the candidate would download now; None if unknown, and 0 if no zoo has its name."""
        try:
            zoo = self.own_zoos.get(candidate.zoo) or self.host.zoo(candidate.zoo)
        except UnknownNameError:  # loading the candidate reports this
            return 0
        return bytes_to_download(zoo, candidate)

    def context(self, spool: InputCache, progress: Report | None = None) -> EvaluationContext:
        """The conditions under which every candidate is evaluated."""
        settings = self.settings
        return EvaluationContext(
            probe=self.probe,
            source=self.source,
            estimators=tuple(self.methods),
            cache_dir=self.store.path,
            spool=spool,
            compute=Compute(self.device, settings.batch_size, settings.precision, settings.compile, settings.extractor),
            trust_remote_code=settings.trust_remote_code,
            seed=settings.seed,
            zoos=self.own_zoos,
            resamples=settings.resamples,
            progress=progress,
            costs=settings.measures_costs,
            limits=self.limits,
            recipe=settings.recipe,
            method=settings.verify,
            prompts=settings.prompts,
            task=self.task,
            underway=Underway(spool.folder) if self.runner.isolated and spool.folder else None,
        )


def _at_layers(candidate: Candidate, layers: str, without: Collection[str]) -> list[Candidate]:
    """The candidate at its best layer, or at all of its layers, as far as it names none.

    Args:
        candidate: of any zoo.
        layers: a value of the setting `layers`.
        without: names of zoos, and ids of candidates, that are not searched.
    """
    if candidate.zoo in (LAYERS, *without) or candidate.id in without:
        return [candidate]
    return search(str(Expression.at_layer(candidate.id, BEST if layers == BEST else "*")))


def _history_for(settings: Settings) -> History | None:
    """The history to read and to add to; None if there is none, or if it cannot be read and recall does not need it."""
    history = open_history(settings.history)
    if settings.recall is None:
        return None if history is None else open_or_warn(history)
    if history is None:
        raise InvalidInputError(
            f"recall={settings.recall} needs the transfer history, but history is False. Leave out history=False "
            "(--no-history), or leave out recall= (--recall)."
        )
    return history
