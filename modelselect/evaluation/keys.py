"""`Keys`: the keys under which the store holds the numbers of one candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelselect.estimators.estimator import Estimator
from modelselect.estimators.resampling import SCHEME, SCHEME_OF_WHOLES
from modelselect.evaluation.blame import extracting, plugin_of
from modelselect.evaluation.context import FORWARD_FIELDS, SOURCE_FIELDS
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.timing import measured_on
from modelselect.host.host import get_host
from modelselect.host.lookup import zoo_version
from modelselect.probe.probe import Probe
from modelselect.store.store import Store
from modelselect.utils.target_kinds import ROW
from modelselect.utils.versions import SCORE_LIBRARIES, numeric_versions

LOADED_FIELDS = FORWARD_FIELDS | SOURCE_FIELDS
"""Evidence that depends on the candidate's weights."""


class Keys:
    """The keys under which the store holds the numbers of one candidate. A key contains all that a number depends on.

    A candidate without a revision is loaded for each key except that of its architecture.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._context = loader.context
        self._evidence: dict[tuple[str, str], str] = {}  # by kind and probe

    @property
    def zoo_version(self) -> str | None:
        """Version of the plugin of the zoo that loads the candidate, which decides also how rows are prepared."""
        return None if self._loader.is_own else zoo_version(self._loader.candidate)

    def evidence(self, kind: str, probe: Probe) -> str:
        """The key of one field of the evidence, or of `"extraction"`, the record of the forward pass."""
        if (known := self._evidence.get((kind, probe.fingerprint))) is not None:
            return known
        key = self._evidence[kind, probe.fingerprint] = Store.key(
            kind,
            candidate=self._loader.identity,
            zoo=self.zoo_version,
            probe=probe.fingerprint,
            device=self._context.compute.kind,
            arithmetic=self._context.compute.arithmetic,
            extractors=extractor_versions(self._context.compute.extractor),
            versions=numeric_versions(),
        )
        return key

    def score(self, estimator: Estimator, probe: Probe | None = None) -> str:
        """The key of an estimator's score on a probe; None means the context's probe."""
        return Store.key("score", **self._score_parts(estimator, probe or self._context.probe))

    def resamples(self, estimator: Estimator) -> str:
        """The key of an estimator's scores on resamples of the context's probe."""
        scheme = SCHEME if self._context.probe.groups is None else SCHEME_OF_WHOLES
        return Store.key("resamples", scheme=scheme, **self._score_parts(estimator, self._context.probe))

    def costs(self) -> str:
        """The key of latency, throughput and memory on this device."""
        context, compute = self._context, self._context.compute
        probe = context.probe
        # Their inputs differ in size; and how many parts an image has decides how often it is read.
        depends_on_rows = probe.modality == "text" or self._loader.is_own or probe.unit != ROW
        return Store.key(
            "costs",
            candidate=self._loader.identity,
            zoo=self.zoo_version,
            rows=context.whole.fingerprint if depends_on_rows else None,
            on=measured_on(compute.device),
            batch_size=compute.batch_size,
            arithmetic=compute.arithmetic,
            extractors=extractor_versions(self._context.compute.extractor),
            versions=numeric_versions(),
        )

    def architecture(self) -> str:
        """The key of graph, multiply-accumulates and parameter count. The candidate is never loaded for this key."""
        return Store.key(
            "architecture",
            candidate=self._loader.candidate.id,
            zoo=self.zoo_version,
            probe=self._context.whole.fingerprint
            if self._loader.is_own
            else None,  # an own module is traced on its rows
            versions=numeric_versions(),
        )

    def zero_shot(self, names: Sequence[str]) -> str:
        """The key of the accuracy on the context's probe by the names of its classes."""
        context = self._context
        return Store.key(
            "zero_shot",
            candidate=self._loader.identity,
            zoo=self.zoo_version,
            probe=context.probe.fingerprint,
            names=list(names),
            prompts=list(context.prompts),
            device=context.compute.kind,
            arithmetic=context.compute.arithmetic,
            extractors=extractor_versions(self._context.compute.extractor),
            versions=numeric_versions(),
        )

    def _score_parts(self, estimator: Estimator, probe: Probe) -> dict[str, Any]:
        context, candidate = self._context, self._loader.candidate
        source = None
        if estimator.reads & SOURCE_FIELDS:
            source = "the zoo's" if context.source is None else context.source.fingerprint
        recall = context.recall if "history" in estimator.reads else None
        plugin = plugin_of(estimator)
        return {
            "candidate": self._loader.identity if estimator.reads & LOADED_FIELDS else candidate.id,
            "zoo": self.zoo_version,
            "probe": probe.fingerprint,
            "source": source,
            "history": recall and recall.view.digest,
            "proxy": context.proxy and context.proxy.id if "proxy_features" in estimator.reads else None,
            "estimator": context.key_of(estimator),
            "plugin": plugin and plugin.version,
            "seed": context.seed,
            "device": context.compute.kind,
            "arithmetic": context.compute.arithmetic,
            "extractors": extractor_versions(context.compute.extractor),
            "versions": numeric_versions(SCORE_LIBRARIES),
        }


def extractor_versions(named: str | None) -> dict[str, str]:
    """Versions of the plugins that registered extractors, by the extractor's name.

    Args:
        named: the extractor that the run names, which is then the only one; with None, all that may be chosen.
    """
    host = get_host()
    chosen = [each for each in host.extractors.values() if each.name == named or not (named or each.on_request)]
    known = {}
    for each in chosen:
        with extracting(each):
            known[each.name] = f"{host.owner('extractors', each.name).version} {each.library}".strip()
    return known
