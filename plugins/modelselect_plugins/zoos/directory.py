"""The `directory` zoo: models in local folders, such as `dir:path/to/models/*`.

A folder with `config.json` and `model.safetensors` is a candidate. `config.json` describes it in one of five forms:

- timm's `local-dir` form: `architecture`, `num_classes`, `model_args`, `pretrained_cfg`;
- transformers' form, as written by `save_pretrained`: `model_type`, `architectures` (and, in the same folder,
  `preprocessor_config.json` or a tokenizer);
- torchvision's, as written inside the folder of a fine-tuned winner: `torchvision`, the name of the weights;
- for a fine-tuned model that neither library can load, as written by `Row.save`: `fine_tuned_from`, the id of the
  candidate it came from, whose zoo must still have it, unless the folder holds the backbone in a folder of its own;
- `"builder": "file.py:function"`, code of its own, which runs only with `trust_remote_code=True`. The file is looked
  for in the folder, then in its parent. The function takes the folder and returns a module and a transform from a PIL
  image to a tensor; `module.forward_features(x)` gives (N, D) features and `module(x)` source logits. A grid of
  features is averaged over its places; `num_features` says which axis holds the channels where the module does not.

These keys of `config.json` are read in any form, if they are there: `num_classes`, `num_features`, `license` (or
`licence`), `languages`, `pretraining` (the dataset it was pre-trained on), `published_top1` (its accuracy there, in per
cent), and `input` with `size` and `channels`.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.expression import Expression
from modelselect.candidates.text_classifier import TextClassifier
from modelselect.errors import CandidateError, ExpressionError, ModelSelectError, RemoteCodeError, did_you_mean
from modelselect.host.host import get_host
from modelselect.utils.paths import expanded
from modelselect.verification.export import ORIGIN
from modelselect.verification.fine_tuned import FineTuned
from modelselect.verification.signature import Signature
from modelselect_plugins.zoos import _export
from modelselect_plugins.zoos._bounds import without_network
from modelselect_plugins.zoos._support import (
    first_missing,
    is_glob,
    is_unsafe_pickle,
    one_line,
    split_settings,
    unsafe_pickle,
)
from modelselect_plugins.zoos._timm.models import folder_skeleton, timm_folder
from modelselect_plugins.zoos._torchvision import torchvision_folder
from modelselect_plugins.zoos._transformers import models as transformers_models
from modelselect_plugins.zoos._transformers import texts as transformers_texts
from modelselect_plugins.zoos._transformers import zero_shot
from modelselect_plugins.zoos._weights import CONFIGURATION, WEIGHTS, check_for_other_kinds

if TYPE_CHECKING:
    import torch

from modelselect_plugins.zoos._directory.builder import build
from modelselect_plugins.zoos._directory.folder import Folder, pickles_allowed

_REVISION = re.compile(r"(?P<path>.+)@(?P<revision>[0-9a-f]{12})", re.DOTALL)
_PINNED = re.compile(r"(?!(.*:)?hub:).*|.*@[0-9a-f]{40}", re.DOTALL)
"""An id that is no repository on the Hub, or one at a commit."""


class DirectoryZoo(Zoo):
    """Folders of models on this machine. The revision is a digest of their files, so it changes when they change.

    The pattern is a path, relative to the working directory: of one model, of a folder of models, or a glob (also with
    `**`). Settings of text encoders may follow, as in `models/bert?pooling=cls`; they are part of the candidate's name.
    """

    name = "directory"
    aliases = ("dir",)
    downloads = False

    def search(self, pattern: str) -> Iterable[Candidate]:
        revision = None
        match = _REVISION.fullmatch(pattern)
        if match and not Path(pattern).exists():
            pattern, revision = match["path"], match["revision"]
        place, settings = split_settings(pattern)
        pickled, of_text = pickles_allowed(settings)
        transformers_texts.TextSettings.of(of_text)
        paths = _model_folders(place)
        if paths is None:
            raise ExpressionError(f"there is no folder {place!r} here ({Path.cwd()}).{_near(place)}")
        if not paths:
            check_for_other_kinds(expanded(place))
        candidates = [Folder(path, pickled).candidate(settings) for path in paths]
        if revision is not None and [c.revision for c in candidates] != [revision]:
            raise ExpressionError(
                f"{pattern!r} holds {', '.join(str(c.revision) for c in candidates) or 'no model'}, not {revision}: "
                "the files have changed. Leave out the revision to use the present files."
            )
        return candidates

    def for_modality(self, candidate: Candidate, modality: str) -> Candidate:
        pooling = transformers_models.text_pooling(candidate.metadata)
        if modality != "text" or pooling is None:
            return candidate
        place, settings = split_settings(candidate.name)
        pickled, _ = pickles_allowed(settings)
        return Folder(Path(place), pickled).candidate({**settings, "pooling": pooling})

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        place, given = split_settings(candidate.name)
        pickled, settings = pickles_allowed(given)
        folder = Folder(Path(place), pickled)
        folder.check()
        if settings and folder.form != "transformers":
            raise CandidateError(
                f"the model takes images, but the settings {', '.join(settings)} are for text encoders; leave them out"
            )
        if candidate.revision is not None and candidate.revision != folder.revision:
            raise CandidateError(
                f"the files have changed: the model was found with revision {candidate.revision}, but now has "
                f"revision {folder.revision}. Search again"
            )
        if folder.form == "builder":
            return build(folder, candidate, trust_remote_code)
        if folder.form == "fine-tuned":
            return _fine_tuned(folder, candidate, trust_remote_code)
        try:
            with without_network():
                if folder.form == "transformers":
                    return transformers_models.load(
                        folder.path,
                        candidate,
                        folder.digest,
                        trust_remote_code=trust_remote_code,
                        safetensors=not folder.is_pickled,
                        settings=settings,
                    )
                if folder.form == "torchvision":
                    return torchvision_folder(folder.path, candidate, folder.digest)
                return timm_folder(folder.path, candidate, folder.digest)
        except CandidateError:
            raise
        except Exception as error:
            if folder.is_pickled and is_unsafe_pickle(error):
                raise CandidateError(unsafe_pickle(folder.weights[0].name)) from error
            raise CandidateError(f"{folder.form} cannot load it ({one_line(error)})") from error

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module | None:
        place, given = split_settings(candidate.name)
        pickled, settings = pickles_allowed(given)
        folder = Folder(Path(place), pickled)
        folder.check()
        with without_network():
            if folder.form == "timm":
                return folder_skeleton(folder.path)
            if folder.form == "transformers":
                return transformers_models.skeleton(folder.path, trust_remote_code=trust_remote_code, settings=settings)
        return None  # builders and some zoos cannot build a model without weights

    def text_classifier(self, candidate: Candidate, texts: Sequence[Sequence[str]]) -> TextClassifier | None:
        if candidate.metadata.get("family") not in zero_shot.FAMILIES:
            return None
        place, given = split_settings(candidate.name)
        pickled, settings = pickles_allowed(given)
        folder = Folder(Path(place), pickled)
        if settings or folder.form != "transformers" or folder.revision != candidate.revision:
            return None
        with without_network():
            return zero_shot.text_classifier(folder.path, texts, safetensors=not folder.is_pickled)

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        return _export.export(backbone, head, class_names, folder)

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        source = Folder(Path(split_settings(backbone.candidate.name)[0]))
        if source.form != "builder":
            return _export.bundle(backbone, folder)
        for path in (source.path / CONFIGURATION, *source.weights, source.builder[0]):
            shutil.copy(path, folder / path.name)
        return ""

    def availability(self) -> str | None:
        return first_missing("torch", "timm", "transformers")


def _fine_tuned(folder: Folder, candidate: Candidate, trust_remote_code: bool) -> Backbone:
    """A folder written by `Row.save`, combined with the candidate that it was fine-tuned from."""
    from safetensors.numpy import load_file

    bundled = folder.bundled
    try:
        if bundled is None:
            if not _PINNED.fullmatch(folder.configuration[ORIGIN]):
                raise CandidateError("the id has no fixed revision, the commit behind an @")
            origin = Expression.parse(folder.configuration[ORIGIN])
            zoo = get_host().zoo(origin.zoo)
            found = list(zoo.search(origin.pattern))
        else:
            zoo = get_host().zoo(DirectoryZoo.name)
            found = [Folder(bundled[0]).candidate(bundled[1])]
        if len(found) != 1:
            raise CandidateError(f"{len(found)} candidates have this id; expected one")
        if bundled is None and origin.pattern.rpartition("@")[2] != (found[0].revision or origin.pattern):
            raise CandidateError(f"the id has no fixed revision, such as @{found[0].revision}")
        backbone = zoo.load(found[0], trust_remote_code=trust_remote_code)
    except RemoteCodeError:
        raise
    except ModelSelectError as error:
        raise CandidateError(
            f"the model was fine-tuned from {folder.configuration[ORIGIN]!r}, which cannot be loaded here ({error})"
        ) from error
    if len(folder.weights) != 1:
        raise CandidateError(f"the fine-tuned weights are in {len(folder.weights)} files; expected one {WEIGHTS}")
    (weights,) = folder.weights
    try:
        arrays = load_file(weights)
    except Exception as error:
        raise CandidateError(f"the fine-tuned weights in {weights.name} cannot be read ({one_line(error)})") from error
    names = folder.configuration.get("label_names")
    labels = tuple(map(str, names)) if isinstance(names, list) else ()
    tuned = FineTuned(arrays, labels, str(folder.configuration.get("method")), Signature.of_folder(folder.path))
    return dataclasses.replace(tuned.on(backbone, folder.digest), candidate=candidate)


def _model_folders(pattern: str) -> list[Path] | None:
    """The folders of models that match a pattern, sorted; None if a path without glob characters does not exist.

    A folder whose name is not valid UTF-8 is left out, with a warning: no leaderboard could contain its name.
    """
    here = expanded(pattern)
    here = transformers_texts.encoder_folder(here) or here
    if os.path.lexists(here / CONFIGURATION):
        return [here]
    if here.is_dir():
        found: Iterable[Path] = here.iterdir()
    elif is_glob(pattern):
        found = map(Path, glob.glob(str(here), recursive=True))
    else:
        return None
    found = (transformers_texts.encoder_folder(path) or path for path in found)
    folders = sorted({path for path in found if os.path.lexists(path / CONFIGURATION)}, key=Path.as_posix)
    named = [path for path in folders if _is_utf8(path)]
    for path in folders:
        if path not in named:
            warnings.warn(
                f"the folder {str(path)!r} is left out, because its name is not valid UTF-8; rename it", stacklevel=3
            )
    return named


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _near(pattern: str) -> str:
    parent = expanded(pattern).parent
    if not parent.is_dir():
        return " Give a path relative to this folder, or an absolute path."
    return did_you_mean(pattern, [(parent / path.name).as_posix() for path in parent.iterdir() if path.is_dir()])


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [DirectoryZoo()]
