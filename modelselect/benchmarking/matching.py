"""Which candidates and datasets the names in a table of known accuracies mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from modelselect.benchmarking.truth import Truth, listed_names
from modelselect.candidates.candidate import Candidate
from modelselect.errors import InvalidInputError, did_you_mean


def match(truth: Truth, datasets: Sequence[str], candidates: Sequence[Candidate]) -> tuple[Truth, dict[str, str]]:
    """The truth of these candidates on these datasets, by dataset and candidate id; and the truth's name of each id.

    A model of the truth matches a candidate by the candidate's id, the id without the revision, the name, or the last
    part of a name that is a path. A name without a tag that matches nothing so matches a candidate by the architecture
    alone, whatever the zoo, the tag, capitals and separators, if only one candidate has it: `DenseNet-121` is
    `torchvision:densenet121.IMAGENET1K_V1`. A name with a tag and without a revision matches a candidate of another zoo
    if the two are known to be the same weights: `torchvision:resnet50.IMAGENET1K_V1` is `timm:resnet50.tv_in1k`, and
    `hub:timm/resnet50.a1_in1k` is `timm:resnet50.a1_in1k`. Notes say so.

    Raises:
        InvalidInputError: the truth lacks a dataset, or knows fewer than two of the candidates on one; or a name
            matches two candidates, or two names match one candidate.
    """
    keys, alike = _keys(candidates), _alike(candidates)
    same_weights = _by_weights(candidates)
    loose: dict[str, str] = {}
    meanings: dict[str, dict[str, str]] = {}
    called: dict[str, str] = {}
    for dataset in datasets:
        if dataset not in truth.accuracies:
            raise InvalidInputError(
                f"the truth has no dataset {dataset!r}.{did_you_mean(dataset, truth.accuracies)} The datasets of the "
                f"truth are {listed_names(truth.accuracies)}. Use these names for your datasets."
            )
        ids: dict[str, str] = {}
        meanings[dataset] = ids
        for model in truth.accuracies[dataset]:
            meant = keys.get(model, [])
            if len(meant) > 1:
                raise InvalidInputError(
                    f"the truth's model {model!r} matches {listed_names(meant)}; expected one candidate. Write the "
                    "whole id in the truth."
                )
            if not meant:
                named = _parts(model)
                near = _in_another_zoo(model, same_weights) if named.tag else alike.get(named.plain, [])
                if len(near) != 1 or near[0] in ids.values() or _exact(truth.accuracies[dataset], keys, near[0]):
                    continue
                meant = near
                loose[model] = near[0]
            if meant[0] in ids.values():
                raise InvalidInputError(
                    f"the truth has two accuracies of {meant[0]} on {dataset}, one of them as {model!r}; expected one. "
                    "Use one name for each model."
                )
            ids[model] = meant[0]
            called.setdefault(meant[0], model)
        if len(ids) < 2:
            raise InvalidInputError(
                f"{len(ids)} of the truth's {len(truth.accuracies[dataset])} models on {dataset} "
                f"({listed_names(truth.accuracies[dataset])}) are among the {len(candidates)} candidates "
                f"({listed_names(c.id for c in candidates)}); expected two or more. Use the candidates' ids or names "
                f"in the truth.{_differences(truth.accuracies[dataset], alike, ids)}"
            )
    found = truth.renamed(meanings)
    if loose:
        by_weights = [f"{model} as {key}" for model, key in loose.items() if _parts(model).tag]
        alone = [f"{model} as {key}" for model, key in loose.items() if not _parts(model).tag]
        said = [("the architecture alone", alone), ("the weights, in another zoo", by_weights)]
        notes = [f"Matched by {how}: {listed_names(pairs)}." for how, pairs in said if pairs]
        found = replace(found, notes=(*found.notes, *notes))
    return found, called


def names_of(candidates: Sequence[Candidate], called: Mapping[str, str]) -> dict[str, str]:
    """A table's name for each candidate, by id: the truth's name, otherwise the id, or for a folder the folder's name.

    >>> names_of([Candidate("timm", "resnet18", "a1")], {})
    {'timm:resnet18@a1': 'timm:resnet18'}
    """

    def short(candidate: Candidate) -> str:
        is_folder = os.path.isdir(candidate.name)
        return os.path.basename(candidate.name.rstrip("/")) if is_folder else candidate.unversioned_id

    names = {c.id: called.get(c.id) or short(c) for c in candidates}
    taken = list(names.values())
    return {key: name if taken.count(name) == 1 else key for key, name in names.items()}


_SAME_TAGS = {"imagenet1k_v1": "tv_in1k", "imagenet1k_v2": "tv2_in1k"}
"""torchvision's tags, and those of the same weights in timm."""


