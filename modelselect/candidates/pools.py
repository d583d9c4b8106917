"""`Pool`: candidates under one name, for users who do not want to list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

POOL = "pool"
"""Stands in a candidate expression for a zoo: `pool:images-fast` is the pool of that name."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidates under one name. Register one with `modelselect_register_pools`.

    Attributes:
        name: lower-case letters, digits, `_` and `-`; `pool:NAME` is a candidate expression.
        summary: what the pool is good for, in one sentence.
        modality: `image` or `text`: what its candidates take.
        members: candidate expressions, the most promising first.
        offered: whether a run without candidates chooses from the pool. Pools of published experiments are not offered.
        absent: what belongs to the pool but is in no zoo: by name, where the weights are and what they need.

    >>> Pool("tiny", "Networks for tests.", "image", ("embedded:plain*", "embedded:vit*")).name
    'tiny'
    """

    name: str
    summary: str
    modality: str
    members: tuple[str, ...]
    offered: bool = True
    absent: Mapping[str, str] = field(default_factory=dict)
