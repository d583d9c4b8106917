"""The candidates that a caller gives, as a pool."""

from __future__ import annotations

from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.errors import ExpressionError, Failure, ModelSelectError, SearchError, contained
from modelselect.evaluation.own_modules import ModuleZoo, as_named_modules
from modelselect.evaluation.results import ScoringResult
from modelselect.host.host import get_host
from modelselect.host.lookup import expressions_in, search
from modelselect.probe.probe import Probe


def candidates_of(
    given: Any, probe: Probe
) -> tuple[list[Candidate], dict[str, ModuleZoo], dict[str, ScoringResult | Failure]]:
    """The candidates in the order given, each once; the zoo of bare modules, if there are any; failed searches.

    An expression whose zoo failed is a candidate of that name in the pool, and its failure is in the last value.
    """
    if isinstance(given, set | frozenset):  # their order changes from run to run
        given = sorted(given, key=str)
    items = list(given) if isinstance(given, list) or _is_iterator(given) else [given]
    items = [part for item in items for part in (expressions_in(item) if isinstance(item, str) else [item])]
    unsearched: dict[str, ScoringResult | Failure] = {}
    pool: dict[str, Candidate] = {}
    modules = as_named_modules(item for item in items if not isinstance(item, str | Candidate))
    for item in items:
        if isinstance(item, str):
            try:
                found = search(item)
            except SearchError as error:
                expression = Expression.parse(item)
                found = [Candidate(expression.zoo, expression.pattern)]
                unsearched[found[0].id] = Failure.from_exception("search", error)
        elif isinstance(item, Candidate):
            found = [item]
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


def _as_it_reads(candidate: Candidate, probe: Probe) -> Candidate:
    """The candidate, or that part of a model of images and texts that reads the probe's rows."""
    zoo = get_host().zoos.get(candidate.zoo)
    try:
        with contained():
            return candidate if zoo is None else zoo.for_modality(candidate, probe.modality)
    except ModelSelectError:
        raise
    except Exception:  # a zoo may raise anything; loading the candidate reports what is wrong
        return candidate


def _is_iterator(given: Any) -> bool:
    return hasattr(given, "__next__")
