"""Writes a fine-tuned candidate as a folder that its library loads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.zoo import OWN_MODULES
from modelselect.errors import InvalidInputError, ModelSelectError
from modelselect.host.host import get_host
from modelselect.hub import SIGNATURE
from modelselect.store.files import folder_beside
from modelselect.utils.target_kinds import RELEVANCE, ROW
from modelselect.verification.fine_tuned import HEAD_PREFIX, FineTuned
from modelselect.verification.signature import FILES, files_of, is_as_saved

CONFIGURATION = "config.json"
WEIGHTS = "model.safetensors"
ORIGIN = "fine_tuned_from"
"""In the configuration of a folder that only the `directory` zoo loads: the id of the candidate it came from."""
BUNDLE = "backbone"
"""In such a folder: the folder with the backbone; in its configuration: this folder's name, and settings to load it."""
DIRECTORY = "directory"
"""The zoo that loads folders."""


def write(tuned: FineTuned, candidate: Candidate, path: Path, *, trust_remote_code: bool = False) -> None:
    """Writes the fine-tuned model into a folder: in its library's form if there is one, else for the `directory` zoo.

    A folder that holds this very model already stays as it is: a run that is started again goes on.

    Raises:
        CandidateError: the candidate cannot be loaded, and the fine-tuned weights cannot be used without it.
        InvalidInputError: `path` holds something else already, or cannot be written.
    """
    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(path) as scratch:
            folder = scratch / path.name
            folder.mkdir()
            written, signature = False, tuned.signature_for(candidate)
            if candidate.zoo != OWN_MODULES:
                zoo = get_host().zoo(candidate.zoo)
                backbone = zoo.load(candidate, trust_remote_code=trust_remote_code)
                tuned.put_into(backbone.module)
                # Libraries have other models for parts of inputs, and for queries.
                if signature.unit == ROW and signature.target_kind != RELEVANCE:
                    written = zoo.export(backbone, tuned.head(), tuned.class_names, folder)
            if not written:
                _write_ours(tuned, candidate, folder, _bundled(tuned, candidate, folder, trust_remote_code))
            about = {"candidate": candidate.id, **signature.described, FILES: files_of(folder)}
            text = json.dumps(about, indent=2, ensure_ascii=False)
            (folder / SIGNATURE).write_text(text + "\n", encoding="utf-8")
            for file in filter(Path.is_file, folder.rglob("*")):  # safetensors makes files that only the owner can read
                shutil.copymode(folder / CONFIGURATION, file)
            if is_as_saved(path):
                if (path / SIGNATURE).read_bytes() == (folder / SIGNATURE).read_bytes():
                    return
                raise InvalidInputError(
                    f"{str(path)!r} holds another saved model; give a new or an empty folder. What this run has "
                    "computed is not computed again"
                )
            _check_empty(path)
            if path.exists():
                path.rmdir()
            shutil.move(folder, path)
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(path)!r}: {error.strerror}. Give a writable path.") from error


def check_place(path: Path) -> bool:
    """Raises `InvalidInputError` if no model can be written there: before the work, not after it.

    True if the folder holds a saved model. Only the work shows whether that is the very one that is to be written.
    """
    is_model = is_as_saved(path)
    if not is_model:
        _check_empty(path)
    above = next((folder for folder in path.absolute().parents if folder.exists()), path)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InvalidInputError(
            f"{str(path)!r} cannot be written, since {str(above)!r} is not a folder of yours to "
            "write to; give another path"
        )
    return is_model


def _check_empty(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInputError(f"{str(path)!r} holds something already; give a new or an empty folder")


class _Bundle(NamedTuple):
    """A backbone next to its head: its folder with the settings to load it, and whether its weights are fine-tuned."""

    name: str
    is_fine_tuned: bool


def _bundled(tuned: FineTuned, candidate: Candidate, folder: Path, trust_remote_code: bool) -> _Bundle | None:
    """Writes the backbone into a folder in `folder`; None if only the original candidate's zoo can load it."""
    if candidate.zoo == OWN_MODULES:
        return None
    zoo, directory = get_host().zoo(candidate.zoo), get_host().zoo(DIRECTORY)
    backbone = zoo.load(candidate, trust_remote_code=trust_remote_code)
    tuned.put_into(backbone.module)
    place = folder / BUNDLE
    place.mkdir()
    try:
        settings = zoo.bundle(backbone, place)
        if settings is not None:
            (found,) = directory.search(f"{place}{settings}")
            again = directory.load(found, trust_remote_code=trust_remote_code)
            if again.preprocessing.key == backbone.preprocessing.key:
                complete = weights_digest(again.module) == weights_digest(backbone.module)
                if not complete:
                    tuned.put_into(again.module)
                return _Bundle(f"{BUNDLE}{settings}", complete)
    except ModelSelectError:
        pass  # what is written cannot be loaded: the original candidate can
    shutil.rmtree(place)
    return None


def _write_ours(tuned: FineTuned, candidate: Candidate, folder: Path, bundle: _Bundle | None) -> None:
    from safetensors.numpy import save_file

    weights = {name: np.array(value) for name, value in tuned.weights.items()}
    if bundle is not None and bundle.is_fine_tuned:
        weights = {name: value for name, value in weights.items() if name.startswith(HEAD_PREFIX)}
    save_file(weights, folder / WEIGHTS)
    configuration = {
        ORIGIN: candidate.id,
        BUNDLE: None if bundle is None else bundle.name,
        "num_classes": len(tuned.class_names),
        "num_features": tuned.weights[f"{HEAD_PREFIX}weight"].shape[1],
        "label_names": list(tuned.class_names),
        "method": tuned.method,
        "license": candidate.metadata.get("license"),
    }
    text = json.dumps({key: value for key, value in configuration.items() if value is not None}, indent=2)
    (folder / CONFIGURATION).write_text(text + "\n", encoding="utf-8")
