"""From the names that a user gives to what is registered: candidates and estimators."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelselect.candidates.candidate import Candidate, Candidates
from modelselect.candidates.expression import Expression
from modelselect.candidates.metadata import with_sound_metadata
from modelselect.candidates.pools import POOL, Pool
from modelselect.candidates.zoo import Zoo
from modelselect.errors import (
    DatasetError,
    ExpressionError,
    Failure,
    InvalidInputError,
    ModelSelectError,
    NoExceptionError,
    SearchError,
    Stage,
    UnknownNameError,
    contained,
    did_you_mean,
)
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.unusable import usable
from modelselect.host.defaults import AUTO, DEFAULT_ESTIMATORS, FOLDER_ZOO, HUB_ZOO
from modelselect.host.host import Host, get_host
from modelselect.host.patience import SEARCH_VARIABLE, PluginTimeoutError, search_seconds, within
from modelselect.host.questions import asked
from modelselect.probe.probe import Probe
from modelselect.protocols.protocol import TruthTable
from modelselect.ranking.report_section import ReportSection
from modelselect.tasks.task import Task
from modelselect.utils.paths import expanded
from modelselect.utils.process_state import unchanged
from modelselect.utils.text import printable
from modelselect.utils.versions import DISTRIBUTION

POOL_VARIABLE = "MODELSELECT_POOL"
"""The environment variable that names the candidates of a run without candidates."""

_WITH_ZOO = re.compile(r"[A-Za-z][A-Za-z0-9_-]*:")
_OWNED = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w-][\w./-]*)?(\?\w+=.*)?", re.ASCII)


def architectures(expressions: Iterable[str]) -> Iterator[Candidate]:
    """One candidate for each architecture that the expressions match, with or without pre-trained weights.

    Raises:
        ExpressionError: an expression is not valid or matches nothing.
        UnknownNameError: no zoo has this name.
    """
    for text in (part for given in expressions for part in expressions_in(given)):
        found = _listed(text, lambda zoo, pattern: zoo.architectures(pattern))
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

MOST_FACTS, MOST_CHARACTERS = 1_000, 1_000_000
"""Entries, and characters, of the metadata of one candidate, which is kept in memory, shown and written to boards."""

ALL_ESTIMATORS = "all"
"""Stands for every registered estimator, except the static baselines, which are always shown next to the scores."""


def search(expressions: str | Iterable[str]) -> list[Candidate]:
    """The candidates that match candidate expressions: metadata only, in the zoos' order, each once.

    Args:
        expressions: `"timm:resnet*"`, `"embedded:*"`, `"dir:path/to/models/*"`, ..., a plain name
            (`"resnet18.a1_in1k"`, `"microsoft/resnet-50"`, a folder), or several of them: a list, or one text with
            commas.

    Raises:
        ExpressionError: an expression is not valid, or several zoos know a plain name.
        UnknownNameError: no zoo has this name.
        SearchError: the zoo failed, for example without a network.

    >>> import modelselect as ms
    >>> len(ms.search("embedded:*"))
    12
    """
    found: dict[str, Candidate] = {}
    for text in _texts(expressions):
        for part in expressions_in(text):
            for candidate in _listed(part, lambda zoo, pattern: zoo.search(pattern)):
                found.setdefault(candidate.id, candidate)
    return Candidates(found.values())


def pools() -> list[Pool]:
    """The registered pools: candidates under one name, which `pool:NAME` stands for in a candidate expression.

    >>> import modelselect as ms
    >>> [pool.name for pool in ms.pools() if pool.modality == "text"]
    ['text-small', 'text']
    """
    return list(get_host().pools.values())


def added_sections() -> list[tuple[ReportSection, str]]:
    """The report sections of plugins, each with the plugin that registered it, in words."""
    host = get_host()
    return [(section, host.owner("report_sections", name).owner) for name, section in host.report_sections.items()]


TRUTH = "truth:"
"""Stands before the name of known accuracies: `truth:cnns-11x11`."""


def find_truth(name: str) -> TruthTable:
    """The known accuracies of this name, which a protocol brings.

    Args:
        name: with or without `truth:`.

    Raises:
        UnknownNameError: no protocol has known accuracies of this name.

    >>> find_truth("truth:cnns-11x11").commit
    '3b7edf7 and b18d395'
    """
    tables = {p.truth.name: p.truth for p in get_host().protocols.values() if p.truth is not None}
    plain = name.removeprefix(TRUTH)
    if plain not in tables:
        raise UnknownNameError("truth", plain, tables)
    return tables[plain]


def _listed(text: str, ask: Callable[[Zoo, str], Iterable[Candidate]]) -> list[Candidate]:
    """What the zoo of an expression answers. A zoo may raise anything, answer with anything, or never end."""
    expression, host = Expression.parse(text), get_host()
    zoo = host.zoo(expression.zoo)
    plugin = host.owner("zoos", zoo.name)
    owner, bound = plugin.owner, 0.0 if plugin.distribution == DISTRIBUTION else search_seconds()
    found: list[Candidate] = []
    try:
        with unchanged(imports=True), within(bound), contained():
            for candidate in ask(zoo, expression.pattern):
                if type(candidate) is not Candidate:  # a subclass may override what makes candidates comparable
                    raise SearchError(f"{text!r} gives {type(candidate).__name__}; expected a Candidate (from {owner})")
                if len(found) == MOST_CANDIDATES:
                    raise SearchError(
                        f"{text!r} gives more than {MOST_CANDIDATES:,} candidates (from {owner}); name fewer"
                    )
                if (size := _too_much(candidate.metadata)) is not None:
                    raise SearchError(f"the metadata of {candidate.id[:100]} has {size} (from {owner}); bring less")
                found.append(with_sound_metadata(candidate))
    except PluginTimeoutError as error:
        raise SearchError(
            f"{text!r} could not be searched: {error} (from {owner}). If it is only slow, set {SEARCH_VARIABLE}"
        ) from error
    except NoExceptionError as error:
        raise SearchError(f"{text!r} could not be searched: {printable(str(error))} (from {owner})") from error
    except (SearchError, ExpressionError):
        raise
    except Exception as error:
        if isinstance(error, ModelSelectError) and plugin.distribution == DISTRIBUTION:
            raise
        reason = Failure.from_exception(Stage.SEARCH, error).reason
        raise SearchError(f"{text!r} could not be searched: {reason} (from {owner})") from error
    return found


def _too_much(metadata: Mapping[str, Any]) -> str | None:
    """In words, what exceeds the bounds of a candidate's metadata; None if nothing does."""
    if len(metadata) > MOST_FACTS:
        return f"{len(metadata):,} entries; at most {MOST_FACTS:,} are allowed"
    long = [value if isinstance(value, str) else repr(value) for value in metadata.values() if isinstance(value, Sized)]
    characters = sum(map(len, (*metadata, *long)))
    return (
        f"{characters:,} characters; at most {MOST_CHARACTERS:,} are allowed" if characters > MOST_CHARACTERS else None
    )


