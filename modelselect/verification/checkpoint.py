"""The state of a training run on disk, from which a killed run continues."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelselect.store.files import explained


class Checkpoint:
    """The state from which a killed training run continues: one file, replaced atomically after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, state: Mapping[str, Any]) -> None:
        import torch

        partial = self.path.with_suffix(".partial")
        with explained(f"the checkpoint {self.path}", "written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)

    def load(self) -> dict[str, Any] | None:
        """The last saved state; None if there is none, or none that can be read."""
        import torch

        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            return None
        return state

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
