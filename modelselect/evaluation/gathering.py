"""`Gatherer`: the evidence about one candidate, through the store."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.architectures.graph_json import from_json
from modelselect.candidates.backbone import TOGETHER, Backbone
from modelselect.errors import Stage, StoreError, at
from modelselect.evaluation.blame import extracting
from modelselect.evaluation.context import FORWARD_FIELDS, SOURCE_FIELDS
from modelselect.evaluation.description import Describer
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.repeatable import check_repeatable, session_of
from modelselect.evidence.evidence import Evidence, shown_with
from modelselect.extraction.extractor import Extractor, Sink, choose_extractor
from modelselect.extraction.inputs import InputCache
from modelselect.extraction.together import Divided, Joined
from modelselect.host.host import get_host
from modelselect.probe.nested import Nested
from modelselect.probe.probe import Probe
from modelselect.store.entry_file import Entry
from modelselect.store.store import Store
from modelselect.store.writer import Writer
from modelselect.utils.process_state import INTERPRETER_LOCK
from modelselect.utils.stages import Step

_LOGGER = logging.getLogger(__name__)

if TYPE_CHECKING:
    import networkx as nx

FEATURES = frozenset({"features"})

ATTEMPTS = 3
"""Number of forward passes over the same rows if each result is removed from the store before it can be read."""


@dataclass(frozen=True)
class Forward:
    """The results of forward passes over some rows.

    Attributes:
        arrays: the arrays by evidence field, with one row for each row of the probe.
        record: what the store keeps of the pass with its arrays: dimensions, seconds, ...
        passes: rows that were passed forward now, and not found in the store.
        seconds: the time for these.
    """

    arrays: Mapping[str, NDArray[Any]]
    record: Mapping[str, Any]
    passes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Gathered:
    """Evidence, and the forward passes that it took now.

    Attributes:
        evidence: all fields that the estimators want.
        passes: rows that were passed forward now.
        forward_seconds: the time for these.
    """

    evidence: Evidence
    passes: int
    forward_seconds: float


class Gatherer:
    """Finds the evidence about one candidate in the store, or computes and keeps it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._context = loader.context
        self._keys = Keys(loader)
        self._store = loader.context.store
        self._written: dict[str, Mapping[str, Any]] = {}  # by probe, the records of forward passes

    @cached_property
    def gathered(self) -> Gathered:
        """All evidence that the context's estimators want; the first use computes what the store does not hold."""
        context, wanted = self._context, self._context.wanted
        fields: dict[str, Any] = {
            "metadata": self._loader.candidate.metadata,
            "seed": context.seed,
            "device": context.compute.device,
        }
        done = []
        if wanted & FORWARD_FIELDS:
            done.append(self.forward(context.probe, wanted))
            fields |= done[-1].arrays
        if "labels" in wanted:
            fields |= {"labels": context.probe.targets, "target_kind": context.probe.target_kind}
        if "groups" in shown_with(wanted):
            fields["groups"] = context.probe.groups
        if wanted & SOURCE_FIELDS and (source := self._source()) is not None:
            done.append(self.forward(source, FEATURES))
            fields |= {"source_features": done[-1].arrays["features"], "source_labels": source.labels}
        if "architecture" in wanted:
            graph = Describer(self._loader).describe().graph
            fields["architecture"] = None if graph is None else _frozen(from_json(graph))
        if context.recall is not None and "history" in wanted:
            fields["history"] = context.recall.view.of_candidate(self._loader.candidate.unversioned_id)
        if "proxy_features" in wanted and context.proxy is not None:
            fields["proxy_features"] = Gatherer(Loader(context, context.proxy)).features()
        return Gathered(Evidence.of(**fields), sum(each.passes for each in done), sum(each.seconds for each in done))

    def features(self) -> NDArray[np.floating[Any]]:
        """(N, D) features of the context's probe."""
        features: NDArray[np.floating[Any]] = self.forward(self._context.probe, FEATURES).arrays["features"]
        return features

    def forward(self, probe: Probe, wanted: frozenset[str]) -> Forward:
        """`features` and, if they are wanted and the candidate has any, `source_probabilities`.

        One process at a time passes the candidate forward. Candidates that share a forward pass wait for each other.

        Raises:
            StoreError: another process removes the results as soon as they are there.
        """
        fields = sorted(wanted & FORWARD_FIELDS | FEATURES)
        nested = self._context.nested
        if (kept := self._found(probe, fields)) is not None:  # what is there needs no lock
            return kept
        with contextlib.ExitStack() as stack:
            if (model := self._loader.candidate.metadata.get(TOGETHER)) is not None:
                together = Store.key("together", model=model, probe=probe.fingerprint)
                stack.enter_context(self._store.lock(together, may_go_on=True))
            for name in fields:  # the features first; what is locked is not evicted before it is read
                stack.enter_context(self._store.lock(self._keys.evidence(name, probe), may_go_on=True))
            if (kept := self._found(probe, fields)) is not None:
                return kept
            if nested is not None and probe is nested.probe and len(nested.blocks) > 1:
                return self._from_blocks(nested, fields)
            return self._extracted(probe, fields)

    def recorded(self) -> tuple[list[Mapping[str, Any]], int]:
        """As `extractions`. A record that is missing or damaged is made anew, from the arrays or by a forward pass."""
        found, rows = self.extractions()
        if not found:
            forward = self.forward(self._context.probe, self._context.wanted)
            found, rows = self.extractions()  # of blocks each has a record
        return (found, rows) if found else ([forward.record], len(self._context.probe))

    def extractions(self) -> tuple[list[Mapping[str, Any]], int]:
        """The records of the forward passes over the probe, or over its blocks, and the number of their rows."""
        nested = self._context.nested
        for probes in [(self._context.probe,)] + ([] if nested is None else [(nested.whole,), nested.blocks]):
            found = [self._record(probe) for probe in probes]
            if None not in found:
                return [record for record in found if record is not None], sum(map(len, probes))
        return [], 0

    def _record(self, probe: Probe) -> Mapping[str, Any] | None:
        """The record of a forward pass over the probe: of this object, or in the store; None if there is none."""
        if (written := self._written.get(probe.fingerprint)) is not None:
            return written
        entry = self._store.get(self._keys.evidence("extraction", probe))
        return None if entry is None else entry.metadata

    def _extracted(self, probe: Probe, fields: Sequence[str]) -> Forward:
        """A forward pass over the probe, straight into the store. Entries that are evicted meanwhile are made again."""
        for attempt in range(1, ATTEMPTS + 1):
            seconds = self._pass_forward(probe, fields)
            if (kept := self._kept(probe, fields)) is not None:
                return replace(kept, passes=attempt * len(probe), seconds=seconds)
        raise StoreError(
            f"the store in {self._store.path} lost the features of {self._loader.candidate.id} {ATTEMPTS} times, as "
            "soon as they were written: another process removes them. Wait for that process, or give this run a folder "
            "of its own with cache_dir= (--cache-dir)."
        )

    def _pass_forward(self, probe: Probe, fields: Sequence[str]) -> float:
        """The seconds of a forward pass over the probe. Its arrays and its record go into the store.

        Where the pass gives the features of other candidates, too, all of them go into the store.
        """
        context, backbone = self._context, self._loader.backbone
        extractor = choose_extractor(get_host().extractors, backbone, context.compute.device, context.compute.extractor)
        with at(Stage.EXTRACT):
            together = None if backbone.together is None else backbone.together()
            parts = (backbone,) if together is None else together.parts
            begun = time.perf_counter()
            with contextlib.ExitStack() as stack:
                keys = [self._keys if part is backbone else Keys(self._loader.of(part)) for part in parts]
                writers = [
                    {name: stack.enter_context(self._store.writer(key.evidence(name, probe))) for name in fields}
                    for key in keys
                ]
                sinks = [StoreSink(each) for each in writers]
                sink: Sink = sinks[0]
                passed = backbone
                if together is not None:
                    joined = Joined(together.read)
                    sink, passed = Divided(joined, sinks), replace(together.backbone, read=joined)
                with session_of(extractor, backbone, context.compute):
                    begun += self._checked(extractor, backbone, probe)
                    with extracting(extractor):
                        evidence = extractor.extract(
                            passed,
                            probe,
                            frozenset(fields),
                            **context.compute.arguments,
                            spool=context.spool,
                            sink=sink,
                            progress=None if context.progress is None else self._report,
                        )
                        if not isinstance(evidence, Evidence):
                            raise TypeError(f"it gives {type(evidence).__name__}; expected Evidence")
                if together is not None and not sinks[-1].arrays():  # an extractor need not use the sink
                    sink.append(**{name: getattr(evidence, name) for name in fields if evidence.has(name)})
                sinks[-1].complete(evidence)
                seconds = time.perf_counter() - begun
                self._loader.put_back()
                records = []
                for part, own, arrays in zip(parts, writers, (each.arrays() for each in sinks), strict=True):
                    if together is not None:
                        Evidence.of(features=arrays["features"])  # raises if they are not finite
                    records.append(
                        {
                            "candidate": part.candidate.id,
                            "feature_dim": int(arrays["features"].shape[1]),
                            "preprocessing": backbone.preprocessing.key,
                            "extractor": extractor.name,
                            "seconds": seconds / len(parts),
                        }
                    )
                    own["features"].metadata.update(records[-1])
            for key, record in zip(keys, records, strict=True):
                self._store.put(key.evidence("extraction", probe), {}, record)
        for part, record in zip(parts, records, strict=True):
            if part.candidate.id == backbone.candidate.id:
                self._written[probe.fingerprint] = record
        return seconds

    def _checked(self, extractor: Extractor, backbone: Backbone, probe: Probe) -> float:
        """Checks that the candidate is repeatable, unless it was seen to be; the seconds of this."""
        begun, context = time.perf_counter(), self._context
        if not self._loader.is_repeatable:
            row = (context.spool or InputCache(None)).first(probe, backbone.preprocessing)
            check_repeatable(backbone, row, extractor, context.compute)
            self._loader.is_repeatable = True
        return time.perf_counter() - begun

    def _report(self, done: int, total: int) -> None:
        if self._context.progress is not None:
            self._context.progress(self._loader.candidate.id, Step("rows", done, total))

    def _found(self, probe: Probe, fields: Sequence[str]) -> Forward | None:
        """As `_kept`; the log says so."""
        kept = self._kept(probe, fields)
        if kept is not None:
            _LOGGER.debug("%s: %s found in the store", self._loader.candidate.id, ", ".join(fields))
        return kept

    def _kept(self, probe: Probe, fields: Sequence[str]) -> Forward | None:
        """What the store holds of these fields and of their record; None if something is missing.

        The features hold a copy of the record. If the record is missing, it is written again; version 0.1.0 kept no
        copy, so its features count as missing then.
        """
        kept: dict[str, Entry] = {}
        for name in fields:
            if (entry := self._store.get(self._keys.evidence(name, probe))) is None:
                return None
            kept[name] = entry
        record, copy = self._record(probe), kept["features"].metadata
        if record is None:
            if not copy:
                return None
            self._store.put(self._keys.evidence("extraction", probe), {}, copy)
        arrays = {name: entry.arrays[name] for name, entry in kept.items() if name in entry.arrays}
        return Forward(arrays, copy if record is None else record)

    def _from_blocks(self, nested: Nested, fields: Sequence[str]) -> Forward:
        """Evidence of a part of a probe: from the whole probe's evidence if the store has it, else from blocks.

        Each block is passed forward once. Evidence of the whole is kept, so that it is found without the blocks.
        """
        if (whole := self._kept(nested.whole, fields)) is not None:
            return replace(whole, arrays={name: rows[nested.rows] for name, rows in whole.arrays.items()})
        parts = [self.forward(block, frozenset(fields)) for block in nested.blocks]
        arrays = {}
        for name, first in parts[0].arrays.items():
            arrays[name] = np.empty((len(nested.rows), *first.shape[1:]), first.dtype)
            for places, part in zip(nested.places, parts, strict=True):
                arrays[name][places] = part.arrays[name]
        record = {**parts[0].record, "seconds": sum(part.record["seconds"] for part in parts)}
        if nested.probe is nested.whole:
            for name in sorted(fields, reverse=True):  # the features last: they hold a copy of the record
                kept = {name: arrays[name]} if name in arrays else {}
                self._store.put(self._keys.evidence(name, nested.whole), kept, record if name == "features" else {})
            self._store.put(self._keys.evidence("extraction", nested.whole), {}, record)
        return Forward(arrays, record, sum(part.passes for part in parts), sum(part.seconds for part in parts))

    def _source(self) -> Probe | None:
        """The caller's source data, else the candidate's own, if its zoo has them."""
        context, own = self._context, self._loader.backbone.source
        if context.source is not None or own is None:
            return context.source
        with INTERPRETER_LOCK:
            return Probe.of(own() if callable(own) else own, size=None, seed=context.seed)


def _frozen(graph: nx.DiGraph[Any]) -> nx.DiGraph[Any]:
    """The graph, which no estimator can change: all of them get the same one."""
    import networkx

    frozen: nx.DiGraph[Any] = networkx.freeze(graph)
    return frozen


class StoreSink:
    """A sink with one writer for each field."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._writers = writers

    def append(self, **rows: NDArray[np.float32]) -> None:
        for name, batch in rows.items():
            self._writers[name].append(**{name: batch})

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        return {name: rows for writer in self._writers.values() for name, rows in writer.mapped().items()}

    def complete(self, evidence: Evidence) -> None:
        """Writes the fields that the extractor returned and did not send here. A field that is missing gets no rows."""
        written = self.arrays()
        self.append(
            **{name: getattr(evidence, name) for name in self._writers if name not in written and evidence.has(name)}
        )
