"""The work on one candidate, as executors run it: evidence, every estimator on it, and fine-tuning."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.backbone import FeatureMethod, without_head
from modelselect.candidates import Candidate, Zoo
from modelselect.cost import Limits, Measured, measure, measured_on
from modelselect.errors import CandidateError, Failure, NotApplicableError, RemoteCodeError, ScoreWarning
from modelselect.estimator import Estimator, evaluate
from modelselect.evidence import Evidence
from modelselect.extraction import SCORE_LIBRARIES, BatchProgress, choose_extractor, numeric_versions
from modelselect.host import get_host
from modelselect.leaderboard import LIMIT
from modelselect.machine import available_memory
from modelselect.spool import InputSpool
from modelselect.store import Store, Writer
from modelselect.uncertainty import SCHEME, check_components, looks_at_rows, resample

if TYPE_CHECKING:
    import networkx as nx
    import torch
    from numpy.typing import NDArray

    from modelselect.backbone import Backbone
    from modelselect.probe import Probe
    from modelselect.probe.nested import Nested
    from modelselect.recall import Recollection
    from modelselect.verification import FineTuning, Verified

FORWARD_FIELDS = frozenset({"features", "source_probabilities"})
"""Evidence that takes a forward pass over the probe."""

SOURCE_FIELDS = frozenset({"source_features", "source_labels"})
"""Evidence that takes a forward pass over the source data."""

BYTES_PER_PARAMETER = 4
"""Weights are float32 once loaded."""

AHEAD_SHARE = 0.5
"""Of the memory that is available: a candidate whose weights would take more is not loaded ahead of its turn."""

_ONE_AT_A_TIME = threading.RLock()
"""Held by whoever changes what all threads of a process share, while the next candidate is loaded ahead: model
libraries patch initialisers and default dtypes when they build a module, and to catch an estimator's warnings takes
their filters. A forward pass needs none of it, and that is what loading overlaps with."""

LOADED_FIELDS = FORWARD_FIELDS | SOURCE_FIELDS
"""Evidence that depends on the candidate's weights."""

COSTS = "costs"
"""What stands for the measurement of costs where it failed."""

RESAMPLES_KEPT_EVERY = 5.0
"""Seconds of work on resamples that a killed run may lose."""


@dataclass
class Assessment:
    """What became of one candidate in the scoring stage; plain data, so that it crosses processes.

    Attributes:
        components: each estimator's components; an estimator without a score is in `failures` instead.
        resampled: each estimator's components on every resample of the probe's rows, where resamples were asked for;
            without an estimator that looks at no row of the probe, or that failed on a resample.
        warnings: what an estimator warned of, such as a regime in which its score says little.
        identity: what this candidate's stored numbers are kept under.
        estimator_seconds: each estimator's time, when it was first computed, without resamples.
        extraction_seconds: the forward pass's time, when it was first computed.
        extraction_rows: rows that this was for: more than those of the probe where evidence of a larger one was there.
        seconds: all of it.
        reused: True if nothing had to be computed.
        halved: each estimator's components on half of the rows, where `Work.half` asks for them.
        costs: as measured on this device, where they were asked for.
        passes: rows that were passed forward now.
        forward_seconds: what that took.
        elapsed_seconds: what all took now, but for what was loaded ahead.
    """

    components: dict[str, dict[str, float]] = field(default_factory=dict)
    resampled: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    identity: str = ""
    feature_dim: int | None = None
    parameters: int | None = None
    macs: int | None = None
    graph: str | None = None
    estimator_seconds: dict[str, float] = field(default_factory=dict)
    extraction_seconds: float = 0.0
    extraction_rows: int = 0
    seconds: float = 0.0
    reused: bool = False
    halved: dict[str, dict[str, float]] = field(default_factory=dict)
    costs: Measured | None = None
    passes: int = 0
    forward_seconds: float = 0.0
    elapsed_seconds: float = 0.0


@dataclass(frozen=True)
class Foreseen:
    """What assessing one candidate would take.

    Attributes:
        extracted: whether its evidence is in the store; None where that cannot be told without loading it.
        scored: whether its scores are.
        passes: rows that would be passed forward; all of them where the store cannot be asked without loading it.
    """

    parameters: int | None
    macs: int | None
    extracted: bool | None
    scored: bool
    passes: int


