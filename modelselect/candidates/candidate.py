"""What could be chosen: `Candidate`, the `Zoo` it comes from, and the expressions that name candidates."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from modelselect.errors import ExpressionError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from modelselect.backbone import Backbone

METADATA_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "architecture": "name of the architecture, without the weights' tag",
        "family": "architecture family, as people group them: ResNet, ViT, ...",
        "modality": "'image' or 'text'",
        "parameters": "number of parameters",
        "input_size": "(channels, height, width) of an image, (tokens,) of the longest text",
        "feature_dim": "width of the features",
        "source_dataset": "what it was pre-trained on",
        "source_classes": "number of classes of its head; 0 if it has none",
        "source_accuracy": "published top-1 accuracy on its source task, in per cent",
        "license": "licence, as an SPDX-like identifier",
        "downloads": "downloads, as the Hub counts them",
        "likes": "likes, as the Hub counts them",
        "size_bytes": "bytes of its weights",
        "download_bytes": "bytes that loading it fetches where none of it is here yet",
        "task": "what it is for, as a pipeline tag of the Hub",
        "library": "what loads it: timm, transformers, ...",
        "weights": "how they are kept: 'safetensors', 'pickle', or 'none' that can be loaded",
        "scan": "what the Hub's security scan says: 'safe', 'pending', or the files it warns of",
        "gated": "True if its files are only for those whom its owner lets in",
        "private": "True if it is only for those who may see it",
        "url": "a page about it",
        "remote_code": "True if loading it runs code that it brings",
    }
)
"""The metadata that zoos fill in where they know it. A zoo may add keys of its own."""

_COUNTS = ("parameters", "feature_dim", "source_classes", "downloads", "likes", "size_bytes", "download_bytes")
_TRUTHS = ("gated", "private", "remote_code")
_LARGEST_COUNT = 10**15
_LARGEST_SIDE = 10**6


def metadata_fault(key: str, value: Any) -> str | None:
    """What was expected of a piece of metadata that cannot be what its key says; None if it can, or is a zoo's own.

    >>> metadata_fault("parameters", 11_689_512), metadata_fault("parameters", "many")
    (None, 'a whole number from 0 to 1,000,000,000,000,000')
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key in _COUNTS:
        return None if whole and 0 <= value <= _LARGEST_COUNT else f"a whole number from 0 to {_LARGEST_COUNT:,}"
    if key in _TRUTHS:
        return None if isinstance(value, bool) else "True or False"
    if key == "source_accuracy":
        return None if (whole or isinstance(value, float)) and 0 <= value <= 100 else "per cent, from 0 to 100"
    if key == "input_size":
        sides = value if isinstance(value, tuple) else ()
        sound = sides and all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in sides)
        return None if sound else f"a tuple of whole numbers from 1 to {_LARGEST_SIDE:,}"
    if key == "modality":
        return None if value in ("image", "text") else "'image' or 'text'"
    if key in METADATA_FIELDS:
        return None if isinstance(value, str) and value.isprintable() else "a text in one line"
    return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pre-trained model that could be chosen: an id and metadata, no weights.

    Attributes:
        zoo: name of the zoo that lists and loads it.
        name: its name there.
        revision: the exact version, where the zoo has versions (a commit, a content hash).
        metadata: see `METADATA_FIELDS`; only what is known, never a guess.

    >>> Candidate("timm", "resnet18.a1_in1k", metadata={"parameters": 11_689_512}).id
    'timm:resnet18.a1_in1k'
    """

    zoo: str
    name: str
    revision: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @property
    def id(self) -> str:
        """`zoo:name[@revision]`: unique, and itself a candidate expression."""
        return f"{self.zoo}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def unversioned_id(self) -> str:
        """`zoo:name`: under which the transfer history and the atlas know it, whatever its revision."""
        return f"{self.zoo}:{self.name}"

    def __str__(self) -> str:
        return self.id

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled
        return type(self), (self.zoo, self.name, self.revision, dict(self.metadata))


class Zoo(abc.ABC):
    """A source of candidates. Subclass it, and register an instance with `modelselect_register_zoos`.

    Attributes:
        name: what stands before the colon in its candidates' ids; unique among zoos.
        aliases: other prefixes that mean the same zoo (`dir` for `directory`).
        downloads: False if its candidates are on this machine already.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    downloads: ClassVar[bool] = True

    @abc.abstractmethod
    def search(self, pattern: str) -> Iterable[Candidate]:
        """Candidates that match `pattern`, in a stable order, cheaply: metadata only, no weights.

        Args:
            pattern: what stands after the colon of an expression: a name, a glob, or `?key=value&...`.

        Raises:
            ExpressionError: the pattern cannot be read. (No match is an empty result, not an error.)
        """

    def architectures(self, pattern: str) -> Iterable[Candidate]:
        """What `pattern` means where weights do not matter: one candidate for each architecture, in a stable order.

        By default what `search` finds. They need not be loadable; `skeleton` has to take them.
        """
        return self.search(pattern)

    @abc.abstractmethod
    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        """The candidate with its weights, in evaluation mode, float32, on the CPU.

        Raises:
            CandidateError: it cannot be loaded; the message becomes the row's status.
            RemoteCodeError: it brings code of its own and `trust_remote_code` is false.
        """

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Any:
        """The candidate's module on the meta device, without weights, or None if the zoo cannot build one cheaply."""
        return None

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        """Writes a fine-tuned candidate into a folder, so that the library which loads its candidates loads this, too.

        By default nothing is written: the folder then becomes one that only the `directory` zoo loads.

        Args:
            backbone: of a candidate of this zoo, with fine-tuned weights in its module; it may be taken apart.
            head: (N, D) features, as `backbone.read` gives them, to (N, classes) logits.
            class_names: of the logits, in order.
            folder: there, and empty.

        Returns:
            True if it was written, with weights as safetensors, preprocessing and class names, and gives the same
            logits. False if the library has no form for it; the folder is then still empty.
        """
        return False

    def availability(self) -> str | None:
        """None if the zoo can be used here, else one line that says what is missing and the command that mends it."""
        return None


_EXPRESSION = re.compile(r"(?P<zoo>[A-Za-z][A-Za-z0-9_-]*):(?P<pattern>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expression:
    """A candidate expression, taken apart: `zoo:pattern[@revision]`.

    >>> Expression.parse("timm:resnet*")
    Expression(zoo='timm', pattern='resnet*')
    """

    zoo: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Expression:
        match = _EXPRESSION.fullmatch(text.strip())
        if match is None:
            raise ExpressionError(
                f"{text!r} is not a candidate expression. Expected 'zoo:name' or 'zoo:glob*', "
                "for example 'embedded:*', 'timm:resnet*' or 'dir:path/to/models/*'."
            )
        return cls(match["zoo"], match["pattern"])
