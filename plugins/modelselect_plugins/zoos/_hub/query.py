"""Queries of the Hub, `?task=image-classification&params=<50M`: parsed, checked, and matched with entries."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from modelselect.errors import ExpressionError, did_you_mean

DEFAULT_LIMIT = 100
"""Maximum number of candidates for a query without `limit`: a task alone matches tens of thousands."""

SORTS: Mapping[str, str] = {
    "created": "created_at",
    "downloads": "downloads",
    "likes": "likes",
    "modified": "last_modified",
    "trending": "trending_score",
}
"""Orders by their short names, with the names in the Hub's client; all are descending."""

_KEYS: Mapping[str, str] = {
    "task": "image-classification",
    "library": "timm",
    "author": "google",
    "license": "apache-2.0",
    "language": "en",
    "dataset": "imagenet-1k",
    "tag": "vision",
    "search": "vit",
    "params": "<50M",
    "downloads": ">=1000",
    "likes": ">=10",
    "gated": "false",
    "safetensors": "true",
    "sort": "downloads",
    "limit": "50",
}
"""The keys of a query, each with an example of its value."""

NO_TASK = "none"
"""The value of `task` for entries that have none."""

_ALIASES: Mapping[str, str] = {"safetensors_only": "safetensors"}
_REPEATABLE = ("tag", "params", "downloads", "likes")
_SUFFIXES: Mapping[str, float] = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}
_TERM = re.compile(r"(?P<key>\w+)(?P<value>(?:=|<|>).*)", re.DOTALL)
_BOUND = re.compile(r"(?P<sign><=|>=|<|>|=)?(?P<number>\d+(?:\.\d+)?)(?P<suffix>[KMB]?)", re.IGNORECASE)
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "=": lambda value, bound: value == bound,
}


@dataclass(frozen=True)
class Bound:
    """One side of a range, such as `<50M`."""

    sign: str
    number: float

    def holds(self, value: float | None) -> bool:
        """False for unknown values: otherwise a limit would let any unknown value pass."""
        return value is not None and _COMPARISONS[self.sign](value, self.number)