@dataclass
class Work:
    """Assesses one candidate: evidence, then every estimator on it, all through the store. Called by executors.

    Attributes:
        nested: where the probe is a part of a larger one, how its evidence is put together from blocks.
        half: about half of the probe's rows, on which to score as well.
        costs: whether to measure what a candidate costs on this device.
        limits: what it may cost.
    """

    probe: Probe
    source: Probe | None
    estimators: tuple[Estimator, ...]
    cache_dir: Path
    spool: InputSpool
    device: str
    batch_size: int | None
    trust_remote_code: bool
    seed: int
    zoos: Mapping[str, Zoo]
    precision: str = "float32"
    compile: bool = False
    resamples: int = 0
    progress: BatchProgress | None = None
    recollection: Recollection | None = None
    proxy: Candidate | None = None
    nested: Nested | None = None
    half: Nested | None = None
    costs: bool = False
    limits: Limits = field(default_factory=Limits)
    _ahead: dict[str, _Assessor] = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> Probe:
        """All rows that candidates may be shown."""
        return self.probe if self.nested is None else self.nested.whole

    def prepare(self, candidate: Candidate) -> None:
        """Loads the candidate ahead of its turn, if that will be needed; see `Executor.map`."""
        assessor = _Assessor(self, candidate)
        assessor.load_ahead()
        self._ahead[candidate.id] = assessor

    def foresee(self, candidate: Candidate, *, trace: bool = True) -> Foreseen:
        """What assessing it would take, without loading it; without `trace`, as far as its zoo and the store say."""
        return _Assessor(self, candidate).foresee(trace)

    def graph(self, candidate: Candidate) -> str | None:
        """Its architecture as JSON, as far as that can be told without loading it."""
        return _Assessor(self, candidate).graph_unloaded()

    def features(self, candidate: Candidate) -> NDArray[np.floating[Any]]:
        """(N, D) of the probe, through the store: what a proxy sees of it."""
        found: NDArray[np.floating[Any]] = _Assessor(self, candidate).features()
        return found

    def __call__(self, candidate: Candidate) -> Assessment | Failure:
        assessor = self._ahead.pop(candidate.id, None) or _Assessor(self, candidate)
        try:
            return assessor.assess()
        except Exception as error:
            return Failure.from_exception(assessor.stage, error)


