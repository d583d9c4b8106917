"""The experiment trackers that results can be written to, and the check that one can be used."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from modelselect.errors import InvalidInputError, did_you_mean

TRACKERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "trackio": ("trackio",),
        "wandb": ("wandb",),
        "mlflow": ("mlflow",),
        "tensorboard": ("tensorboard", "tensorboardX"),
    }
)
"""The trackers, and the modules of which each needs one. Others can be registered with accelerate."""


def check_tracker(tracker: Any) -> None:
    """Raises `InvalidInputError` if a tracker is unknown, or its library is not installed. Call it before the work."""
    if not isinstance(tracker, str):
        if all(hasattr(tracker, name) for name in ("name", "log", "store_init_configuration")):
            return
        raise InvalidInputError(
            f"track is {tracker!r}; expected one of {', '.join(TRACKERS)}, or a GeneralTracker of accelerate"
        )
    if tracker not in TRACKERS:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        if tracker not in LOGGER_TYPE_TO_CLASS:
            near = did_you_mean(tracker, TRACKERS)
            raise InvalidInputError(f"track is {tracker!r}; expected one of {', '.join(TRACKERS)}.{near}")
    elif not any(importlib.util.find_spec(module) for module in TRACKERS[tracker]):
        raise InvalidInputError(
            f"track is {tracker!r}, and its library is not installed. Install it with: pip install {tracker}"
        )
