"""What scoring a candidate would take, as far as this is known without loading the candidate."""

from __future__ import annotations

from collections.abc import Iterable

from modelselect.estimators.resampling import looks_at_rows
from modelselect.evaluation.context import FORWARD_FIELDS, SOURCE_FIELDS
from modelselect.evaluation.description import Describer
from modelselect.evaluation.gathering import FEATURES
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.results import Architecture, Preview
from modelselect.probe.probe import Probe


def preview(loader: Loader, *, trace: bool) -> Preview:
    """What scoring the candidate would take, as far as metadata, its skeleton and the store say.

    Args:
        loader: the candidate's loader. It loads nothing but the caller's own modules.
        trace: whether the skeleton may be traced.
    """
    candidate = loader.candidate
    described = Architecture(parameters=candidate.metadata.get("parameters"))
    if trace:
        described = Describer(loader).describe(may_load=loader.is_own)
    passes = passes_ahead(loader)
    is_known = candidate.revision or not loader.context.wanted & FORWARD_FIELDS
    return Preview(described.parameters, described.macs, passes == 0 if is_known else None, is_scored(loader), passes)


def graph_unloaded(loader: Loader) -> str | None:
    """The architecture as JSON, from the store or from the skeleton; None if neither exists."""
    return None if loader.is_forbidden else Describer(loader).describe(may_load=loader.is_own).graph


def passes_ahead(loader: Loader) -> int:
    """Rows that will have to be passed forward, as far as the names in the store say.

    For a candidate without a revision, these are the rows of the last block: the store cannot be asked about such a
    candidate, and earlier rounds passed the other blocks forward.
    """
    context = loader.context
    nested, source = context.nested, context.source
    blocks = (context.probe,) if nested is None else nested.blocks
    if not context.wanted & FORWARD_FIELDS or is_scored(loader):
        return 0
    if loader.candidate.revision is None:
        return len(blocks[-1])
    ahead = 0
    if context.wanted & SOURCE_FIELDS and source is not None and not _is_kept(loader, source, FEATURES):
        ahead = len(source)
    fields = context.wanted & FORWARD_FIELDS | FEATURES
    if _is_kept(loader, context.probe, fields) or (nested is not None and _is_kept(loader, nested.whole, fields)):
        return ahead
    return ahead + sum(len(block) for block in blocks if not _is_kept(loader, block, fields))


def is_scored(loader: Loader) -> bool:
    """Whether the store has every estimator's score, resamples included, as far as the names in the store say."""
    context, keys = loader.context, Keys(loader)
    if loader.candidate.revision is None:
        return False
    wanted = [keys.score(estimator) for estimator in context.estimators if not estimator.is_static]
    if context.resamples:
        wanted += [keys.resamples(estimator) for estimator in context.estimators if looks_at_rows(estimator)]
    return all(map(context.store.contains, wanted))


def _is_kept(loader: Loader, probe: Probe, fields: Iterable[str]) -> bool:
    store, keys = loader.context.store, Keys(loader)
    return all(store.contains(keys.evidence(name, probe)) for name in fields)