def zoo_version(candidate: Candidate) -> str:
    """Version of the plugin of the zoo whose code loads the candidate.

    Raises:
        UnknownNameError: no zoo has the name of the candidate's.
    """
    host = get_host()
    zoo = host.zoo(candidate.zoo)
    name = asked(zoo, lambda: zoo.behind(copy(candidate)).name, str, zoo.name)
    return host.owner("zoos", name if name in host.registered("zoos", name) else zoo.name).version


def _texts(expressions: Any) -> list[str]:
    """The expressions that a caller gives.

    Raises:
        ExpressionError: they are no texts.
    """
    try:
        texts = [expressions] if isinstance(expressions, str) else list(expressions)
    except TypeError:
        texts = [expressions]
    for text in texts:
        if not isinstance(text, str):
            raise ExpressionError(
                f"a candidate expression is of the type {type(text).__name__}; expected a text, such as "
                "'timm:resnet*', or a list of texts"
            )
    return texts


def expressions_in(text: str) -> list[str]:
    """The candidate expressions of a text with commas: plain names get their zoo, and pools become their members.

    Commas in paths (`dir:`) and in queries are part of them, unless a zoo's name follows.

    Raises:
        ExpressionError: no zoo knows a plain name, or several do.
        UnknownNameError: no pool has this name.

    >>> expressions_in("embedded:plain*, timm:resnet*"), expressions_in("dir:models/a,b")
    (['embedded:plain*', 'timm:resnet*'], ['dir:models/a,b'])
    >>> expressions_in("microsoft/resnet-50,resnet.letters")
    ['hub:microsoft/resnet-50', 'embedded:resnet.letters']
    """
    return [expression for part in _parts(text) for expression in _opened(part)]


