"""`EvaluationContext`: the conditions under which candidates are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.limits import Limits
from modelselect.candidates.zoo import Zoo
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.blame import bounded
from modelselect.evaluation.underway import Underway
from modelselect.extraction.devices import Compute
from modelselect.extraction.inputs import InputCache
from modelselect.history.view import RecallContext
from modelselect.probe.nested import Nested
from modelselect.probe.probe import Probe
from modelselect.store.store import Store
from modelselect.tasks.task import Task
from modelselect.utils.stages import Report
from modelselect.verification.recipe import FineTuning

FORWARD_FIELDS = frozenset({"features", "source_probabilities"})
"""Evidence that needs a forward pass over the probe."""

SOURCE_FIELDS = frozenset({"source_features", "source_labels"})
"""Evidence that needs a forward pass over the source data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationContext:
    """The conditions under which candidates are evaluated. A context crosses processes.

    Attributes:
        probe: the rows that every candidate is shown.
        source: rows of the data that the candidates were pre-trained on; None to ask the zoos for them.
        estimators: the estimators that score every candidate.
        cache_dir: the store's folder.
        spool: shares prepared inputs between candidates.
        compute: how the forward pass is computed.
        trust_remote_code: whether candidates may run code that they bring.
        seed: the seed of resamples and of stochastic estimators.
        zoos: the zoos of the caller's own modules, by name. All other zoos are the host's.
        resamples: number of times that four fifths of the rows are scored, too.
        progress: called after every batch of a forward pass, and after every epoch of fine-tuning.
        recall: what the transfer history knows; None if no estimator reads it.
        proxy: the candidate whose features of the probe estimators may read.
        nested: how evidence is put together from blocks, if the probe is a part of a larger one.
        half: about half of the probe's rows, which are scored, too.
        costs: whether latency, throughput and memory are measured.
        limits: what a candidate may cost at most.
        recipe: the recipe of fine-tuning, whose memory is estimated.
        method: what fine-tuning trains.
        fields: evidence fields that are wanted beyond those of the estimators.
        prompts: texts with `{}` for the name of a class, by which models of images and texts classify without training.
        task: what is to be predicted; None for the one that the probe's rows suit.
        underway: notes of what runs in other processes; None if all runs in this one.
    """

    probe: Probe
    source: Probe | None = None
    estimators: tuple[Estimator, ...] = ()
    cache_dir: Path
    spool: InputCache
    compute: Compute = field(default_factory=Compute)
    trust_remote_code: bool = False
    seed: int = 0
    zoos: Mapping[str, Zoo] = field(default_factory=dict)
    resamples: int = 0
    progress: Report | None = None
    recall: RecallContext | None = None
    proxy: Candidate | None = None
    nested: Nested | None = None
    half: Nested | None = None
    costs: bool = False
    limits: Limits = field(default_factory=Limits)
    recipe: FineTuning = field(default_factory=FineTuning)
    method: str = "full"
    fields: frozenset[str] = frozenset()
    prompts: tuple[str, ...] = ()
    task: Task | None = None
    underway: Underway | None = None
    _keys: dict[Estimator, str] = field(default_factory=dict, repr=False, init=False)

    @cached_property
    def store(self) -> Store:
        """The store in `cache_dir`."""
        return Store(self.cache_dir)

    @property
    def whole(self) -> Probe:
        """All rows that candidates may be shown."""
        return self.probe if self.nested is None else self.nested.whole

    @property
    def wanted(self) -> frozenset[str]:
        """The evidence fields that are wanted, by the estimators or beyond them."""
        return self.fields.union(*(estimator.reads for estimator in self.estimators))

    def key_of(self, estimator: Estimator) -> str:
        """The estimator's key. A key reads the estimator's code: once a run, not once a candidate."""
        if estimator not in self._keys:
            with bounded(estimator):
                self._keys[estimator] = estimator.key
        return self._keys[estimator]
