"""What all tests share: where the shared real weights, datasets and reference scores are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Idle threads sleep instead of spinning, as on the command line; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_path(*parts: str) -> Path:
    """A file or folder of the shared material; skips the test that asks where the material is absent.

    The environment variable MODELSELECT_SHARED says where it is; without it, beside the repository.
    """
    root = Path(os.environ.get("MODELSELECT_SHARED", REPOSITORY.parent / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{Path(*parts)} is not in the shared material ({root}); set MODELSELECT_SHARED to where it is")
    return path
