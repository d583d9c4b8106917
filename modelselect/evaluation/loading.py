"""One candidate under evaluation: loaded at most once, and only if the store lacks something."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.readers import FeatureMethod, without_head
from modelselect.candidates.zoo import Zoo
from modelselect.errors import COSTS, LIMIT, CandidateError, Failure, RemoteCodeError
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.resampling import SCHEME, check_components, looks_at_rows, resample
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.fields import FORWARD_FIELDS, LOADED_FIELDS, SOURCE_FIELDS
from modelselect.evaluation.gathering import StoreSink
from modelselect.evaluation.keys import extractor_versions, plugin_version
from modelselect.evaluation.locks import PROCESS_LOCK
from modelselect.evaluation.results import CostMeasurement, Preview, ScoringResult
from modelselect.evaluation.scoring import RESAMPLES_KEPT_EVERY, note_score, score_or_failure, timed_score
from modelselect.evaluation.timing import measure, measured_on
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.extractor import choose_extractor
from modelselect.host.host import get_host
from modelselect.store.store import Store
from modelselect.utils.system import available_memory
from modelselect.utils.versions import SCORE_LIBRARIES, numeric_versions

if TYPE_CHECKING:
    import networkx as nx
    import torch

    from modelselect.candidates.backbone import Backbone
    from modelselect.probe.nested import Nested
    from modelselect.probe.probe import Probe


BYTES_PER_PARAMETER = 4
"""Weights are float32 once loaded."""

AHEAD_SHARE = 0.5
"""Of the memory that is available: a candidate whose weights would take more is not loaded before its turn."""


class Assessor:
    """One candidate under assessment: loads it at most once, and only if something is not in the store."""

    def __init__(self, context: EvaluationContext, candidate: Candidate) -> None:
        self.context = context
        self.candidate = candidate
        self.store = Store(context.cache_dir)
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
        return self.context.zoos.get(self.candidate.zoo) or get_host().zoo(self.candidate.zoo)

    @property
    def backbone(self) -> Backbone:
        if self._backbone is None:
            self.stage = "load"
            if self._not_loaded is not None:
                raise self._not_loaded
            if not self.may_load:
                raise CandidateError("it is not loaded to be described")
            with PROCESS_LOCK:
                self._backbone = self.zoo.load(self.candidate, trust_remote_code=self.context.trust_remote_code)
            self.stage = "score"
        return self._backbone

    def load_ahead(self) -> None:
        """Loads the candidate if it will have to be; what goes wrong is raised when its turn has come."""
        parameters = self.candidate.metadata.get("parameters")
        memory = available_memory()
        if parameters and memory and BYTES_PER_PARAMETER * parameters > AHEAD_SHARE * memory:
            return
        try:
            if not self.is_forbidden and self.candidate.zoo not in self.context.zoos and not self.is_extracted:
                _ = self.backbone
        except (Exception, SystemExit) as error:
            self._not_loaded = error

    @property
    def is_forbidden(self) -> bool:
        """True if it brings code of its own, which it may not run."""
        return bool(self.candidate.metadata.get("remote_code")) and not self.context.trust_remote_code

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
        nested, source = self.context.nested, self.context.source
        blocks = (self.context.probe,) if nested is None else nested.blocks
        if not self.wanted & FORWARD_FIELDS or self.is_scored:
            return 0
        if self.candidate.revision is None:
            return len(blocks[-1])
        ahead = 0
        if self.wanted & SOURCE_FIELDS and source is not None and not self._is_kept(source, {"features"}):
            ahead = len(source)
        fields = self.wanted & FORWARD_FIELDS | {"features"}
        if self._is_kept(self.context.probe, fields) or (nested is not None and self._is_kept(nested.whole, fields)):
            return ahead
        return ahead + sum(len(block) for block in blocks if not self._is_kept(block, fields))

    def _is_kept(self, probe: Probe, fields: Iterable[str]) -> bool:
        return all(self.store.contains(self._evidence_key(name, probe)) for name in fields)

    @property
    def is_scored(self) -> bool:
        """True if every estimator's score is in the store, resamples included, as far as names in the store tell."""
        if self.candidate.revision is None:
            return False
        keys = [self._score_key(estimator) for estimator in self.context.estimators if not estimator.is_static]
        if self.context.resamples:
            keys += [self._resamples_key(e) for e in self.context.estimators if looks_at_rows(e)]
        return all(map(self.store.contains, keys))

    @property
    def wanted(self) -> frozenset[str]:
        """The evidence fields that the estimators want, all together."""
        return frozenset().union(*(estimator.reads for estimator in self.context.estimators))

    @cached_property
    def identity(self) -> str:
        """What its stored numbers are kept under. A candidate without a revision has to be loaded to know it."""
        return self.candidate.id if self.candidate.revision else f"{self.candidate.id}#{self.backbone.weights_key}"

    def assess(self) -> ScoringResult:
        if self.is_forbidden:
            self.stage = "load"
            raise RemoteCodeError(
                "loading it runs code that it brings. If you trust its author, pass trust_remote_code=True "
                "(--trust-remote-code on the command line)."
            )
        begun = time.perf_counter()
        result = ScoringResult()
        wanted = self.wanted
        evidence: Evidence | None = None
        self._keep_to_limits()
        if self.context.costs:
            self._measure(result)
        for estimator in self.context.estimators:
            if estimator.is_static:
                continue
            entry = self.store.get(self._score_key(estimator))
            if entry is None:
                evidence = evidence or self._gather(wanted)
                scored = score_or_failure(estimator, evidence)
                if scored.get("lasting", True):
                    self.store.put(self._score_key(estimator), {}, scored)
                self.reused = False
            else:
                scored = dict(entry.metadata)
            note_score(result, estimator, scored)
        if self.context.half is not None:
            self._halve(result, self.context.half, evidence, wanted)
        if self.context.resamples:
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
        for estimator in self.context.estimators:
            if estimator.is_static:
                note_score(result, estimator, score_or_failure(estimator, Evidence.of(metadata=metadata)))
        result.reused = self.reused
        result.passes, result.forward_seconds = self.passes, self.forward_seconds
        result.elapsed_seconds = time.perf_counter() - begun
        return result

    def _keep_to_limits(self) -> None:
        """Raises what the limits say of a number of parameters that only the loaded candidate tells."""
        limits = self.context.limits
        if limits.max_parameters is None or self.candidate.metadata.get("parameters") is not None:
            return
        described = ScoringResult()
        self._describe(described)
        known = described.parameters
        parameters = sum(p.numel() for p in self.backbone.module.parameters()) if known is None else known
        self._refuse(limits.parameters_exceeded(parameters))

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            self.stage = LIMIT
            raise CandidateError(reason)

    def _measure(self, result: ScoringResult) -> None:
        """What it costs on this device, from the store or measured now; whether that passes the limits."""
        limits = self.context.limits
        try:
            result.costs = self._measured()
        except Exception as error:
            if limits.max_latency_ms is not None:
                raise
            result.failures[COSTS] = Failure.from_exception(COSTS, error)
            return
        self._refuse(limits.latency_exceeded(result.costs.latency_ms))

    def _measured(self) -> CostMeasurement:
        context, compute = self.context, self.context.compute
        varies = context.probe.modality == "text" or self.candidate.zoo in context.zoos  # the size of a row does
        key = self.store.key(
            "costs",
            candidate=self.identity,
            zoo=self.zoo_version,
            rows=context.whole.fingerprint if varies else None,
            on=measured_on(compute.device),
            batch_size=compute.batch_size,
            arithmetic=self.context.compute.arithmetic,
            extractors=extractor_versions(),
            versions=numeric_versions(),
        )
        entry = self.store.get(key)
        if entry is not None:
            return CostMeasurement(**entry.metadata)
        backbone = self.backbone
        extractor = choose_extractor(get_host().extractors, backbone, compute.device)
        self.stage = COSTS
        with self.store.lock(self.store.key("costs", machine="this")), PROCESS_LOCK:  # nothing else at work
            measured = measure(
                backbone,
                context.whole,
                extractor,
                compute,
            )
        self.store.put(key, {}, asdict(measured))
        self.stage = "score"
        self.reused = False
        return measured

    def _halve(self, result: ScoringResult, half: Nested, evidence: Evidence | None, wanted: frozenset[str]) -> None:
        """Every estimator on half of the rows; one that fails there is left out."""
        taken: Evidence | None = None
        for estimator in self.context.estimators:
            if estimator.name not in result.components or not looks_at_rows(estimator):
                continue
            key = self._score_key(estimator, half.probe)
            entry = self.store.get(key)
            if entry is None:
                self.reused = False
                evidence = evidence or self._gather(wanted)
                places = np.arange(len(half.rows)) if self.context.nested is None else self.context.nested.rows
                taken = taken or evidence.take(np.searchsorted(places, half.rows))
                scored = score_or_failure(estimator, taken)
                if scored.get("lasting", True):
                    self.store.put(key, {}, scored)
            else:
                scored = dict(entry.metadata)
            if "components" in scored:
                result.halved[estimator.name] = scored["components"]

    def _resample(self, result: ScoringResult, evidence: Evidence | None, wanted: frozenset[str]) -> None:
        """Every estimator on the same resamples, from the store as far as they are there."""
        kept: dict[Estimator, dict[str, Any]] = {}
        for estimator in self.context.estimators:
            if estimator.name in result.components and looks_at_rows(estimator):
                entry = self.store.get(self._resamples_key(estimator))
                kept[estimator] = {"scores": [], "seconds": 0.0, "warning": ""} if entry is None else {**entry.metadata}
        saved = time.monotonic()
        for number in range(self.context.resamples):
            wanting = [estimator for estimator, found in kept.items() if len(found["scores"]) <= number]
            if not wanting:
                continue
            self.reused = False
            evidence = evidence or self._gather(wanted)
            rows = resample(evidence, number, self.context.seed)
            for estimator in wanting:
                try:
                    scored = timed_score(estimator, rows)
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
            if number == self.context.resamples - 1 or time.monotonic() - saved > RESAMPLES_KEPT_EVERY:
                for estimator in (e for e in wanting if e in kept):
                    self.store.put(self._resamples_key(estimator), {}, kept[estimator])
                saved = time.monotonic()
        for estimator, found in kept.items():
            result.resampled[estimator.name] = found["scores"][: self.context.resamples]
            result.seconds += found["seconds"]
            if found["warning"]:
                result.warnings.setdefault(estimator.name, f"on four fifths of the rows: {found['warning']}")

    def _gather(self, wanted: frozenset[str]) -> Evidence:
        """The evidence that the estimators want, from the store where it is there."""
        fields: dict[str, Any] = {
            "metadata": self.candidate.metadata,
            "seed": self.context.seed,
            "device": self.context.compute.device,
        }
        if wanted & FORWARD_FIELDS:
            fields |= self._forward(self.context.probe, wanted)
        if "labels" in wanted:
            fields["labels"] = self.context.probe.labels
        if wanted & SOURCE_FIELDS and (source := self._source) is not None:
            fields["source_features"] = self._forward(source, frozenset({"features"}))["features"]
            fields["source_labels"] = source.labels
        if "architecture" in wanted:
            fields["architecture"] = self._graph()
        if (recall := self.context.recall) is not None and "history" in wanted:
            fields["history"] = recall.view.of_candidate(self.candidate.unversioned_id)
        if "proxy_features" in wanted and self.context.proxy is not None:
            fields["proxy_features"] = Assessor(self.context, self.context.proxy).features()
        return Evidence.of(**fields)

    def features(self) -> NDArray[np.floating[Any]]:
        """(N, D) features of the probe."""
        features: NDArray[np.floating[Any]] = self._forward(self.context.probe, frozenset({"features"}))["features"]
        return features

    def _forward(self, probe: Probe, wanted: frozenset[str]) -> dict[str, Any]:
        """`features` and, where wanted and to be had, `source_probabilities`, computed once for all runs."""
        fields = sorted(wanted & FORWARD_FIELDS | {"features"})
        nested, compute = self.context.nested, self.context.compute
        with self.store.lock(self._evidence_key("extraction", probe)):
            if (kept := self._kept(probe, fields)) is not None:
                return kept
            if nested is not None and probe is nested.probe and len(nested.blocks) > 1:
                return self._put_together(nested, fields)
            extractor = choose_extractor(get_host().extractors, self.backbone, self.context.compute.device)
            self.stage = "extract"
            begun = time.perf_counter()
            with contextlib.ExitStack() as stack:
                writers = {
                    name: stack.enter_context(self.store.writer(self._evidence_key(name, probe))) for name in fields
                }
                sink = StoreSink(writers)
                evidence = extractor.extract(
                    self.backbone,
                    probe,
                    frozenset(fields),
                    **asdict(compute),
                    spool=self.context.spool,
                    sink=sink,
                    progress=self.context.progress,
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
        nested = self.context.nested
        for probes in [(self.context.probe,)] + ([] if nested is None else [(nested.whole,), nested.blocks]):
            found = [self.store.get(self._evidence_key("extraction", probe)) for probe in probes]
            if None not in found:
                return [entry.metadata for entry in found if entry], sum(map(len, probes))
        return [], 0

    @cached_property
    def _source(self) -> Probe | None:
        """What the caller gave as source data, else what the zoo knows of this candidate's."""
        if self.context.source is not None or self.backbone.source is None:
            return self.context.source
        from modelselect.probe.probe import Probe

        with PROCESS_LOCK:
            return Probe.of(self.backbone.source, size=None, seed=self.context.seed)

    def _evidence_key(self, kind: str, probe: Probe) -> str:
        """Of one field of the evidence, or of the record of its extraction."""
        return self.store.key(
            kind,
            candidate=self.identity,
            zoo=self.zoo_version,
            probe=probe.fingerprint,
            device=self.context.compute.kind,
            arithmetic=self.context.compute.arithmetic,
            extractors=extractor_versions(),
            versions=numeric_versions(),
        )

    def _score_key(self, estimator: Estimator, probe: Probe | None = None) -> str:
        return self.store.key("score", **self._score_parts(estimator, probe or self.context.probe))

    def _resamples_key(self, estimator: Estimator) -> str:
        return self.store.key("resamples", scheme=SCHEME, **self._score_parts(estimator, self.context.probe))

    def _score_parts(self, estimator: Estimator, probe: Probe) -> dict[str, Any]:
        """Everything that an estimator's score depends on."""
        source = None
        if estimator.reads & SOURCE_FIELDS:
            source = "the zoo's" if self.context.source is None else self.context.source.fingerprint
        recall = self.context.recall if "history" in estimator.reads else None
        return {
            "candidate": self.identity if estimator.reads & LOADED_FIELDS else self.candidate.id,
            "zoo": self.zoo_version,
            "probe": probe.fingerprint,
            "source": source,
            "history": recall and recall.view.digest,
            "proxy": self.context.proxy and self.context.proxy.id if "proxy_features" in estimator.reads else None,
            "estimator": estimator.key,
            "plugin": plugin_version(estimator),
            "seed": self.context.seed,
            "device": self.context.compute.kind,
            "arithmetic": self.context.compute.arithmetic,
            "extractors": extractor_versions(),
            "versions": numeric_versions(SCORE_LIBRARIES),
        }

    @property
    def zoo_version(self) -> str | None:
        """Of the plugin that brought the zoo: how a candidate is loaded and prepared may change with it."""
        return None if self.candidate.zoo in self.context.zoos else get_host().owner("zoos", self.zoo.name).version

    # --- what is known without loading

    def preview(self, trace: bool) -> Preview:
        """What assessing it would take, as far as metadata, its skeleton (if it may be traced) and the store tell."""
        self.may_load = self.candidate.zoo in self.context.zoos  # the caller's own modules are here
        described = ScoringResult(parameters=self.candidate.metadata.get("parameters"))
        if trace:
            self._describe(described)
        extracted = self.is_extracted if self.candidate.revision or not self.wanted & FORWARD_FIELDS else None
        return Preview(described.parameters, described.macs, extracted, self.is_scored, self.passes_ahead)

    def graph_unloaded(self) -> str | None:
        """Its architecture as JSON, from the store or from its skeleton; None where neither is to be had."""
        self.may_load = self.candidate.zoo in self.context.zoos
        described = ScoringResult()
        if not self.is_forbidden:
            self._describe(described)
        return described.graph

    # --- architecture

    def _describe(self, result: ScoringResult) -> None:
        """Graph, multiply-accumulates and parameter count: from the store, or traced without weights."""
        own = self.candidate.zoo in self.context.zoos  # the caller's module takes rows of any size
        key = self.store.key(
            "architecture",
            candidate=self.candidate.id,
            zoo=self.zoo_version,
            probe=self.context.whole.fingerprint if own else None,
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

        described = ScoringResult()
        self._describe(described)
        return None if described.graph is None else archi2vec.from_json(described.graph)

    def _trace(self) -> dict[str, Any]:
        """What is known of the architecture. That a module cannot be traced is known for good, and fails nothing.

        Empty where there is no module to trace this time: that may be otherwise the next time.
        """
        from modelselect import archi2vec

        found: dict[str, Any] = {}
        with PROCESS_LOCK, contextlib.suppress(Exception):  # a stranger's zoo or module may raise anything
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
            skeleton = self.zoo.skeleton(self.candidate, trust_remote_code=self.context.trust_remote_code)
            if skeleton is not None and inputs:
                return skeleton, inputs
        if "example" in inputs:  # token ids: what the probe's texts are padded to must change neither graph nor count
            return self.backbone.module, inputs
        preprocessing = self.backbone.preprocessing
        rows = [preprocessing.prepare(self.context.probe.item(index)) for index in range(2)]
        module, read = self.backbone.module, self.backbone.read
        if isinstance(read, FeatureMethod) and not read.has_logits:
            module = without_head(module)
        return module, {"example": preprocessing.finish(torch.stack(rows))}
