"""`features()`: the evidence that candidates give for a dataset, as arrays, through the store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard, Unpack, overload

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import in_evaluation_mode
from modelselect.errors import (
    CandidateError,
    Failure,
    InvalidInputError,
    ModelSelectError,
    SearchError,
    Stage,
    contained,
    did_you_mean,
)
from modelselect.evaluation.context import FORWARD_FIELDS, SOURCE_FIELDS, EvaluationContext
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.keywords import FeatureKeywords, with_signature
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.request import Request
from modelselect.evaluation.settings import Settings
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.inputs import InputCache
from modelselect.utils.progress import Progress
from modelselect.utils.stages import Ended
from modelselect.utils.text import listed

if TYPE_CHECKING:
    import torch

    One = str | os.PathLike[str] | Candidate | torch.nn.Module | tuple[Any, ...]

USUAL_FIELDS = ("features", "labels", "source_probabilities", "metadata")
AVAILABLE_FIELDS = (*sorted(FORWARD_FIELDS | SOURCE_FIELDS | {"labels"}), "architecture", "metadata")
"""The fields of evidence that need neither a history nor a proxy."""


_REFUSED: Mapping[str, str] = {
    field.name: "it is a keyword of select(), which ranks; features() only computes evidence"
    for field in fields_of(Settings)
    if field.name not in FeatureKeywords.__annotations__
}


@overload
def features(
    dataset: Any, candidates: list[Any], *, fields: Sequence[str] = ..., **settings: Unpack[FeatureKeywords]
) -> dict[str, Evidence]: ...


@overload
def features(
    dataset: Any, candidates: One, *, fields: Sequence[str] = ..., **settings: Unpack[FeatureKeywords]
) -> Evidence: ...


@with_signature(FeatureKeywords)
def features(
    dataset: Any, candidates: Any, *, fields: Sequence[str] = USUAL_FIELDS, **settings: Unpack[FeatureKeywords]
) -> Evidence | dict[str, Evidence]:
    """What candidates say about a dataset: their features of its probe, with the labels of the rows.

    The probe is the one of `select()` with the same keywords, so the two share the forward pass through the store. What
    the store holds is read from it, as arrays that stay on disk. Several candidates share the decoded images.

    Args:
        dataset: as in `select()`.
        candidates: one candidate: an expression, a plain name, a folder, a `Candidate`, a torch module; or a list of
            these, and of expressions that match several.
        fields: the fields of evidence to give: `features` (N, D), `labels` ((N,) classes, or (N, T) numbers or
            sets of labels), `source_probabilities` (N, S), `source_features` and `source_labels` (with `source`, or
            where the zoo knows the data of pre-training), `architecture`, `metadata`. What a candidate does not have
            is None.
        settings: keywords of `select()`: probe_size, input, label, task, split, max_corrupt, max_pixels, source,
            source_size, device, cache_dir, trust_remote_code, seed, batch_size, precision, compile, extractor,
            progress.

    Returns:
        The evidence of the candidate. For a list, the evidence of each by its id; a candidate that cannot be loaded or
        run is left out, with a warning.

    Raises:
        InvalidInputError: the dataset, a candidate, a field or a keyword cannot be used; or what is no list means
            several candidates.
        CandidateError: the candidate cannot be loaded or run, or none of a list can.
        SearchError: a zoo failed while it was searched.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    >>> evidence = ms.features((images, [0, 1] * 6), "embedded:resnet.letters", progress=False)
    >>> evidence.features.shape, evidence.labels.shape, evidence.features.dtype
    ((10, 32), (10,), dtype('float32'))
    """
    wanted = _checked(fields)
    asked = replace(Settings.of("features", settings, _REFUSED), history=False)
    request = Request.of(asked, dataset, candidates)
    several = isinstance(candidates, list)
    if not several and len(request.pool) > 1:
        raise InvalidInputError(
            f"{candidates!r} means {len(request.pool)} candidates ({listed([c.id for c in request.pool], 3)}); "
            "expected one. For several, give a list: the answer is then the evidence of each by its id"
        )
    found, failures = _gathered(request, wanted)
    if failures and (not several or not found):
        raise next(iter(failures.values()))
    for key, error in failures.items():
        warnings.warn(f"{key} is left out: {error}", stacklevel=2)
    return found if several else next(iter(found.values()))


def _checked(given: Sequence[str]) -> frozenset[str]:
    """The fields that are wanted.

    Raises:
        InvalidInputError: a field does not exist, or cannot be given here.
    """
    if not _is_of_texts(given):
        raise InvalidInputError(f"fields is {given!r}; expected several of {', '.join(AVAILABLE_FIELDS)}")
    for name in given:
        if name not in AVAILABLE_FIELDS:
            near = did_you_mean(name, AVAILABLE_FIELDS)
            raise InvalidInputError(f"fields has {name!r}; expected some of {', '.join(AVAILABLE_FIELDS)}.{near}")
    return frozenset(given)


def _is_of_texts(given: Any) -> TypeGuard[Sequence[str]]:
    return not isinstance(given, str) and isinstance(given, Iterable) and all(isinstance(each, str) for each in given)


def _gathered(request: Request, wanted: frozenset[str]) -> tuple[dict[str, Evidence], dict[str, ModelSelectError]]:
    """The evidence of each candidate by id, and the errors of those that have none."""
    found: dict[str, Evidence] = {}
    failures: dict[str, ModelSelectError] = {
        key: SearchError(failed.reason) for key, failed in request.unsearched.items() if isinstance(failed, Failure)
    }
    pool = [candidate for candidate in request.pool if candidate.id not in failures]
    modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
    with (
        in_evaluation_mode(*modules),
        InputCache.temporary(request.store.path / "spool") as spool,
        Progress(request.settings.progress) as bars,
        bars.candidates("features", len(pool)) as track,
    ):
        plain = replace(request, methods=[]).context(spool, bars.reports(isolated=False))
        context = replace(plain, fields=wanted)
        for candidate in pool:
            track.begin(candidate.id)
            try:
                found[candidate.id] = _evidence_of(context, candidate)
            except Exception as error:  # a candidate's code may raise anything; the caller gets it
                failed = Failure.from_exception(Stage.LOAD, error)
                failures[candidate.id] = error if isinstance(error, ModelSelectError) else CandidateError(failed.reason)
                track(candidate.id, Ended(f"failed: {failed.reason}", failed=True))
            else:
                track(candidate.id)
    return found, failures


def _evidence_of(context: EvaluationContext, candidate: Candidate) -> Evidence:
    """The wanted fields of one candidate."""
    loader = Loader(context, candidate)
    try:
        with contained():
            loader.check_allowed()
            evidence = Gatherer(loader).gathered.evidence
    finally:
        loader.put_back()
    unwanted: dict[str, Any] = {name: None for name in AVAILABLE_FIELDS if name not in context.fields}
    return replace(evidence, **unwanted)
