"""From the names that a user gives to what is registered: candidates and estimators."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.candidates.pools import POOL, Pool
from modelselect.errors import (
    ExpressionError,
    InvalidInputError,
    ModelSelectError,
    NoExceptionError,
    SearchError,
    contained,
)
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.unusable import usable
from modelselect.host.defaults import DEFAULT_ESTIMATORS
from modelselect.host.host import Host, get_host


def architectures(expressions: Iterable[str]) -> Iterator[Candidate]:
    """One candidate for each architecture that the expressions match, with or without pre-trained weights.

    Raises:
        ExpressionError: an expression is not valid or matches nothing.
        UnknownNameError: no zoo has this name.
    """
    for text in expressions:
        expression = Expression.parse(text)
        found = list(get_host().zoo(expression.zoo).architectures(expression.pattern))
        if not found:
            raise ExpressionError(f"no architecture matches {text!r}; try expressions with `modelselect search`")
        yield from found


def find_estimator(estimator: str | Estimator) -> Estimator:
    """The registered estimator of this name; an instance is returned unchanged.

    Raises:
        UnknownNameError: no estimator has this name.
        InvalidInputError: the argument is neither a name nor an instance.
    """
    if isinstance(estimator, Estimator):
        return estimator
    if not isinstance(estimator, str):
        raise InvalidInputError(f"estimator is {estimator!r}; expected a name, or an instance such as LogME()")
    host: Host = get_host()
    return host.estimator(estimator)


MOST_CANDIDATES = 100_000
"""Candidates of one expression. A zoo whose list has no end must not fill the memory."""

ALL_ESTIMATORS = "all"
"""Stands for every registered estimator, except the static baselines, which are always shown next to the scores."""


def search(expressions: str | Iterable[str]) -> list[Candidate]:
    """The candidates that match candidate expressions: metadata only, in the zoos' order, each once.

    Args:
        expressions: `"timm:resnet*"`, `"embedded:*"`, `"dir:path/to/models/*"`, ..., or several of them: a list, or one
            text with commas.

    Raises:
        ExpressionError: an expression is not valid.
        UnknownNameError: no zoo has this name.
        SearchError: the zoo failed, for example without a network.

    >>> import modelselect as ms
    >>> len(ms.search("embedded:*"))
    12
    """
    found: dict[str, Candidate] = {}
    for text in [expressions] if isinstance(expressions, str) else expressions:
        for part in expressions_in(text):
            for candidate in _search_zoo(part):
                found.setdefault(candidate.id, candidate)
    return list(found.values())


def pools() -> list[Pool]:
    """The registered pools: candidates under one name, which `pool:NAME` stands for in a candidate expression.

    >>> import modelselect as ms
    >>> [pool.name for pool in ms.pools() if pool.modality == "text"]
    ['text-small', 'text']
    """
    return list(get_host().pools.values())


def _search_zoo(text: str) -> Iterator[Candidate]:
    expression, host = Expression.parse(text), get_host()
    zoo = host.zoo(expression.zoo)
    try:
        with contained():
            for number, candidate in enumerate(zoo.search(expression.pattern)):
                if number == MOST_CANDIDATES:
                    raise SearchError(
                        f"{text!r} gives more than {MOST_CANDIDATES:,} candidates (from "
                        f"{host.owner('zoos', zoo.name).owner}); name fewer"
                    )
                yield candidate
    except NoExceptionError as error:
        owner = host.owner("zoos", zoo.name).owner
        raise SearchError(f"{text!r} could not be searched: {error} (from {owner})") from error
    except ModelSelectError:
        raise
    except Exception as error:
        owner = host.owner("zoos", zoo.name).owner
        raise SearchError(f"{text!r} could not be searched: {type(error).__name__}: {error} (from {owner})") from error


def expressions_in(text: str) -> list[str]:
    """The candidate expressions of a text with commas, and the members of its pools.

    A comma that no zoo's name follows is part of a candidate's name.

    Raises:
        UnknownNameError: no pool has this name.

    >>> expressions_in("embedded:plain*, timm:resnet*"), expressions_in("dir:models/a,b")
    (['embedded:plain*', 'timm:resnet*'], ['dir:models/a,b'])
    """
    host = get_host()
    zoos = "|".join(re.escape(name) for zoo in host.zoos.values() for name in (zoo.name, *zoo.aliases))
    parts = re.split(rf",\s*(?=(?:{POOL}|{zoos}):)", text)
    opened = (_members(host, part) if part.strip().startswith(f"{POOL}:") else (part,) for part in parts)
    return [expression for expressions in opened for expression in expressions]


def _members(host: Host, text: str) -> tuple[str, ...]:
    return host.pool(Expression.parse(text).pattern).members


def registered(host: Host, name: str) -> Estimator:
    """The registered estimator of this name, or a stand-in if the estimator cannot say what it is.

    Raises:
        UnknownNameError: no estimator has this name.
    """
    return usable(host.estimator(name), host.owner("estimators", name).owner)


def choose_estimators(host: Host, given: str | Estimator | Sequence[str | Estimator] | None) -> list[Estimator]:
    """The estimators that a user names; None for the default.

    Raises:
        InvalidInputError: nothing is named, a name is given twice, or an item is not an estimator.
        UnknownNameError: no estimator has this name.
    """
    if isinstance(given, str) and given == ALL_ESTIMATORS:
        return [e for e in host.estimators.values() if not e.is_static]
    if isinstance(given, str):
        given = [name.strip() for name in given.split(",") if name.strip()]
    if given is None:
        given = DEFAULT_ESTIMATORS
    names = list(given) if isinstance(given, Iterable) else [given]
    if not names:
        raise InvalidInputError("estimators is empty; name at least one, or leave out the argument for the default")
    for name in names:
        if not isinstance(name, str | Estimator):
            raise InvalidInputError(f"{name!r} is not an estimator; expected a name such as 'logme', or an instance")
    chosen = [name if isinstance(name, Estimator) else registered(host, name) for name in names]
    twice = sorted({e.name for e in chosen if [c.name for c in chosen].count(e.name) > 1})
    if twice:
        raise InvalidInputError(f"estimators given twice: {', '.join(twice)}; give each name once")
    return chosen
