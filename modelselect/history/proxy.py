"""The proxy: the candidate that sees the dataset for all others, so that its features stand for the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import Expression
from modelselect.errors import ExpressionError, InvalidInputError
from modelselect.history.history import History
from modelselect.host.defaults import CLIP_PROXY, EMBEDDED_PROXY
from modelselect.host.host import get_host
from modelselect.probe.probe import Probe
from modelselect.utils.target_kinds import CLASSES


def named_proxy(given: str | Candidate) -> Candidate:
    """The one candidate that the caller means.

    Raises:
        InvalidInputError: `given` names no candidate, or more than one.
    """
    if isinstance(given, Candidate):
        return given
    if not isinstance(given, str):
        raise InvalidInputError(f"proxy is {given!r}; expected one candidate, such as {EMBEDDED_PROXY!r}, or None")
    expression = Expression.parse(given)
    found = list(get_host().zoo(expression.zoo).search(expression.pattern))
    if len(found) != 1:
        raise ExpressionError(
            f"proxy {given!r} names {len(found)} candidates; expected one, such as {EMBEDDED_PROXY!r}"
        )
    return found[0]


def choose_proxy(probe: Probe, history: History | None) -> Candidate | None:
    """The default proxy for a dataset: of two, the one for which the history knows the features of more datasets.

    The two are CLIP, if the Hub client has cached it, and a network that comes with modelselect. CLIP wins a tie. None
    for data other than images.
    """
    if probe.modality != "image":
        return None
    proxies = []
    zoo, _, name = CLIP_PROXY.partition(":")
    if (revision := _cached_revision(name)) is not None and zoo in get_host().registered("zoos", zoo):
        proxies.append(Candidate(zoo, name, revision))
    zoo, _, name = EMBEDDED_PROXY.partition(":")
    if zoo in (zoos := get_host().registered("zoos", zoo)):
        proxies += zoos[zoo].search(name)
    seen: Mapping[str, int] = {} if history is None else history.summary()["proxies"]
    return max(proxies, key=lambda proxy: seen.get(proxy.id, 0), default=None)


def _cached_revision(repository: str) -> str | None:
    """The commit whose configuration and weights are in the Hub client's cache; None if there is none."""
    from huggingface_hub import constants  # the rest of the library takes a fifth of a second

    if not (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, name) for name in ("config.json", "preprocessor_config.json")]
    weights = [try_to_load_from_cache(repository, name) for name in ("model.safetensors", "pytorch_model.bin")]
    if not all(isinstance(path, str) for path in found) or not any(isinstance(path, str) for path in weights):
        return None
    return Path(str(found[0])).parent.name


def describe_dataset(probe: Probe) -> dict[str, Any]:
    """What the history keeps about a dataset, apart from the proxy's features."""
    return {
        "name": probe.name,
        "modality": probe.modality,
        "classes": probe.n_classes or None,
        "samples": probe.provenance["training_rows"],
        **({} if probe.target_kind == CLASSES else {"targets": probe.target_kind}),
    }
