"""The state of a training run on disk, from which a killed run continues."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from modelselect.store.files import explained, remove_what_is_no_file

SECONDS_BETWEEN = 1.0
"""A killed training loses the epochs of about this time, or one epoch that takes longer."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_LENGTH_BYTES = 8
_HEADER_BYTES = _DIGEST_BYTES + _LENGTH_BYTES


class Checkpoint:
    """The state from which a killed training run continues: one file, replaced atomically.

    The file is a SHA-256, a number of bytes, and what both are of: the state as torch writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        """False for a while after it was written or, at first, made."""
        return time.monotonic() - self._written >= SECONDS_BETWEEN

    def save(self, state: Mapping[str, Any]) -> None:
        import torch

        partial = self.path.with_suffix(".partial")
        with explained(f"the checkpoint {self.path}", "written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for path in (partial, self.path):
                remove_what_is_no_file(path)
            with partial.open("wb") as file:
                file.write(bytes(_HEADER_BYTES))
                writer: Any = _Hashing(file)
                torch.save(dict(state), writer)
                length = file.tell() - _HEADER_BYTES
                file.seek(0)
                file.write(writer.digest.digest() + length.to_bytes(_LENGTH_BYTES, "little"))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        self._written = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last saved state; None if there is none, or if the file is not what was written."""
        import torch

        try:
            if not self.path.is_file():  # a pipe would never end
                return None
            with self.path.open("rb") as file:
                digest, length = file.read(_DIGEST_BYTES), int.from_bytes(file.read(_LENGTH_BYTES), "little")
                if os.fstat(file.fileno()).st_size != _HEADER_BYTES + length:
                    return None
                if hashlib.file_digest(file, "sha256").digest() != digest:
                    return None
                content: Any = _After(file, _HEADER_BYTES)
                state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            return None
        return state

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


class _Hashing(io.RawIOBase):
    """A file to write to that computes the digest of what it gets."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.digest.update(content)
        return self.file.write(content)


class _After(io.RawIOBase):
    """What follows the first bytes of a file, as a file."""

    def __init__(self, file: io.BufferedReader, skipped: int) -> None:
        self.file, self.skipped = file, skipped
        file.seek(skipped)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset + (self.skipped if whence == os.SEEK_SET else 0), whence) - self.skipped

    def tell(self) -> int:
        return self.file.tell() - self.skipped
