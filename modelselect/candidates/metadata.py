"""What is known of a candidate before it is loaded, and which values each field may have."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from modelselect.candidates.candidate import Candidate

logger = logging.getLogger(__name__)

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
"""The metadata that zoos fill in where it is known. A zoo may add keys of its own.

The texts are part of the keys of estimators that refer to them: do not change them, and add no field.
"""

TEXT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "context_length": "tokens of the longest text that the model itself can take",
        "languages": "languages that its authors name, as codes such as 'en' and 'de'; 'multilingual' names none",
    }
)
"""Further metadata, of text encoders. They stand apart from `METADATA_FIELDS`, whose texts are parts of keys."""

_LABELLED = frozenset({"bamboo", "in12k", "in1k", "in21k", "in22k", "inw21k"})
_SELF_SUPERVISED = frozenset({"dino", "mae", "fcmae", "ijepa"})
_PROJECTION_MULTIPLE = 128  # widths of contrastive projections (512, 640, 768, ...); no labelled dataset's class count

_COUNTS = (
    "parameters", "feature_dim", "source_classes", "downloads", "likes", "size_bytes", "download_bytes",
    "context_length",
)  # fmt: skip
_TRUTHS = ("gated", "private", "remote_code")
_LARGEST_COUNT = 10**15
_LARGEST_SIDE = 10**6


def metadata_fault(key: str, value: Any) -> str | None:
    """What was expected, for a value that its field cannot have; None if the value is valid or the key is a zoo's own.

    >>> metadata_fault("parameters", 11_689_512), metadata_fault("parameters", "many")
    (None, 'a whole number from 0 to 1,000,000,000,000,000')
    """
    whole = type(value) is int
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
    if key == "languages":
        named = value if isinstance(value, tuple) else ()
        sound = named and all(isinstance(each, str) and each and each.isprintable() for each in named)
        return None if sound else "a tuple of codes such as 'en'"
    if key == "modality":
        known = isinstance(value, str) and value in ("image", "text", "array", "audio")
        return None if known else "'image', 'text', 'array' or 'audio'"
    if key in METADATA_FIELDS:
        return None if isinstance(value, str) and value.isprintable() else "a text on one line"
    return None


def with_sound_metadata(candidate: Candidate) -> Candidate:
    """The candidate without values that their fields cannot have: a zoo, or the caller, may give anything.

    >>> with_sound_metadata(Candidate("shelf", "tiny", metadata={"parameters": "few", "family": "Tiny"})).metadata
    mappingproxy({'family': 'Tiny'})
    """
    faults = {key: fault for key, value in candidate.metadata.items() if (fault := metadata_fault(key, value))}
    if not faults:
        return candidate
    logger.warning(
        "the metadata of %s are used without %s",
        candidate.id,
        " and ".join(f"{key} (expected {fault})" for key, fault in faults.items()),
    )
    return replace(candidate, metadata={k: value for k, value in candidate.metadata.items() if k not in faults})


def source_classes(tag: str | None, outputs: int) -> int:
    """Number of source classes of a timm model with this number of outputs: 0 if they are an embedding, not classes.

    Image towers of contrastive models have a projection in the place of a classifier.

    >>> source_classes("a1_in1k", 1000), source_classes("openai", 512)
    (1000, 0)
    """
    parts = set((tag or "").split("_"))
    if parts & _LABELLED or not tag:
        return outputs
    return 0 if parts & _SELF_SUPERVISED or outputs % _PROJECTION_MULTIPLE == 0 else outputs
