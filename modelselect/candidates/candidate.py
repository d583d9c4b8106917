"""`Candidate`: a pre-trained model that can be selected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from types import MappingProxyType
from typing import Any

from modelselect.errors import InvalidInputError
from modelselect.utils.text import printable, valid_text


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pre-trained model that can be selected: an id and metadata, no weights.

    Attributes:
        zoo: name of the zoo that lists and loads it.
        name: its name in that zoo.
        revision: the exact version (a commit, a content hash), if the zoo has versions.
        metadata: see `METADATA_FIELDS` and `TEXT_FIELDS`; only known values, never guesses.

    Raises:
        InvalidInputError: zoo, name or revision is no text, or the metadata are no mapping.

    >>> Candidate("timm", "resnet18.a1_in1k", metadata={"parameters": 11_689_512}).id
    'timm:resnet18.a1_in1k'
    """

    zoo: str
    name: str
    revision: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)

    def __post_init__(self) -> None:
        texts = (self.zoo, self.name, "" if self.revision is None else self.revision)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.metadata, Mapping):
            given = ", ".join(type(each).__name__ for each in (*texts, self.metadata))
            raise InvalidInputError(
                f"a candidate is made of {given}; expected a zoo, a name and a revision that are texts, and metadata "
                "that are a mapping"
            )
        # plain texts: a subclass may override how they are compared
        for part in ("zoo", "name", "revision"):
            if (text := getattr(self, part)) is not None:
                object.__setattr__(self, part, valid_text(str.__str__(text)))
        object.__setattr__(self, "metadata", MappingProxyType({k: _shown(v) for k, v in self.metadata.items()}))

    @property
    def id(self) -> str:
        """`zoo:name[@revision]`: unique, and itself a candidate expression."""
        return f"{self.zoo}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def unversioned_id(self) -> str:
        """`zoo:name`: the id in the transfer history and the atlas, which is the same for every revision."""
        return f"{self.zoo}:{self.name}"

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"Candidate({self.id!r})"

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled
        return type(self), (self.zoo, self.name, self.revision, dict(self.metadata))


def _shown(value: Any) -> Any:
    """A value of the metadata, whose texts may be shown and written: they come from the files of others."""
    if isinstance(value, str):
        return printable(str.__str__(value))
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(_shown, value))
    if type(value) is dict:
        return {_shown(key): _shown(part) for key, part in value.items()}
    return value


def license_of(candidate: Candidate) -> str | None:
    """The candidate's licence, or None if its zoo does not know one."""
    known = candidate.metadata.get("license")
    return str(known) if known else None


def context_length_of(candidate: Candidate) -> int | None:
    """Tokens of the longest text that the candidate can take, or None if its zoo does not know it."""
    known = candidate.metadata.get("context_length")
    return int(known) if isinstance(known, Integral) else None


def languages_of(candidate: Candidate) -> tuple[str, ...]:
    """Codes of the languages that the candidate is for; empty if its zoo does not know any."""
    known = candidate.metadata.get("languages")
    return tuple(map(str, known)) if isinstance(known, tuple | list) else ()


def download_bytes_of(candidate: Candidate) -> int | None:
    """Bytes to download if nothing is cached, else the bytes of the weights; None if the zoo knows neither."""
    known = candidate.metadata.get("download_bytes", candidate.metadata.get("size_bytes"))
    return int(known) if isinstance(known, Integral) else None


class Candidates(list[Candidate]):
    """A list of candidates. An interactive interpreter shows the first few of them.

    >>> Candidates(Candidate("shelf", name) for name in "abcdef")
    [Candidate('shelf:a'), Candidate('shelf:b'), Candidate('shelf:c'), ... and 3 more]
    """

    def __repr__(self) -> str:
        if len(self) <= SHOWN:
            return super().__repr__()
        return f"[{', '.join(map(repr, self[:SHOWN]))}, ... and {len(self) - SHOWN} more]"


SHOWN = 3
"""Candidates that an interactive interpreter shows of a longer list."""
