"""Which candidate ids mean the same weights, and which mean the same architecture with other weights.

A key is a candidate id in its simplest form: lower case, without revision and settings, in timm's name where timm has
the same weights or the same architecture. `timm:resnet50.tv_in1k` is the key of `torchvision:resnet50.IMAGENET1K_V1`.
A key is its own key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from modelselect_plugins.estimators._evidence import public

NAMED = ("hub", "timm", "torchvision")
"""The zoos whose names mean the same model everywhere. A name in another zoo, such as a path, is left as it is."""

TAGGED = ("timm:", "torchvision:")
"""How keys begin whose names are an architecture, a dot, and the tag of the weights."""

_PLAIN = re.compile(r"[^@?]*")


def weights_key(candidate_id: str) -> str:
    """The key of a candidate's weights. An id without a tag keeps none: several sets of weights may be meant.

    >>> weights_key("torchvision:resnet50.IMAGENET1K_V1@0676ba61"), weights_key("hub:timm/resnet50.tv_in1k")
    ('timm:resnet50.tv_in1k', 'timm:resnet50.tv_in1k')
    >>> weights_key("hub:sentence-transformers/all-MiniLM-L6-v2?pooling=cls@8b3219a")
    'hub:sentence-transformers/all-minilm-l6-v2'
    """
    zoo, _, name = candidate_id.partition(":")
    if zoo not in NAMED:
        return candidate_id
    plain = _PLAIN.match(name)
    name = plain[0].lower() if plain else ""
    if zoo == "hub" and name.startswith("timm/"):
        zoo, name = "timm", name.removeprefix("timm/")
    key = f"{zoo}:{name}"
    if zoo == "torchvision" and "." not in name:
        return _same("architecture").get(key, key)
    return _same("weights").get(key, key)


def architecture_key(candidate_id: str) -> str:
    """The key of a candidate's architecture; that of the weights where no more is known of them.

    >>> architecture_key("torchvision:mobilenet_v2.IMAGENET1K_V2"), architecture_key("timm:mobilenetv2_100.ra_in1k")
    ('timm:mobilenetv2_100', 'timm:mobilenetv2_100')
    >>> architecture_key("hub:someone/fine-tuned")
    'hub:someone/fine-tuned'
    """
    key = weights_key(candidate_id)
    if key.startswith(TAGGED):
        key = key.split(".")[0]
    return _same("architecture").get(key, key)


def is_of_weights(key: str) -> bool:
    """True if a key names weights; False if it names an architecture only.

    >>> is_of_weights("timm:resnet50.tv_in1k"), is_of_weights("timm:resnet50"), is_of_weights("hub:owner/model")
    (True, False, True)
    """
    return "." in key or not key.startswith(TAGGED)


def share_weights(first: str, second: str) -> bool:
    """True if both candidates have the same weights, as far as this is known.

    >>> share_weights("timm:resnet50.tv_in1k", "torchvision:resnet50.IMAGENET1K_V1")
    True
    >>> share_weights("timm:resnet50.tv_in1k", "timm:resnet50.a1_in1k")
    False
    """
    key = weights_key(first)
    return is_of_weights(key) and key == weights_key(second)


def are_relatives(first: str, second: str) -> bool:
    """True if both candidates have the same architecture, and their weights are different or not known.

    >>> are_relatives("timm:resnet50.tv_in1k", "timm:resnet50.a1_in1k")
    True
    """
    return architecture_key(first) == architecture_key(second) and not share_weights(first, second)


@cache
def _same(what: str) -> Mapping[str, str]:
    """By key, the key of the same weights or the same architecture that stands for both."""
    return {row["id"]: row[what] for row in public.rows(f"same_{what}.csv")}