@dataclass(frozen=True)
class DefaultCandidates:
    """What a run without candidates chooses from.

    Attributes:
        origin: who says so, in words.
        parts: by part of the text that names them (`pool:images`, `dir:models/*`), the candidate expressions.
        is_chosen: whether the user set them, so that an expression that cannot be read is the user's error.
    """

    origin: str
    parts: Mapping[str, tuple[str, ...]]
    is_chosen: bool


def default_candidates(modality: str) -> DefaultCandidates:
    """The candidates of a run without candidates: those in `MODELSELECT_POOL`, else the pools of the probe's modality.

    Raises:
        InvalidInputError: the variable names none, and no pool has candidates of this modality.
    """
    if named := os.environ.get(POOL_VARIABLE, "").strip():
        parts = {part.strip(): tuple(_opened(part)) for part in _parts(named)}
        return DefaultCandidates(f"your own pool {POOL_VARIABLE}", parts, True)
    parts = {f"{POOL}:{pool.name}": pool.members for pool in pools() if pool.offered and pool.modality == modality}
    if not parts:
        raise InvalidInputError(
            f"no candidates are given, and no pool holds candidates for {modality} rows (`modelselect pools` lists the "
            f"pools). Give candidates, or name some in the environment variable {POOL_VARIABLE}."
        )
    return DefaultCandidates(f"the pools for {modality}s", parts, False)


def _parts(text: str) -> list[str]:
    """The parts of a text between commas; a comma in a path or a query counts only before a zoo's name."""
    if "," not in text:
        return [text]
    prefixes = [name for zoo in get_host().zoos.values() for name in (zoo.name, *zoo.aliases)]
    found: list[str] = []
    for part in re.split(rf",\s*(?=(?:{'|'.join(map(re.escape, [POOL, *prefixes]))}):)", text):
        found += [part] if _is_whole(part) else [name for name in part.split(",") if name.strip()] or [part]
    return found


def _is_whole(part: str) -> bool:
    """Whether the commas of a part belong to it: to a path, to a query, or to names that may have commas."""
    zoo = _WITH_ZOO.match(part.strip())
    return "," not in part or _folder(part) or "?" in part or (zoo is not None and not _plain_names(zoo[0][:-1]))


def _plain_names(name: str) -> Mapping[str, str]:
    """The plain names of a zoo; none if it is not registered, or if its library is missing."""
    nothing: dict[str, str] = {}
    try:
        zoo = get_host().zoo(name)
    except UnknownNameError:
        return nothing
    known = asked(zoo, lambda: dict(zoo.plain_names()), dict, nothing)
    return known if all(isinstance(part, str) for pair in known.items() for part in pair) else nothing


def _opened(part: str) -> Sequence[str]:
    """The expressions that one part of a text means."""
    part = part.strip()
    if part.startswith(f"{POOL}:"):
        return get_host().pool(Expression.parse(part).pattern).members
    return (part,) if _WITH_ZOO.match(part) or not part else (_with_zoo(part),)


