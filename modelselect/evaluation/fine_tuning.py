"""What executors run to fine-tune a candidate: `VerificationTask`, and two that train less of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, ClassVar

from modelselect.candidates.candidate import Candidate
from modelselect.errors import StoreError
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.results import TuningResult, VerificationResult
from modelselect.executor import Needs
from modelselect.extraction.devices import needs_of
from modelselect.host.defaults import CLASSIFICATION
from modelselect.host.host import get_host
from modelselect.store.store import Store
from modelselect.tasks.metrics import ACCURACY, Metric
from modelselect.utils.measures import Measure
from modelselect.utils.stages import Step
from modelselect.utils.versions import DISTRIBUTION, numeric_versions
from modelselect.verification.fine_tuned import KIND
from modelselect.verification.footprint import states_bytes
from modelselect.verification.job import Epoch
from modelselect.verification.recipe import FineTuning
from modelselect.verification.results import Brief, Verified
from modelselect.verification.verifier import EpochProgress, training_seconds, tune_briefly, verify


@dataclass
class VerificationTask:
    """Fine-tunes one candidate, or finds the result in the store. Called by executors.

    Attributes:
        context: the conditions under which candidates are evaluated.
        settings: the recipe.
        identities: the names of candidates in the keys of their stored numbers, as far as they are known.
        method: what is trained; see `modelselect.verification.METHODS`.
        needs_checkpoint: whether a candidate is fine-tuned again if the store has its accuracy, but not its weights, or
            damaged ones.

    The weights wait in a scratch folder until it is known which candidate is the best. `keep` then makes them an entry,
    and `drop` removes them. So a killed run leaves no weights behind that nobody asked for.
    """

    result: ClassVar[type] = VerificationResult
    context: EvaluationContext
    settings: FineTuning
    identities: Mapping[str, str]
    method: str = "full"
    needs_checkpoint: bool = False

    @property
    def described_recipe(self) -> dict[str, Any]:
        """What is trained and how, as plain data: as `Settings.described_recipe`, but of what a budget made of it."""
        return {"method": self.method, **asdict(self.settings)}

    def needs(self, candidate: Candidate) -> Needs:
        """What fine-tuning the candidate takes of a machine, as far as its number of parameters says."""
        parameters, device = candidate.metadata.get("parameters") or 0, self.context.compute.device
        return needs_of(device, states_bytes(parameters, self.settings, self.method, device))

    def __call__(self, candidate: Candidate) -> VerificationResult:
        context, training, holdout = self.context, self.context.probe.training, self.context.probe.holdout
        assert holdout is not None
        store = context.store
        loader = Loader(context, candidate)
        parts = self.parts(loader)
        key, checkpoint = store.key("verification", **parts), store.key(KIND, **parts)
        waiting = _waiting(store, checkpoint)
        with store.lock(key):
            entry = store.get(key)
            if self.needs_checkpoint:
                kept = store.get(checkpoint) is not None or waiting.get(checkpoint) is not None
            else:
                kept = store.contains(checkpoint) or waiting.contains(checkpoint)
            if entry is not None and (kept or not self.needs_checkpoint):
                store.clear_scratch(key)  # left there if the process was killed once the result was safe
                if not kept:
                    drop(store, checkpoint)  # an empty folder is left if the process was killed while it dropped them
                known = _verified(entry.metadata)
                return VerificationResult(known, checkpoint if kept else None, True, _metric(context).shown)
            verified = verify(
                loader.backbone,
                training,
                holdout,
                self.settings,
                method=self.method,
                seed=context.seed,
                device=context.compute.device,
                spool=context.spool,
                folder=store.scratch(key),
                keep=lambda weights, known: waiting.put(checkpoint, weights, known, sync=True),
                progress=reporting(context, candidate),
                task=context.task,
            )
            store.put(key, {}, asdict(verified), sync=True)
            store.clear_scratch(key)
        return VerificationResult(verified, checkpoint, False, _metric(context).shown)

    def parts(self, loader: Loader) -> dict[str, Any]:
        """Everything that the accuracy depends on."""
        holdout = self.context.probe.holdout
        assert holdout is not None
        return {
            **parts_of_training(loader, self.settings, self.identities.get(loader.candidate.id)),
            "holdout": holdout.fingerprint,
            "method": self.method,
        }

    def forget(self, candidate: Candidate) -> None:
        """Removes what an unfinished fine-tuning would continue from, unless another process is at work on it."""
        store = self.context.store
        key = store.key("verification", **self.parts(Loader(self.context, candidate)))
        if not store.scratch(key).exists():
            return
        try:
            with store.lock(key, timeout=0):
                store.clear_scratch(key)
        except StoreError:  # the other process needs it, and removes it
            return


def parts_of_training(loader: Loader, settings: FineTuning, identity: str | None = None) -> dict[str, Any]:
    """Everything that fine-tuned weights depend on, but for the method.

    Args:
        loader: of the candidate, and the context.
        settings: the recipe.
        identity: the candidate's name in keys, if it is known.
    """
    context = loader.context
    return {
        "candidate": identity or loader.identity,
        "zoo": Keys(loader).zoo_version,
        "training": context.probe.training.fingerprint,
        "settings": asdict(settings),
        "seed": context.seed,
        "device": context.compute.kind,
        "versions": numeric_versions(),
        **_task_part(context),
    }


def _task_part(context: EvaluationContext) -> dict[str, str]:
    """The task's name, but not of classification, whose keys are older than tasks; and its plugin's version.

    The version of a shipped task is among the versions of libraries.
    """
    task, host = context.task, get_host()
    if task is None or task.name == CLASSIFICATION:
        return {}
    plugin = host.owner("tasks", task.name) if task.name in host.tasks else None
    if plugin is None or plugin.distribution == DISTRIBUTION:
        return {"task": task.name}
    return {"task": task.name, "task_plugin": plugin.version}


def _waiting(store: Store, checkpoint: str) -> Store:
    """Where fine-tuned weights wait until they are wanted, or not."""
    return Store(store.scratch(checkpoint))


def keep(store: Store, checkpoint: str) -> bool:
    """Makes the waiting weights an entry of the store; False if the store has no such weights, or damaged ones."""
    waiting = _waiting(store, checkpoint)
    with store.lock(checkpoint):
        if waiting.get(checkpoint) is not None:
            store.take_over(checkpoint, waiting)
        store.clear_scratch(checkpoint)
    return store.get(checkpoint) is not None


def drop(store: Store, checkpoint: str) -> None:
    """Removes the weights if they still wait. Weights that a run has kept stay."""
    store.clear_scratch(checkpoint)


@dataclass
class TuningTask:
    """Fine-tunes one candidate for one epoch, or finds the result in the store. Called by executors.

    The epoch is the first one of what `verification` trains, and `verification` continues from its checkpoint.

    Attributes:
        verification: the whole fine-tuning.
    """

    result: ClassVar[type] = TuningResult
    verification: VerificationTask

    def needs(self, candidate: Candidate) -> Needs:
        return self.verification.needs(candidate)

    def __call__(self, candidate: Candidate) -> TuningResult:
        whole, context = self.verification, self.verification.context
        store = context.store
        loader = Loader(context, candidate)
        parts = whole.parts(loader)
        verification = store.key("verification", **parts)
        key = store.key("brief", **{name: part for name, part in parts.items() if name != "holdout"})
        with store.lock(verification):  # its scratch folder holds the checkpoint
            if (entry := store.get(key)) is not None:
                return TuningResult(Brief(**entry.metadata), True, _measure(context))
            brief = tune_briefly(
                loader.backbone,
                context.probe.training,
                whole.settings,
                method=whole.method,
                seed=context.seed,
                device=context.compute.device,
                spool=context.spool,
                folder=None if store.contains(verification) else store.scratch(verification),
                task=context.task,
            )
            store.put(key, {}, asdict(brief), sync=True)
        return TuningResult(brief, False, _measure(context))


@dataclass
class TimingTask:
    """Seconds that training a candidate takes for a row, measured on one batch. Called by executors.

    Attributes:
        verification: the whole fine-tuning.
    """

    result: ClassVar[type] = float
    verification: VerificationTask

    def needs(self, candidate: Candidate) -> Needs:
        needs = self.verification.needs(candidate)
        return replace(needs, gpu=min(1.0, ceil(needs.gpu)))  # nothing else runs while it is timed

    def __call__(self, candidate: Candidate) -> float:
        context = self.verification.context
        return training_seconds(
            Loader(context, candidate).backbone,
            context.probe.training,
            self.verification.settings,
            method=self.verification.method,
            seed=context.seed,
            device=context.compute.device,
            spool=context.spool,
            task=context.task,
        )


def reporting(context: EvaluationContext, candidate: Candidate) -> EpochProgress | None:
    """Reports each epoch of the candidate's fine-tuning to the context's progress."""
    report = context.progress
    if report is None:
        return None
    measure = _measure(context)

    def ended(number: int, total: int, epoch: Epoch) -> None:
        text = ""
        if epoch.accuracy is not None:
            text = f"{measure.title} {measure.text(epoch.accuracy)}"
        elif epoch.training_accuracy is not None:
            text = f"training {measure.title} {measure.text(epoch.training_accuracy)}"
        report(candidate.id, Step("epoch", number, total, text))

    return ended


def _metric(context: EvaluationContext) -> Metric:
    """What the result of a fine-tuning is measured by."""
    return ACCURACY if context.task is None else context.task.metric


def _measure(context: EvaluationContext) -> Measure:
    """What texts call the result of an epoch: accuracy or, of other tasks, how well the objective's targets are met."""
    return ACCURACY.shown if _metric(context) is ACCURACY else Measure("fit")


def _verified(stored: Mapping[str, Any]) -> Verified:
    """The result as it was before it was stored. JSON has lists only, and earlier versions stored less."""
    pairs = {name: tuple(map(tuple, stored.get(name, ()))) for name in ("curve", "mistakes")}
    numbers = {name: tuple(stored.get(name, ())) for name in ("interval", "class_rows", "dynamics")}
    return Verified(**dict(stored) | pairs | numbers)