class _Assessor:
    """One candidate under assessment: loads it at most once, and only if something is not in the store."""

    def __init__(self, work: Work, candidate: Candidate) -> None:
        self.work = work
        self.candidate = candidate
        self.store = Store(work.cache_dir)
        self._backbone: Backbone | None = None
        self._not_loaded: Exception | SystemExit | None = None
        self.may_load = True
        self.reused = True
        self.passes = 0
        self.forward_seconds = 0.0
        self.stage = "score"
        """What is being done: what a failure is put down to."""

    @property
    def zoo(self) -> Zoo:
        return self.work.zoos.get(self.candidate.zoo) or get_host().zoo(self.candidate.zoo)

    @property
    def backbone(self) -> Backbone:
        if self._backbone is None:
            self.stage = "load"
            if self._not_loaded is not None:
                raise self._not_loaded
            if not self.may_load:
                raise CandidateError("it is not loaded to be described")
            with _ONE_AT_A_TIME:
                self._backbone = self.zoo.load(self.candidate, trust_remote_code=self.work.trust_remote_code)
            self.stage = "score"
        return self._backbone

    def load_ahead(self) -> None:
        """Loads the candidate if it will have to be; what goes wrong is raised when its turn has come."""
        parameters = self.candidate.metadata.get("parameters")
        memory = available_memory()
        if parameters and memory and BYTES_PER_PARAMETER * parameters > AHEAD_SHARE * memory:
            return
        try:
            if not self.is_forbidden and self.candidate.zoo not in self.work.zoos and not self.is_extracted:
                _ = self.backbone
        except (Exception, SystemExit) as error:
            self._not_loaded = error

    @property
    def is_forbidden(self) -> bool:
        """True if it brings code of its own, which it may not run."""
        return bool(self.candidate.metadata.get("remote_code")) and not self.work.trust_remote_code

    @property
    def is_extracted(self) -> bool:
        """True if no forward pass over the probe is needed, as far as names in the store tell."""
        return self.passes_ahead == 0

    @property
    def passes_ahead(self) -> int:
        """Rows that will have to be passed forward, as far as names in the store tell.

        Those of the last block alone for a candidate without a revision: the store cannot be asked about it, and
        whoever comes to the last block has been through those before.
        """
        nested, source = self.work.nested, self.work.source
        blocks = (self.work.probe,) if nested is None else nested.blocks
        if not self.wanted & FORWARD_FIELDS or self.is_scored:
            return 0
        if self.candidate.revision is None:
            return len(blocks[-1])
        ahead = 0
        if self.wanted & SOURCE_FIELDS and source is not None and not self._is_kept(source, {"features"}):
            ahead = len(source)
        fields = self.wanted & FORWARD_FIELDS | {"features"}
        if self._is_kept(self.work.probe, fields) or (nested is not None and self._is_kept(nested.whole, fields)):
            return ahead
        return ahead + sum(len(block) for block in blocks if not self._is_kept(block, fields))

    def _is_kept(self, probe: Probe, fields: Iterable[str]) -> bool:
        return all(self.store.contains(self._evidence_key(name, probe)) for name in fields)

    @property
    def is_scored(self) -> bool:
        """True if every estimator's score is in the store, resamples included, as far as names in the store tell."""
        if self.candidate.revision is None:
            return False
        keys = [self._score_key(estimator) for estimator in self.work.estimators if not estimator.is_static]
        if self.work.resamples:
            keys += [self._resamples_key(e) for e in self.work.estimators if looks_at_rows(e)]
        return all(map(self.store.contains, keys))

    @property
    def wanted(self) -> frozenset[str]:
        """The evidence fields that the estimators want, all together."""
        return frozenset().union(*(estimator.reads for estimator in self.work.estimators))

    @cached_property
    def identity(self) -> str:
        """What its stored numbers are kept under. A candidate without a revision has to be loaded to know it."""
        return self.candidate.id if self.candidate.revision else f"{self.candidate.id}#{self.backbone.weights_key}"

    def assess(self) -> Assessment:
        if self.is_forbidden:
            self.stage = "load"
            raise RemoteCodeError(
                "loading it runs code that it brings. If you trust its author, pass trust_remote_code=True "
                "(--trust-remote-code on the command line)."
            )
        begun = time.perf_counter()
        result = Assessment()
        wanted = self.wanted
        evidence: Evidence | None = None
        self._keep_to_limits()
        if self.work.costs:
            self._measure(result)
        for estimator in self.work.estimators:
            if estimator.is_static:
                continue
            entry = self.store.get(self._score_key(estimator))
            if entry is None:
                evidence = evidence or self._gather(wanted)
                scored = _score_or_failure(estimator, evidence)
                if scored.get("lasting", True):
                    self.store.put(self._score_key(estimator), {}, scored)
                self.reused = False
            else:
                scored = dict(entry.metadata)
            _note(result, estimator, scored)
        if self.work.half is not None:
            self._halve(result, self.work.half, evidence, wanted)
        if self.work.resamples:
            self._resample(result, evidence, wanted)
        if wanted & FORWARD_FIELDS:
            extractions, result.extraction_rows = self._extractions()
            for extraction in extractions:
                result.feature_dim = extraction["feature_dim"]
                result.extraction_seconds += extraction["seconds"]
            result.seconds += result.extraction_seconds
            result.identity = self.identity
        self._describe(result)
        metadata = {**self.candidate.metadata}
        if result.parameters is not None:
            metadata["parameters"] = result.parameters  # counted: what a zoo tells may count other things besides
        for estimator in self.work.estimators:
            if estimator.is_static:
                _note(result, estimator, _score_or_failure(estimator, Evidence.of(metadata=metadata)))
        result.reused = self.reused
        result.passes, result.forward_seconds = self.passes, self.forward_seconds
        result.elapsed_seconds = time.perf_counter() - begun
        return result

    def _keep_to_limits(self) -> None:
        """Raises what the limits say of a number of parameters that only the loaded candidate tells."""
        limits = self.work.limits
        if limits.max_parameters is None or self.candidate.metadata.get("parameters") is not None:
            return
        described = Assessment()
        self._describe(described)
        known = described.parameters
        parameters = sum(p.numel() for p in self.backbone.module.parameters()) if known is None else known
        self._refuse(limits.parameters_exceeded(parameters))

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            self.stage = LIMIT
            raise CandidateError(reason)

    def _measure(self, result: Assessment) -> None:
        """What it costs on this device, from the store or measured now; whether that passes the limits."""
        limits = self.work.limits
        try:
            result.costs = self._measured()
        except Exception as error:
            if limits.max_latency_ms is not None:
                raise
            result.failures[COSTS] = Failure.from_exception(COSTS, error)
            return
        self._refuse(limits.latency_exceeded(result.costs.latency_ms))

    def _measured(self) -> Measured:
        work = self.work
        varies = work.probe.modality == "text" or self.candidate.zoo in work.zoos  # the input's size does, with rows
        key = self.store.key(
            "costs",
            candidate=self.identity,
            zoo=self.zoo_version,
            rows=work.whole.fingerprint if varies else None,
            on=measured_on(work.device),
            batch_size=work.batch_size,
            arithmetic=self._arithmetic,
            extractors=_extractor_versions(),
            versions=numeric_versions(),
        )
        entry = self.store.get(key)
        if entry is not None:
            return Measured(**entry.metadata)
        backbone = self.backbone
        extractor = choose_extractor(get_host().extractors, backbone, work.device)
        self.stage = COSTS
        with self.store.lock(self.store.key("costs", machine="this")), _ONE_AT_A_TIME:  # nothing else at work
            measured = measure(
                backbone,
                work.whole,
                extractor,
                device=work.device,
                batch_size=work.batch_size,
                precision=work.precision,
                compile=work.compile,
            )
        self.store.put(key, {}, asdict(measured))
        self.stage = "score"
        self.reused = False
        return measured

    def _halve(self, result: Assessment, half: Nested, evidence: Evidence | None, wanted: frozenset[str]) -> None:
        """Every estimator on half of the rows; one that fails there is left out."""
        taken: Evidence | None = None
        for estimator in self.work.estimators:
            if estimator.name not in result.components or not looks_at_rows(estimator):
                continue
            key = self._score_key(estimator, half.probe)
            entry = self.store.get(key)
            if entry is None:
                self.reused = False
                evidence = evidence or self._gather(wanted)
                places = np.arange(len(half.rows)) if self.work.nested is None else self.work.nested.rows
                taken = taken or evidence.take(np.searchsorted(places, half.rows))
                scored = _score_or_failure(estimator, taken)
                if scored.get("lasting", True):
                    self.store.put(key, {}, scored)
            else:
                scored = dict(entry.metadata)
            if "components" in scored:
                result.halved[estimator.name] = scored["components"]

    def _resample(self, result: Assessment, evidence: Evidence | None, wanted: frozenset[str]) -> None:
        """Every estimator on the same resamples, from the store as far as they are there."""
        kept: dict[Estimator, dict[str, Any]] = {}
        for estimator in self.work.estimators:
            if estimator.name in result.components and looks_at_rows(estimator):
                entry = self.store.get(self._resamples_key(estimator))
                kept[estimator] = {"scores": [], "seconds": 0.0, "warning": ""} if entry is None else {**entry.metadata}
        saved = time.monotonic()
        for number in range(self.work.resamples):
            wanting = [estimator for estimator, found in kept.items() if len(found["scores"]) <= number]
            if not wanting:
                continue
            self.reused = False
            evidence = evidence or self._gather(wanted)
            rows = resample(evidence, number, self.work.seed)
            for estimator in wanting:
                try:
                    scored = _score(estimator, rows)
                    check_components(estimator, scored["components"], result.components[estimator.name])
                except Exception as error:  # it has its score, and no telling how uncertain that is
                    del kept[estimator]
                    reason = Failure.from_exception("resample", error).reason
                    warned = [*filter(None, [result.warnings.get(estimator.name)]), f"no standard error: {reason}"]
                    result.warnings[estimator.name] = " ".join(warned)
                    continue
                found = kept[estimator]
                found["scores"] = [*found["scores"], scored["components"]]
                found["seconds"] += scored["seconds"]
                found["warning"] = found["warning"] or scored["warning"]
            if number == self.work.resamples - 1 or time.monotonic() - saved > RESAMPLES_KEPT_EVERY:
                for estimator in (e for e in wanting if e in kept):
                    self.store.put(self._resamples_key(estimator), {}, kept[estimator])
                saved = time.monotonic()
        for estimator, found in kept.items():
            result.resampled[estimator.name] = found["scores"][: self.work.resamples]
            result.seconds += found["seconds"]
            if found["warning"]:
                result.warnings.setdefault(estimator.name, f"on four fifths of the rows: {found['warning']}")

    def _gather(self, wanted: frozenset[str]) -> Evidence:
        """The evidence that the estimators want, from the store where it is there."""
        fields: dict[str, Any] = {
            "metadata": self.candidate.metadata,
            "seed": self.work.seed,
            "device": self.work.device,
        }
        if wanted & FORWARD_FIELDS:
            fields |= self._forward(self.work.probe, wanted)
        if "labels" in wanted:
            fields["labels"] = self.work.probe.labels
        if wanted & SOURCE_FIELDS and (source := self._source) is not None:
            fields["source_features"] = self._forward(source, frozenset({"features"}))["features"]
            fields["source_labels"] = source.labels
        if "architecture" in wanted:
            fields["architecture"] = self._graph()
        if (recollection := self.work.recollection) is not None and "history" in wanted:
            fields["history"] = recollection.view.of_candidate(self.candidate.unversioned_id)
        if "proxy_features" in wanted and self.work.proxy is not None:
            fields["proxy_features"] = self.work.features(self.work.proxy)
        return Evidence.of(**fields)

    def features(self) -> Any:
        """(N, D) features of the probe."""
        return self._forward(self.work.probe, frozenset({"features"}))["features"]

    def _forward(self, probe: Probe, wanted: frozenset[str]) -> dict[str, Any]:
        """`features` and, where wanted and to be had, `source_probabilities`, computed once for all runs."""
        fields = sorted(wanted & FORWARD_FIELDS | {"features"})
        nested = self.work.nested
        with self.store.lock(self._evidence_key("extraction", probe)):
            if (kept := self._kept(probe, fields)) is not None:
                return kept
            if nested is not None and probe is nested.probe and len(nested.blocks) > 1:
                return self._put_together(nested, fields)
            extractor = choose_extractor(get_host().extractors, self.backbone, self.work.device)
            self.stage = "extract"
            begun = time.perf_counter()
            with contextlib.ExitStack() as stack:
                writers = {
                    name: stack.enter_context(self.store.writer(self._evidence_key(name, probe))) for name in fields
                }
                sink = _ToStore(writers)
                evidence = extractor.extract(
                    self.backbone,
                    probe,
                    frozenset(fields),
                    device=self.work.device,
                    batch_size=self.work.batch_size,
                    precision=self.work.precision,
                    compile=self.work.compile,
                    spool=self.work.spool,
                    sink=sink,
                    progress=self.work.progress,
                )
                assert evidence.features is not None
                sink.complete(evidence)
            seconds = time.perf_counter() - begun
            record = {
                "candidate": self.candidate.id,
                "feature_dim": int(evidence.features.shape[1]),
                "preprocessing": self.backbone.preprocessing.key,
                "extractor": extractor.name,
                "seconds": seconds,
            }
            self.store.put(self._evidence_key("extraction", probe), {}, record)
            self.passes += len(probe)
            self.forward_seconds += seconds
            self.reused = False
            self.stage = "score"
            return self._kept(probe, fields) or {}

    def _kept(self, probe: Probe, fields: Sequence[str]) -> dict[str, Any] | None:
        """What the store holds of these fields; None if it does not know of every one whether it is to be had."""
        kept = {name: self.store.get(self._evidence_key(name, probe)) for name in fields}
        if None in kept.values():
            return None
        return {name: entry.arrays[name] for name, entry in kept.items() if entry and name in entry.arrays}

    def _put_together(self, nested: Nested, fields: Sequence[str]) -> dict[str, Any]:
        """Evidence of a part of a probe: taken out of that of the whole, or from blocks, each passed forward once.

        That of the whole is kept, so that it is found without the blocks.
        """
        if (whole := self._kept(nested.whole, fields)) is not None:
            return {name: rows[nested.rows] for name, rows in whole.items()}
        parts = [self._forward(block, frozenset(fields)) for block in nested.blocks]
        arrays = {}
        for name in parts[0]:
            arrays[name] = np.empty((len(nested.rows), *parts[0][name].shape[1:]), parts[0][name].dtype)
            for places, part in zip(nested.places, parts, strict=True):
                arrays[name][places] = part[name]
        if nested.probe is nested.whole:
            extractions, _ = self._extractions()
            for name in fields:
                self.store.put(self._evidence_key(name, nested.whole), {k: v for k, v in arrays.items() if k == name})
            record = {**extractions[0], "seconds": sum(extraction["seconds"] for extraction in extractions)}
            self.store.put(self._evidence_key("extraction", nested.whole), {}, record)
        return arrays

    def _extractions(self) -> tuple[list[Mapping[str, Any]], int]:
        """The records of the forward passes over the probe, and over how many rows: of one, or of those of blocks."""
        nested = self.work.nested
        for probes in [(self.work.probe,)] + ([] if nested is None else [(nested.whole,), nested.blocks]):
            found = [self.store.get(self._evidence_key("extraction", probe)) for probe in probes]
            if None not in found:
                return [entry.metadata for entry in found if entry], sum(map(len, probes))
        return [], 0

    @cached_property
    def _source(self) -> Probe | None:
        """What the caller gave as source data, else what the zoo knows of this candidate's."""
        if self.work.source is not None or self.backbone.source is None:
            return self.work.source
        from modelselect.probe import Probe

        with _ONE_AT_A_TIME:
            return Probe.of(self.backbone.source, size=None, seed=self.work.seed)

    def _evidence_key(self, kind: str, probe: Probe) -> str:
        """Of one field of the evidence, or of the record of its extraction."""
        return self.store.key(
            kind,
            candidate=self.identity,
            zoo=self.zoo_version,
            probe=probe.fingerprint,
            device=self.work.device.split(":")[0],
            arithmetic=self._arithmetic,
            extractors=_extractor_versions(),
            versions=numeric_versions(),
        )

    @property
    def _arithmetic(self) -> str:
        return self.work.precision + (" compiled" if self.work.compile else "")

    def _score_key(self, estimator: Estimator, probe: Probe | None = None) -> str:
        return self.store.key("score", **self._score_parts(estimator, probe or self.work.probe))

    def _resamples_key(self, estimator: Estimator) -> str:
        return self.store.key("resamples", scheme=SCHEME, **self._score_parts(estimator, self.work.probe))

    def _score_parts(self, estimator: Estimator, probe: Probe) -> dict[str, Any]:
        """Everything that an estimator's score depends on."""
        source = None
        if estimator.reads & SOURCE_FIELDS:
            source = "the zoo's" if self.work.source is None else self.work.source.fingerprint
        recollection = self.work.recollection if "history" in estimator.reads else None
        return {
            "candidate": self.identity if estimator.reads & LOADED_FIELDS else self.candidate.id,
            "zoo": self.zoo_version,
            "probe": probe.fingerprint,
            "source": source,
            "history": recollection and recollection.view.digest,
            "proxy": self.work.proxy and self.work.proxy.id if "proxy_features" in estimator.reads else None,
            "estimator": estimator.key,
            "plugin": _plugin_version(estimator),
            "seed": self.work.seed,
            "device": self.work.device.split(":")[0],
            "arithmetic": self._arithmetic,
            "extractors": _extractor_versions(),
            "versions": numeric_versions(SCORE_LIBRARIES),
        }

    @property
    def zoo_version(self) -> str | None:
        """Of the plugin that brought the zoo: how a candidate is loaded and prepared may change with it."""
        return None if self.candidate.zoo in self.work.zoos else get_host().owner("zoos", self.zoo.name).version

    # --- what is known without loading

    def foresee(self, trace: bool) -> Foreseen:
        """What assessing it would take, as far as metadata, its skeleton (if it may be traced) and the store tell."""
        self.may_load = self.candidate.zoo in self.work.zoos  # the caller's own modules are here
        described = Assessment(parameters=self.candidate.metadata.get("parameters"))
        if trace:
            self._describe(described)
        extracted = self.is_extracted if self.candidate.revision or not self.wanted & FORWARD_FIELDS else None
        return Foreseen(described.parameters, described.macs, extracted, self.is_scored, self.passes_ahead)

    def graph_unloaded(self) -> str | None:
        """Its architecture as JSON, from the store or from its skeleton; None where neither is to be had."""
        self.may_load = self.candidate.zoo in self.work.zoos
        described = Assessment()
        if not self.is_forbidden:
            self._describe(described)
        return described.graph

    # --- architecture

    def _describe(self, result: Assessment) -> None:
        """Graph, multiply-accumulates and parameter count: from the store, or traced without weights."""
        own = self.candidate.zoo in self.work.zoos  # the caller's module takes rows of any size
        key = self.store.key(
            "architecture",
            candidate=self.candidate.id,
            zoo=self.zoo_version,
            probe=self.work.whole.fingerprint if own else None,
            versions=numeric_versions(),
        )
        entry = self.store.get(key)
        described = self._trace() if entry is None else dict(entry.metadata)
        if entry is None and described:
            self.store.put(key, {}, described)
        result.graph, result.macs = described.get("graph"), described.get("macs")
        result.parameters = described.get("parameters") or self.candidate.metadata.get("parameters")

    def _graph(self) -> nx.DiGraph[Any] | None:
        from modelselect import archi2vec

        described = Assessment()
        self._describe(described)
        return None if described.graph is None else archi2vec.from_json(described.graph)

    def _trace(self) -> dict[str, Any]:
        """What is known of the architecture. That a module cannot be traced is known for good, and fails nothing.

        Empty where there is no module to trace this time: that may be otherwise the next time.
        """
        from modelselect import archi2vec

        found: dict[str, Any] = {}
        with _ONE_AT_A_TIME, contextlib.suppress(Exception):  # a stranger's zoo or module may raise anything
            module, settings = self._example()
            found = {"graph": None, "macs": None, "parameters": sum(p.numel() for p in module.parameters())}
            found["macs"] = archi2vec.count_macs(module, **settings)
            found["graph"] = archi2vec.to_json(archi2vec.trace_somewhere(module, **settings))
        return found

    def _example(self) -> tuple[torch.nn.Module, dict[str, Any]]:
        """A module and what it takes: loaded if it is there already, else without weights if the zoo can do that."""
        import torch

        from modelselect import archi2vec

        inputs = archi2vec.input_of(self.candidate)
        if self._backbone is None:
            skeleton = self.zoo.skeleton(self.candidate, trust_remote_code=self.work.trust_remote_code)
            if skeleton is not None and inputs:
                return skeleton, inputs
        if "example" in inputs:  # token ids: what the probe's texts are padded to must change neither graph nor count
            return self.backbone.module, inputs
        preprocessing = self.backbone.preprocessing
        rows = [preprocessing.prepare(self.work.probe.item(index)) for index in range(2)]
        module, read = self.backbone.module, self.backbone.read
        if isinstance(read, FeatureMethod) and not read.has_logits:
            module = without_head(module)
        return module, {"example": preprocessing.finish(torch.stack(rows))}


