"""From the names that a caller gives to what is registered: candidates and estimators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.errors import ExpressionError, InvalidInputError, ModelSelectError, SearchError
from modelselect.estimators.estimator import Estimator
from modelselect.host.defaults import DEFAULT_ESTIMATORS
from modelselect.host.host import Host, get_host


def architectures(expressions: Iterable[str]) -> Iterator[Candidate]:
    """One candidate for each architecture that the expressions name, with pre-trained weights or without.

    Raises:
        ExpressionError: an expression cannot be read or matches nothing.
        UnknownNameError: no such zoo.
    """
    for text in expressions:
        expression = Expression.parse(text)
        found = list(get_host().zoo(expression.zoo).architectures(expression.pattern))
        if not found:
            raise ExpressionError(f"no architecture matched {text!r}")
        yield from found


def find_estimator(estimator: str | Estimator) -> Estimator:
    """The registered estimator of that name; an instance is taken as it is.

    Raises:
        UnknownNameError: no such estimator.
        InvalidInputError: neither a name nor an instance.
    """
    if isinstance(estimator, Estimator):
        return estimator
    if not isinstance(estimator, str):
        raise InvalidInputError(f"estimator is {estimator!r}; expected a name, or an instance such as LogME()")
    host: Host = get_host()
    return host.estimator(estimator)


ALL_ESTIMATORS = "all"
"""What stands for every estimator that is registered, but for the static baselines, which stand beside anyway."""


def search(expressions: str | Iterable[str]) -> list[Candidate]:
    """The candidates that candidate expressions name: metadata only, in the zoos' order, each once.

    Args:
        expressions: `"timm:resnet*"`, `"embedded:*"`, `"dir:path/to/models/*"`, ... or several of them.

    Raises:
        ExpressionError: an expression cannot be read.
        UnknownNameError: no such zoo.
        SearchError: the zoo failed: no network, say.

    >>> import modelselect as ms
    >>> len(ms.search("embedded:*"))
    12
    """
    host = get_host()
    found: dict[str, Candidate] = {}
    for text in [expressions] if isinstance(expressions, str) else expressions:
        expression = Expression.parse(text)
        zoo = host.zoo(expression.zoo)
        try:
            for candidate in zoo.search(expression.pattern):
                found.setdefault(candidate.id, candidate)
        except ModelSelectError:
            raise
        except Exception as error:
            owner = host.owner("zoos", zoo.name).owner
            raise SearchError(
                f"{text!r} could not be searched: {type(error).__name__}: {error} (from {owner})"
            ) from error
    return list(found.values())


def choose_estimators(host: Host, given: str | Estimator | Sequence[str | Estimator] | None) -> list[Estimator]:
    """The estimators that a caller names; None for the default.

    Raises:
        InvalidInputError: none is named, one twice, or something that is no estimator; `UnknownNameError`.
    """
    if isinstance(given, str) and given == ALL_ESTIMATORS:
        return [e for e in host.estimators.values() if not e.is_static]
    names = DEFAULT_ESTIMATORS if given is None else [given] if isinstance(given, str | Estimator) else list(given)
    if not names:
        raise InvalidInputError("estimators is empty; name at least one, or leave it out for the default")
    for name in names:
        if not isinstance(name, str | Estimator):
            raise InvalidInputError(f"{name!r} is not an estimator; expected a name or an instance, such as 'logme'")
    chosen = [name if isinstance(name, Estimator) else host.estimator(name) for name in names]
    twice = sorted({e.name for e in chosen if [c.name for c in chosen].count(e.name) > 1})
    if twice:
        raise InvalidInputError(f"estimators given twice: {', '.join(twice)}; each name may stand there once")
    return chosen