def _with_zoo(name: str) -> str:
    """The candidate expression that a plain name means. No network is asked.

    Raises:
        ExpressionError: no zoo knows the name, or several do; the message says what to write instead.
    """
    in_folder = [f"{FOLDER_ZOO}:{name}"] if _folder(name) else []
    if not in_folder and re.search(r"[*[]|\?(?!\w+=)", name):
        zoos = (HUB_ZOO, FOLDER_ZOO) if "/" in name else ("timm", "torchvision")
        meant = " or ".join(f"{zoo}:{name}" for zoo in zoos)
        raise ExpressionError(f"{name!r} has a wildcard, but no zoo. Did you mean {meant}? {_HELP}")
    if os.sep in name or "/" in name:
        if in_folder or _OWNED.fullmatch(name):
            return in_folder[0] if in_folder else f"{HUB_ZOO}:{name}"
        raise ExpressionError(
            f"{name!r} is no folder here ({Path.cwd()}), and no model on the Hub, whose names are 'owner/name'. {_HELP}"
        )
    known: dict[str, list[str]] = {}
    for zoo in get_host().zoos:
        for plain, pattern in _plain_names(zoo).items():
            known.setdefault(plain, []).append(f"{zoo}:{pattern}")
    found = in_folder + known.get(name, [])
    if len(found) > 1:
        raise ExpressionError(f"{len(found)} candidates are called {name!r}. Did you mean {' or '.join(found)}?")
    if not found:
        raise ExpressionError(
            f"no zoo knows {name!r}.{did_you_mean(name, known)} A model on the Hub is called 'owner/name'. {_HELP}"
        )
    return found[0]


_HELP = "Expected 'zoo:name' or 'zoo:glob*', for example 'embedded:*', 'timm:resnet18*' or 'dir:path/to/models/*'."


def _folder(name: str) -> bool:
    try:
        return name.strip() != "" and expanded(name.strip()).is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, or with a null character
        return False


def registered(host: Host, name: str) -> Estimator:
    """The registered estimator of this name, or a stand-in if the estimator cannot say what it is.

    Raises:
        UnknownNameError: no estimator has this name.
    """
    estimator, plugin = host.estimator(name), host.owner("estimators", name)
    return estimator if plugin.distribution == DISTRIBUTION else usable(estimator, plugin.owner)


def choose_estimators(host: Host, given: str | Estimator | Sequence[str | Estimator] | None) -> list[Estimator]:
    """The estimators that a user names; None for the default.

    Raises:
        InvalidInputError: nothing is named, a name is given twice, or an item is not an estimator.
        UnknownNameError: no estimator has this name.
    """
    if isinstance(given, str) and given == ALL_ESTIMATORS:
        return [e for name in host.estimators if not (e := registered(host, name)).is_static]
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
    chosen = [usable(e, "the caller") if isinstance(e, Estimator) else registered(host, e) for e in names]
    twice = sorted({e.name for e in chosen if [c.name for c in chosen].count(e.name) > 1})
    if twice:
        raise InvalidInputError(f"estimators given twice: {', '.join(twice)}; give each name once")
    return chosen


def static_estimators(host: Host) -> list[str]:
    """The names of the estimators that need no forward pass. Of the shipped plugins, one brings all of them."""
    return [name for name in host.brought_by("static", "estimators") if registered(host, name).is_static]


def target_kind(host: Host, name: str) -> str | None:
    """What the labels are read as for a task that the user names; None where the labels tell.

    Raises:
        UnknownNameError: there is no such task.
    """
    kinds = () if name == AUTO else host.task(name).targets
    return kinds[0] if len(kinds) == 1 else None


def task_of(host: Host, name: str, probe: Probe) -> Task:
    """The task with a name, or the one that these rows suit.

    Raises:
        UnknownNameError: there is no such task.
        DatasetError: the rows do not suit the task.
    """
    if name != AUTO:
        return host.task(name).of_rows(probe)
    if (task := usual_task(host, probe)) is not None:
        return task
    raise DatasetError(
        f"no task for targets of the kind {probe.target_kind}, one for each {probe.unit}, is registered; see "
        "`modelselect tasks`"
    )


def usual_task(host: Host, probe: Probe) -> Task | None:
    """The first registered task that `task="auto"` takes for targets of this kind; None if there is none."""
    for task in host.tasks.values():
        if task.by_default and probe.target_kind in task.targets and probe.unit == task.unit:
            return task.of_rows(probe)
    return None


def name_with_targets(host: Host, task: Task, probe: Probe) -> str:
    """The name under which results of a task compare: with the kind of the targets, for a task of several kinds.

    Args:
        host: knows the registered task of this name.
        task: of these rows.
        probe: the rows.
    """
    registered = host.tasks.get(task.name)
    kinds = task.targets if registered is None else registered.targets
    return f"{task.name}-{probe.target_kind}" if len(kinds) > 1 else task.name
