"""Named checks for authors of pools."""

from __future__ import annotations

from collections.abc import Mapping

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.candidates.pools import POOL, Pool
from modelselect.candidates.zoo import Zoo
from modelselect.testing.checks import Check, called, lacking, name_is_valid, named_check, run_checks


def check_pool(pool: Pool, *zoos: Zoo, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `pool_checks` and reports all that fail, by name.

    Args:
        pool: the instance to be registered.
        zoos: zoos whose members of the pool are searched for. Members of other zoos are only read.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.candidates import Pool
    >>> from modelselect.host import get_host
    >>> check_pool(Pool("tiny", "Networks for tests.", "image", ("embedded:plain*",)), get_host().zoo("embedded"))
    """
    run_checks(called("pool", pool), pool_checks(pool, *zoos), expected_failures)


def pool_checks(pool: Pool, *zoos: Zoo) -> list[Check]:
    """For every promise of a pool, a name and a check; see `check_pool`."""
    if incomplete := lacking(pool, Pool):
        return incomplete
    return [
        named_check(name_is_valid, pool),
        named_check(_summary_is_a_sentence, pool),
        named_check(_modality_is_known, pool),
        named_check(_members_are_expressions, pool),
        named_check(_members_are_found, pool, zoos),
    ]


def _summary_is_a_sentence(pool: Pool) -> None:
    assert pool.summary.strip().endswith("."), f"summary is {pool.summary!r}; expected one sentence with a full stop"
    assert "\n" not in pool.summary, "summary has several lines; expected one sentence"


def _modality_is_known(pool: Pool) -> None:
    assert pool.modality in ("image", "text"), f"modality is {pool.modality!r}; expected 'image' or 'text'"


def _members_are_expressions(pool: Pool) -> None:
    assert isinstance(pool.members, tuple), f"members is a {type(pool.members).__name__}; expected a tuple"
    assert pool.members, "the pool has no members"
    twice = sorted({member for member in pool.members if pool.members.count(member) > 1})
    assert not twice, f"members names {', '.join(twice)} twice"
    for member in pool.members:
        zoo = Expression.parse(member).zoo
        assert zoo != POOL, f"{member!r} is a pool; list the members of that pool instead"


def _members_are_found(pool: Pool, zoos: tuple[Zoo, ...]) -> None:
    by_name = {name: zoo for zoo in zoos for name in (zoo.name, *zoo.aliases)}
    for member in pool.members:
        expression = Expression.parse(member)
        if expression.zoo not in by_name:
            continue
        found: list[Candidate] = list(by_name[expression.zoo].search(expression.pattern))
        assert found, f"{member!r} matches nothing in its zoo"
        for candidate in found:
            modality = candidate.metadata.get("modality", pool.modality)
            assert modality == pool.modality, f"{candidate.id} takes {modality}s, but the pool is for {pool.modality}s"
