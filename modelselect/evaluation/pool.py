"""The candidates that a caller gives, as a pool; without any, those that a run chooses from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.candidates.metadata import with_sound_metadata
from modelselect.candidates.zoo import Zoo
from modelselect.errors import ExpressionError, Failure, InvalidInputError, ModelSelectError, SearchError
from modelselect.evaluation.own_modules import ModuleZoo, as_named_modules
from modelselect.evaluation.results import ScoringResult
from modelselect.host.defaults import FOLDER_ZOO
from modelselect.host.host import get_host
from modelselect.host.lookup import POOL_VARIABLE, default_candidates, expressions_in, search
from modelselect.host.patience import SECONDS_VARIABLE
from modelselect.host.questions import asked, is_here
from modelselect.probe.probe import Probe
from modelselect.utils.text import listed

_QUERY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*:\?")
"""How an expression begins that is a query, such as `hub:?library=timm`."""


@dataclass(frozen=True)
class Offer:
    """What a run without candidates chooses from.

    Attributes:
        origin: who names the candidates, in words.
        parts: by expression that names them, such as `pool:images`, the ids of its candidates.
        left_out: by reason, the names of candidates that cannot be used now.
    """

    origin: str
    parts: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, tuple[str, ...]]


def offered(probe: Probe) -> tuple[list[Candidate], Offer]:
    """The candidates of a run without candidates, each once, as far as they take such rows and can be loaded now.

    Where a zoo cannot be reached, only candidates on this machine are offered, and no network is asked for others.

    Raises:
        InvalidInputError: there is no such candidate; the message says what to do.
        ExpressionError, UnknownNameError: the user's own default candidates cannot be read.
    """
    defaults = default_candidates(probe.modality)
    found: dict[str, Candidate] = {}
    parts: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, list[str]] = {}
    reach: dict[str, bool] = {}
    for part, expressions in defaults.parts.items():
        own: dict[str, None] = {}
        for text in expressions:
            try:
                usable = _usable(text, probe, reach, left_out)
            except ModelSelectError as error:
                if defaults.is_chosen and not isinstance(error, SearchError):
                    raise
                left_out.setdefault(str(error), []).append(text)
                continue
            for candidate in usable:
                found.setdefault(candidate.id, candidate)
                own[candidate.id] = None
        parts[part] = tuple(own)
    if not found:
        raise InvalidInputError(_nothing_offered(defaults.origin, left_out, reach))
    return list(found.values()), Offer(
        defaults.origin, parts, {reason: tuple(names) for reason, names in left_out.items()}
    )


def _usable(text: str, probe: Probe, reach: dict[str, bool], left_out: dict[str, list[str]]) -> list[Candidate]:
    """The candidates of an expression that can be loaded now and take the probe's rows; the others are noted."""
    expression = Expression.parse(text)
    zoo = get_host().zoo(expression.zoo)
    one = Candidate(zoo.name, expression.pattern)
    is_one = not any(character in expression.pattern for character in "*?[")
    if is_one and zoo.downloads and not is_here(zoo, one) and not _reached(zoo, reach):
        left_out.setdefault(_out_of_reach(zoo), []).append(text)
        return []
    usable = []
    for candidate in (_as_it_reads(each, probe) for each in search(text)):
        if candidate.metadata.get("modality", probe.modality) != probe.modality:
            left_out.setdefault(f"does not take {probe.modality} rows", []).append(candidate.unversioned_id)
        elif zoo.downloads and not is_here(zoo, candidate) and not _reached(zoo, reach):
            left_out.setdefault(_out_of_reach(zoo), []).append(candidate.unversioned_id)
        else:
            usable.append(candidate)
    return usable


def _reached(zoo: Zoo, reach: dict[str, bool]) -> bool:
    """Whether the zoo can download now; asked once, and noted."""
    if zoo.name not in reach:
        reach[zoo.name] = asked(zoo, zoo.is_reachable, bool, False)
    return reach[zoo.name]


def _out_of_reach(zoo: Zoo) -> str:
    if get_host().owner("zoos", zoo.name).is_silent:
        return f"{zoo.name} did not answer in time; if it is only slow, set {SECONDS_VARIABLE}"
    return f"not on this machine, and {zoo.name} cannot be reached"