class _ToStore:
    """A sink: every field's rows go to a writer of its own."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._writers = writers

    def append(self, **rows: NDArray[np.float32]) -> None:
        for name, batch in rows.items():
            self._writers[name].append(**{name: batch})

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        return {name: rows for writer in self._writers.values() for name, rows in writer.mapped().items()}

    def complete(self, evidence: Evidence) -> None:
        """Takes what an extractor gave back without having sent it here; a field without rows is one it has not."""
        written = self.arrays()
        self.append(
            **{name: getattr(evidence, name) for name in self._writers if name not in written and evidence.has(name)}
        )


def _extractor_versions() -> dict[str, str]:
    host = get_host()
    return {name: host.owner("extractors", name).version for name in host.extractors}


def _plugin_version(estimator: Estimator) -> str | None:
    """Of the plugin that registered this kind of estimator; None where nobody did."""
    host = get_host()
    registered = host.estimators.get(estimator.name)
    return host.owner("estimators", estimator.name).version if type(registered) is type(estimator) else None


def _note(result: Assessment, estimator: Estimator, scored: Mapping[str, Any]) -> None:
    """Puts what one estimator said into the assessment."""
    if "failure" in scored:
        result.failures[estimator.name] = Failure(**scored["failure"])
        return
    result.components[estimator.name] = scored["components"]
    result.estimator_seconds[estimator.name] = scored["seconds"]
    result.seconds += scored["seconds"]
    if scored["warning"]:
        result.warnings[estimator.name] = scored["warning"]


def _score_or_failure(estimator: Estimator, evidence: Evidence) -> dict[str, Any]:
    """`_score`, or why there is none. That a method does not apply is lasting; what else it raised may not be."""
    try:
        return _score(estimator, evidence)
    except Exception as error:  # an estimator of a plugin may raise anything; it costs this one score
        failure = asdict(Failure.from_exception("score", error))
        return {"failure": failure, "lasting": isinstance(error, NotApplicableError)}


def _score(estimator: Estimator, evidence: Evidence) -> dict[str, Any]:
    """What is remembered of one estimator on one candidate: components, seconds, and what it warned of."""
    begun = time.perf_counter()
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        components = dict(evaluate(estimator, evidence))
    told = [w for w in caught if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning)]
    warned = [
        str(w.message) if issubclass(w.category, ScoreWarning) else f"{w.category.__name__}: {w.message}" for w in told
    ]
    return {
        "components": components,
        "seconds": time.perf_counter() - begun,
        "warning": " ".join(dict.fromkeys(warned)),
    }


@dataclass(frozen=True)
class Verification:
    """What became of one candidate in the verification stage; plain data, so that it crosses processes.

    Attributes:
        verified: what fine-tuning said.
        checkpoint: key of the fine-tuned weights in the store; None if they are not there.
        reused: True if it was fine-tuned before.
    """

    verified: Verified
    checkpoint: str | None
    reused: bool


@dataclass
class VerificationWork:
    """Fine-tunes one candidate, or finds in the store that this was done before. Called by executors.

    Attributes:
        method: what is trained; see `modelselect.verification.METHODS`.
        identities: what each candidate's stored numbers are kept under, as far as that is known.
        needs_checkpoint: whether it is fine-tuned again where the store has its accuracy, but not its weights.
    """

    work: Work
    settings: FineTuning
    identities: Mapping[str, str]
    method: str = "full"
    needs_checkpoint: bool = False

    def __call__(self, candidate: Candidate) -> Verification:
        from modelselect.verification import Verified, verify
        from modelselect.verification.winners import KIND

        work, training, holdout = self.work, self.work.probe.training, self.work.probe.holdout
        assert holdout is not None
        store = Store(work.cache_dir)
        assessor = _Assessor(work, candidate)
        parts: dict[str, Any] = {
            "candidate": self.identities.get(candidate.id) or assessor.identity,
            "zoo": assessor.zoo_version,
            "training": training.fingerprint,
            "holdout": holdout.fingerprint,
            "settings": asdict(self.settings),
            "method": self.method,
            "seed": work.seed,
            "device": work.device.split(":")[0],
            "versions": numeric_versions(),
        }
        key, checkpoint = store.key("verification", **parts), store.key(KIND, **parts)
        with store.lock(key):
            entry, kept = store.get(key), store.contains(checkpoint)
            if entry is not None and (kept or not self.needs_checkpoint):
                stored = dict(entry.metadata)
                verified = Verified(**stored | {"interval": tuple(stored["interval"])})
                return Verification(verified, checkpoint if kept else None, reused=True)
            verified = verify(
                assessor.backbone,
                training,
                holdout,
                self.settings,
                method=self.method,
                seed=work.seed,
                device=work.device,
                spool=work.spool,
                folder=store.scratch(key),
                keep=lambda weights, known: store.put(checkpoint, weights, known, sync=True),
            )
            store.put(key, {}, asdict(verified), sync=True)
            store.clear_scratch(key)
        return Verification(verified, checkpoint, reused=False)