@dataclass(frozen=True)
class Query:
    """A query of the Hub.

    Attributes:
        tasks: of which an entry must have one; `none` stands for entries that have no task.
        filters: tags that an entry must have.
        bounds: on `params`, `downloads` and `likes`.
        safetensors: whether an entry must have weights in safetensors; None: either.
    """

    tasks: tuple[str, ...] = ()
    author: str | None = None
    search: str | None = None
    filters: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[Bound, ...]] = field(default_factory=dict)
    gated: bool | None = None
    safetensors: bool | None = None
    sort: str = "downloads"
    limit: int = DEFAULT_LIMIT

    @classmethod
    def parse(cls, text: str) -> Query:
        """The query in `key=value&key=value`.

        Raises:
            ExpressionError: a key is unknown or a value is not valid; the message lists what is expected.

        >>> Query.parse("library=timm&params=<50M").filters
        ('timm',)
        """
        terms: dict[str, list[str]] = {}
        for term in filter(None, text.split("&")):
            match = _TERM.fullmatch(term.strip())
            key = match["key"] if match else term
            key = _ALIASES.get(key, key)
            if match is None or key not in _KEYS:
                raise ExpressionError(
                    f"{term!r} is not a valid part of a query.{did_you_mean(key, _KEYS)} "
                    f"Expected key=value, joined by &, with the keys {', '.join(_KEYS)}."
                )
            value = unquote(match["value"][1:] if match["value"][0] == "=" else match["value"]).strip()
            if not value:
                raise ExpressionError(f"{key!r} has no value; expected a value, as in '{_example(key)}'")
            terms.setdefault(key, []).append(value)
        for key, values in terms.items():
            if len(values) > 1 and key not in _REPEATABLE:
                raise ExpressionError(f"{key!r} is given {len(values)} times; expected one value")
        one = {key: values[0] for key, values in terms.items()}
        filters = [one["library"]] if "library" in one else []
        filters += [f"{key}:{one[key]}" for key in ("license", "dataset") if key in one]
        filters += [one["language"]] if "language" in one else []
        safetensors = _truth("safetensors", one)
        return cls(
            tasks=tuple(filter(None, one.get("task", "").split("|"))),
            author=one.get("author"),
            search=one.get("search"),
            filters=(*filters, *terms.get("tag", [])),
            bounds={k: tuple(_bound(k, v) for v in terms[k]) for k in ("params", "downloads", "likes") if k in terms},
            gated=_truth("gated", one),
            safetensors=safetensors,
            sort=_sort(one.get("sort", "downloads")),
            limit=_limit(one.get("limit", str(DEFAULT_LIMIT))),
        )

    def arguments(self, *, sizes: bool) -> dict[str, Any]:
        """Arguments of `HfApi.list_models`: all conditions that the Hub can apply itself.

        Args:
            sizes: whether this client supports a range of sizes.
        """
        filters = [*self.filters, *(["safetensors"] if self.safetensors else [])]
        asked: dict[str, Any] = {
            "pipeline_tag": None if self._tasks_are_sifted else next(iter(self.tasks), None),
            "author": self.author,
            "search": self.search,
            "filter": filters or None,
            "gated": self.gated,
            "sort": SORTS[self.sort],
        }
        if sizes and "params" in self.bounds:
            low = [b.number for b in self.bounds["params"] if b.sign in (">", ">=", "=")]
            high = [b.number for b in self.bounds["params"] if b.sign in ("<", "<=", "=")]
            sides = [f"min:{math.floor(max(low) / 1e6)}M"] if low else []
            sides += [f"max:{math.ceil(min(high) / 1e6)}M"] if high else []
            asked["num_parameters"] = ",".join(sides)
        return {key: value for key, value in asked.items() if value is not None}

    @property
    def sifts(self) -> bool:
        """True if entries may be dropped after the Hub's listing, so that its own limit would give too few."""
        return bool(self.bounds) or self.safetensors is not None or self._tasks_are_sifted

    @property
    def _tasks_are_sifted(self) -> bool:
        return len(self.tasks) > 1 or NO_TASK in self.tasks

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """True if an entry with this metadata meets the conditions that the Hub cannot apply."""
        values = {"params": metadata.get("parameters")} | {key: metadata.get(key) for key in ("downloads", "likes")}
        if not all(bound.holds(values[key]) for key, bounds in self.bounds.items() for bound in bounds):
            return False
        if self.tasks and (metadata.get("task") or NO_TASK) not in self.tasks:
            return False
        return self.safetensors is None or (metadata.get("weights") == "safetensors") == self.safetensors

    def exhausted(self, metadata: Mapping[str, Any]) -> bool:
        """True if no later entry can match, since the listing is in descending order."""
        value = metadata.get(self.sort)
        lows = [bound for bound in self.bounds.get(self.sort, ()) if bound.sign in (">", ">=", "=")]
        return value is not None and any(value < bound.number for bound in lows)


def _example(key: str) -> str:
    return f"{key}={_KEYS[key]}"


def _bound(key: str, text: str) -> Bound:
    match = _BOUND.fullmatch(text.replace("_", "").replace(",", ""))
    if match is None:
        raise ExpressionError(
            f"{key!r} is {text!r}; expected a bound such as '{_example(key)}', with <, <=, > or >= and a number that "
            "may end in K, M or B"
        )
    return Bound(match["sign"] or "=", float(match["number"]) * _SUFFIXES[match["suffix"].upper()])


def _truth(key: str, given: Mapping[str, str]) -> bool | None:
    if key not in given:
        return None
    truths = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if given[key].lower() not in truths:
        raise ExpressionError(f"{key!r} is {given[key]!r}; expected true or false")
    return truths[given[key].lower()]


def _sort(text: str) -> str:
    if text not in SORTS:
        raise ExpressionError(f"'sort' is {text!r}.{did_you_mean(text, SORTS)} Expected one of {', '.join(SORTS)}.")
    return text


def _limit(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ExpressionError(f"'limit' is {text!r}; expected the maximum number of candidates, such as 'limit=50'")
    return int(text)
