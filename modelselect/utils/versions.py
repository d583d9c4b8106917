"""The version of modelselect, and of the libraries that affect results."""

from __future__ import annotations

import contextlib
import functools

__version__ = "0.1.0"

NUMERIC_LIBRARIES = ("torch", "torchvision", "timm", "transformers", "numpy", "pillow", "modelselect-automl")
"""Libraries whose version can change features: part of the key of all evidence."""

PROBE_LIBRARIES = ("numpy", "pillow", "datasets", "torch", "modelselect-automl")
"""Libraries that read rows: their versions are recorded with a probe."""

SCORE_LIBRARIES = (*NUMERIC_LIBRARIES, "scipy", "scikit-learn")
"""Libraries whose version can change scores."""

EMBEDDING_LIBRARIES = ("numpy", "networkx", "gensim", "modelselect-automl")
"""Libraries whose version can change the vectors and clusters of architectures."""

ALL_LIBRARIES = (*SCORE_LIBRARIES, "gensim", "networkx", "datasets", "huggingface_hub")
"""Libraries whose versions are recorded on a leaderboard."""


@functools.cache
def numeric_versions(libraries: tuple[str, ...] = NUMERIC_LIBRARIES) -> dict[str, str]:
    """Installed versions of the libraries that features depend on, or of other libraries."""
    from importlib import metadata  # a tenth of a second, which `import modelselect` need not pay

    versions = {}
    for library in libraries:
        with contextlib.suppress(Exception):  # not installed, or what the installer wrote is damaged
            versions[library] = _version_in(metadata.distribution(library).read_text("METADATA") or "") or (
                metadata.version(library)
            )
    return versions


def _version_in(text: str) -> str | None:
    """The version in the metadata of a distribution, without parsing the rest, which takes some milliseconds."""
    head = text.partition("\n\n")[0]
    return next((line.partition(":")[2].strip() for line in head.splitlines() if line.startswith("Version:")), None)


DISTRIBUTION = "modelselect-automl"
"""The distribution that contains modelselect and its shipped plugins."""