def _nothing_offered(origin: str, left_out: Mapping[str, list[str]], reach: Mapping[str, bool]) -> str:
    why = "; ".join(f"{reason} ({listed(names, 2)})" for reason, names in list(left_out.items())[:3])
    text = f"no candidates are given, and none of {origin} can be used now: {why or 'they match nothing'}."
    if False in reach.values():
        text += " Without a network (or with HF_HUB_OFFLINE) only models in the local cache or in folders can be used."
    return (
        f"{text} Name candidates that are on this machine, such as '{FOLDER_ZOO}:path/to/models/*', or set "
        f"{POOL_VARIABLE} to them; or run once with a network, which fills the cache."
    )


def candidates_of(
    given: Any, probe: Probe, task: str
) -> tuple[list[Candidate], dict[str, ModuleZoo], dict[str, ScoringResult | Failure]]:
    """The candidates in the order given, each once; the zoo of bare modules, if there are any; failed searches.

    A query that leaves the task open, such as `hub:?library=timm`, is narrowed to the run's.
    An expression whose zoo failed is a candidate of that name in the pool, and its failure is in the last value.
    """
    if isinstance(given, set | frozenset):  # their order changes from run to run
        given = sorted(given, key=str)
    items = list(given) if isinstance(given, list) or _is_iterator(given) or _is_of_names(given) else [given]
    items = [f"{FOLDER_ZOO}:{os.fspath(item)}" if isinstance(item, os.PathLike) else item for item in items]
    items = [part for item in items for part in (expressions_in(item) if isinstance(item, str) else [item])]
    unsearched: dict[str, ScoringResult | Failure] = {}
    pool: dict[str, Candidate] = {}
    modules = as_named_modules(item for item in items if not isinstance(item, str | Candidate))
    for item in items:
        if isinstance(item, str):
            try:
                found = search(_for_task(item, probe, task))
            except SearchError as error:
                expression = Expression.parse(item)
                found = [Candidate(expression.zoo, expression.pattern)]
                unsearched[found[0].id] = Failure.from_exception("search", error)
        elif isinstance(item, Candidate):
            found = [with_sound_metadata(item)]
        else:
            continue
        if not found:
            raise ExpressionError(
                f"no candidate matched {item!r}. `modelselect search 'ZOO:*'` lists the candidates of a zoo, and "
                "`modelselect zoos` lists the zoos."
            )
        for candidate in (_as_it_reads(each, probe) for each in found):
            pool.setdefault(candidate.id, candidate)
    own_zoos: dict[str, ModuleZoo] = {}
    if modules:
        zoo = ModuleZoo(modules, probe)
        own_zoos[zoo.name] = zoo
        pool |= {candidate.id: candidate for candidate in zoo.search("*")}
    if not pool:
        raise ExpressionError("no candidate matched: candidates is empty; give at least one, such as 'embedded:*'")
    return list(pool.values()), own_zoos, unsearched


def _for_task(text: str, probe: Probe, task: str) -> str:
    """A query that leaves the task open, narrowed to the run's; any other expression as it is."""
    if _QUERY.match(text) is None:
        return text
    expression = Expression.parse(text)
    zoo = get_host().zoos.get(expression.zoo)
    if zoo is None:
        return text
    whole = expression.pattern
    return f"{expression.zoo}:{asked(zoo, lambda: zoo.for_task(whole, task, probe.modality), str, whole)}"


def _as_it_reads(candidate: Candidate, probe: Probe) -> Candidate:
    """The candidate, or that part of a model of images and texts that reads the probe's rows."""
    zoo = get_host().registered("zoos", candidate.zoo).get(candidate.zoo)
    if zoo is None:
        return candidate
    return with_sound_metadata(
        asked(zoo, lambda: zoo.for_modality(copy(candidate), probe.modality), Candidate, candidate)
    )


def _is_of_names(given: Any) -> bool:
    """Whether this is a tuple of names, and not of a module and what belongs to it."""
    return isinstance(given, tuple) and all(isinstance(item, str | Candidate | os.PathLike) for item in given)


def _is_iterator(given: Any) -> bool:
    return hasattr(given, "__next__")
