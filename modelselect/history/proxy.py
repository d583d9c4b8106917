"""The proxy: the candidate that looks at the dataset for all others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.errors import ExpressionError, InvalidInputError
from modelselect.history.history import History
from modelselect.host.host import get_host
from modelselect.probe.probe import Probe

CLIP = "openai/clip-vit-base-patch32"
"""The proxy of the paper (section 3.3), where it is in the cache of the Hub's client."""

EMBEDDED_PROXY = "embedded:resnet.textures"
"""The proxy where there is no CLIP: it comes with modelselect. See docs/explanation/recall.md for what it costs."""


def named_proxy(given: str | Candidate) -> Candidate:
    """The one candidate that the caller means.

    Raises:
        InvalidInputError: what is given names no candidate, or more than one.
    """
    if isinstance(given, Candidate):
        return given
    if not isinstance(given, str):
        raise InvalidInputError(f"proxy is {given!r}; expected one candidate, such as {EMBEDDED_PROXY!r}, or None")
    expression = Expression.parse(given)
    found = list(get_host().zoo(expression.zoo).search(expression.pattern))
    if len(found) != 1:
        raise ExpressionError(f"proxy {given!r} names {len(found)} candidates; expected one, such as {EMBEDDED_PROXY}")
    return found[0]


def choose_proxy(probe: Probe, history: History | None) -> Candidate | None:
    """Of CLIP, if it is cached, and of a network that comes along, the one that has seen more of the datasets.

    CLIP where they are equal; None for data that are no images.
    """
    if probe.modality != "image":
        return None
    zoos = get_host().zoos
    proxies = []
    if "hub" in zoos and (revision := _cached_clip()) is not None:
        proxies.append(Candidate("hub", CLIP, revision))
    zoo, _, name = EMBEDDED_PROXY.partition(":")
    if zoo in zoos:
        proxies += zoos[zoo].search(name)
    seen: Mapping[str, int] = {} if history is None else history.summary()["proxies"]
    return max(proxies, key=lambda proxy: seen.get(proxy.id, 0), default=None)


def _cached_clip() -> str | None:
    """The commit of CLIP whose configuration and weights are in the Hub client's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(CLIP, name) for name in ("config.json", "preprocessor_config.json")]
    weights = [try_to_load_from_cache(CLIP, name) for name in ("model.safetensors", "pytorch_model.bin")]
    if not all(isinstance(path, str) for path in found) or not any(isinstance(path, str) for path in weights):
        return None
    return Path(str(found[0])).parent.name


def describe_dataset(probe: Probe) -> dict[str, Any]:
    """What the history keeps of a dataset besides its proxy's features."""
    return {
        "name": probe.name,
        "modality": probe.modality,
        "classes": probe.n_classes or None,
        "samples": probe.provenance["training_rows"],
    }
