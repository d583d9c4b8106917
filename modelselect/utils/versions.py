"""The version of modelselect, and of the libraries that change numbers."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata

__version__ = "0.1.0"

NUMERIC_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "numpy", "pillow", "modelselect-automl")
"""What changes features when its version changes: part of every evidence's identity."""

SCORE_LIBRARIES = (*NUMERIC_LIBRARIES, "scipy", "scikit-learn")
"""What changes scores when its version changes."""

ALL_LIBRARIES = (*SCORE_LIBRARIES, "gensim", "networkx", "datasets", "huggingface_hub")
"""What is written down of an installation on a leaderboard."""


@functools.cache
def numeric_versions(libraries: tuple[str, ...] = NUMERIC_LIBRARIES) -> dict[str, str]:
    """Installed versions of what features depend on, or of other libraries."""
    versions = {}
    for library in libraries:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    return versions


DISTRIBUTION = "modelselect-automl"
"""The distribution that ships the host and the shipped plugins."""