class _Parts(NamedTuple):
    """The parts of a model's name, each empty where the name does not say it.

    Attributes:
        zoo: before the colon.
        plain: the architecture in lower case and without separators.
        tag: of the weights.
        revision: after `@`.
    """

    zoo: str
    plain: str
    tag: str
    revision: str


def _parts(name: str) -> _Parts:
    """The parts of a name.

    >>> _parts("timm:densenet121.ra_in1k@a1")
    _Parts(zoo='timm', plain='densenet121', tag='ra_in1k', revision='a1')
    >>> _parts("DenseNet-121").plain, _parts("Inception V3").plain
    ('densenet121', 'inceptionv3')
    """
    name, _, revision = name.partition("@")
    name = name.partition("?")[0].rstrip("/")
    zoo, colon, rest = name.partition(":")
    last = (rest if colon else name).rsplit("/", 1)[-1]
    architecture, _, tag = last.partition(".")
    return _Parts(zoo if colon else "", re.sub(r"[^a-z0-9]", "", architecture.lower()), tag, revision)


def _weights(name: str) -> tuple[str, str, str] | None:
    """What a name has in common with the names of the same weights in other zoos; None if nothing is known of that.

    timm publishes its weights in its zoo and on the Hub. A fork on the Hub and a folder may hold other weights.

    >>> _weights("torchvision:resnet50.IMAGENET1K_V1") == _weights("timm:resnet50.tv_in1k@a1")
    True
    >>> _weights("hub:timm/resnet50.a1_in1k") == _weights("timm:resnet50.a1_in1k")
    True
    >>> _weights("hub:someone/resnet50.a1_in1k")
    """
    named = _parts(name)
    zoo = "timm" if name.startswith(("hub:timm/", "timm/")) else named.zoo
    if not named.tag or (zoo == named.zoo and "/" in name) or zoo not in ("", "timm", "torchvision"):
        return None
    tag = _SAME_TAGS.get(named.tag.lower(), named.tag.lower())
    return named.plain, tag, "" if tag in _SAME_TAGS.values() else zoo


def _by_weights(candidates: Sequence[Candidate]) -> dict[tuple[str, str, str], list[str]]:
    """The candidate ids of each weights that are known in several zoos."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for candidate in candidates:
        if (weights := _weights(candidate.id)) is not None:
            found.setdefault(weights, []).append(candidate.id)
    return found


def _in_another_zoo(name: str, by_weights: Mapping[tuple[str, str, str], list[str]]) -> list[str]:
    """The candidate ids of the weights that a name without a revision means, in other zoos than the name's."""
    named, weights = _parts(name), _weights(name)
    if weights is None or named.revision:
        return []
    return [key for key in by_weights.get(weights, []) if _parts(key).zoo != named.zoo]


def _alike(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """The candidate ids of each architecture."""
    found: dict[str, list[str]] = {}
    for candidate in candidates:
        found.setdefault(_parts(candidate.id).plain, []).append(candidate.id)
    return found


def _exact(models: Mapping[str, float], keys: Mapping[str, list[str]], candidate: str) -> bool:
    """Whether a model of the truth names this candidate exactly."""
    return any(keys.get(model) == [candidate] for model in models)


def _differences(models: Mapping[str, float], alike: Mapping[str, list[str]], ids: Mapping[str, str]) -> str:
    """In which part names differ from those of candidates with the same architecture; empty if none does."""
    near = {model: found for model in models if model not in ids and (found := alike.get(_parts(model).plain))}
    if not near:
        return ""
    model, keys = next(iter(near.items()))
    asked, given = _parts(model), [_parts(key) for key in keys]
    differ = []
    for part in ("zoo", "tag", "revision"):
        value, *others = [getattr(each, part) or "none" for each in (asked, *given)]
        if value not in others and (value != "none" or part == "tag"):
            differ.append(f"the {part} ({value}, not {' or '.join(dict.fromkeys(others))})")
    what = " and ".join(differ) or "nothing but their number: name one of them"
    return f" {model!r} and {listed_names(keys)} have the same architecture, and differ in {what}."


def _keys(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """The candidate ids that each name matches; a more exact match hides the others."""
    keys: dict[str, list[str]] = {}
    spelt = [(c.id, (c.id, c.unversioned_id, c.name, c.name.rstrip("/").rsplit("/", 1)[-1])) for c in candidates]
    for spellings in zip(*(names for _, names in spelt), strict=True):
        meant: dict[str, list[str]] = {}
        for (key, _), spelling in zip(spelt, spellings, strict=True):
            meant.setdefault(spelling, []).append(key)
        keys = meant | keys
    return keys
