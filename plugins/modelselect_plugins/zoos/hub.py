"""The `hub` zoo: checkpoints of timm and transformers on the Hugging Face Hub, such as `hub:microsoft/resnet-50`.

- `hub:owner/name[@revision]` is one model; the revision is a branch, a tag or a commit.
- `hub:owner/vit-*` matches an owner's models by name.
- `hub:?task=image-classification&library=timm&params=<50M&sort=downloads&limit=50` is a query of the Hub.

A candidate's revision is the commit at the time of the search; exactly this commit is loaded, whatever is pushed later.
Only files that loading needs are downloaded, into the cache that all clients of the Hub share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.text_classifier import TextClassifier
from modelselect.errors import CandidateError, ExpressionError
from modelselect_plugins.zoos import _export
from modelselect_plugins.zoos._hub import client
from modelselect_plugins.zoos._hub.files import CONFIGURATION, WEIGHTS, shards
from modelselect_plugins.zoos._hub.listing import NAME, TAGS, TAGS_BY_MODALITY, described, globbed, listed, resolved
from modelselect_plugins.zoos._hub.query import NO_TASK, Query
from modelselect_plugins.zoos._hub.snapshots import fetched, why_not_loaded
from modelselect_plugins.zoos._support import first_missing, is_glob, required, split_settings
from modelselect_plugins.zoos._timm.models import folder_skeleton, folder_skeleton_key, timm_folder
from modelselect_plugins.zoos._transformers import models as transformers_models
from modelselect_plugins.zoos._transformers import zero_shot
from modelselect_plugins.zoos._transformers.texts import TextSettings

if TYPE_CHECKING:
    import torch


WELL_KNOWN = (
    "albert/albert-base-v2",
    "BAAI/bge-base-en-v1.5",
    "BAAI/bge-small-en-v1.5",
    "distilbert/distilbert-base-uncased",
    "distilbert/distilroberta-base",
    "FacebookAI/roberta-base",
    "FacebookAI/roberta-large",
    "FacebookAI/xlm-roberta-base",
    "google-bert/bert-base-cased",
    "google-bert/bert-base-multilingual-cased",
    "google-bert/bert-base-uncased",
    "google-bert/bert-large-uncased",
    "openai-community/gpt2",
    "sentence-transformers/all-MiniLM-L6-v2",
    "sentence-transformers/all-mpnet-base-v2",
)
"""Models that people call by their name alone. Most of them were on the Hub before it had owners."""

_REVISION = re.compile(r"(?P<name>[^@]+)@(?P<revision>[\w-][\w./-]*)", re.ASCII)


class HubZoo(Zoo):
    """Models on the Hugging Face Hub, or on the server in `HF_ENDPOINT`."""

    name = "hub"

    def search(self, pattern: str) -> Iterable[Candidate]:
        required("huggingface_hub")
        if pattern.startswith("?"):
            return listed(Query.parse(pattern[1:]), pattern)
        match = _REVISION.fullmatch(pattern)
        name, revision = (match["name"], match["revision"]) if match else (pattern, None)
        repository, settings = split_settings(name)
        if is_glob(repository):
            return globbed(repository)
        if NAME.fullmatch(repository) is None or ".." in pattern:
            raise ExpressionError(
                f"{pattern!r} is not a pattern of the Hub; expected 'hub:owner/name', 'hub:owner/name@revision', "
                "'hub:owner/glob*' or 'hub:?key=value&...', such as 'hub:?task=image-classification&limit=20'"
            )
        if settings:
            TextSettings.of(settings)
        return [resolved(repository, revision, settings)]

    def for_task(self, pattern: str, task: str, modality: str) -> str:
        tags = TAGS.get(task) or TAGS_BY_MODALITY.get(modality)
        if tags is None or not pattern.startswith("?"):
            return pattern
        query = Query.parse(pattern[1:])
        if query.tasks:
            return pattern
        if query.author is not None:  # whose models are often without a tag, and few
            tags = (*tags, NO_TASK)
        return "&".join(filter(None, [pattern, f"task={'|'.join(tags)}"])).replace("?&", "?")

    def plain_names(self) -> Mapping[str, str]:
        return {pattern.split("/")[1]: pattern for pattern in WELL_KNOWN}

    def is_here(self, candidate: Candidate) -> bool:
        repository, _ = split_settings(candidate.name)
        folder = client.cached(repository, candidate.revision)
        if folder is None or not (folder / CONFIGURATION).is_file():
            return False
        names = {file.name for file in folder.iterdir() if file.is_file()}
        chosen = next((name for name in WEIGHTS if name in names), None)
        try:
            return chosen is not None and names.issuperset(shards(folder / chosen))
        except CandidateError:
            return False

    def is_reachable(self) -> bool:
        return client.is_reachable()

    def for_modality(self, candidate: Candidate, modality: str) -> Candidate:
        pooling = transformers_models.text_pooling(candidate.metadata)
        if modality != "text" or pooling is None:
            return candidate
        repository, settings = split_settings(candidate.name)
        return resolved(repository, candidate.revision, {**settings, "pooling": pooling})

    def in_detail(self, candidate: Candidate) -> Candidate:
        repository, settings = split_settings(candidate.name)
        folder = client.cached(repository, candidate.revision)
        known = {} if folder is None else described(folder, settings)
        return replace(candidate, metadata={**known, **candidate.metadata})

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        repository, settings = split_settings(candidate.name)
        found = fetched(candidate, weights=True, trust_remote_code=trust_remote_code)
        weights_key = f"hub:{repository}@{found.commit}"
        try:
            if found.form == "timm":
                if settings:
                    raise CandidateError(
                        f"the model takes images, but the settings {', '.join(settings)} are for text encoders; leave "
                        "them out"
                    )

                return timm_folder(found.path, candidate, weights_key)
            return transformers_models.load(
                found.path,
                candidate,
                weights_key,
                trust_remote_code=trust_remote_code,
                safetensors=not found.pickled,
                settings=settings,
            )
        except CandidateError:
            raise
        except Exception as error:
            raise CandidateError(why_not_loaded(found, error)) from error

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> torch.nn.Module:
        found = fetched(candidate, weights=False, trust_remote_code=trust_remote_code)
        if found.form == "timm":
            return folder_skeleton(found.path)
        _, settings = split_settings(candidate.name)
        return transformers_models.skeleton(found.path, trust_remote_code=trust_remote_code, settings=settings)

    def skeleton_key(self, candidate: Candidate, *, trust_remote_code: bool = False) -> str | None:
        found = fetched(candidate, weights=False, trust_remote_code=trust_remote_code)
        return folder_skeleton_key(found.path) if found.form == "timm" else None

    def text_classifier(self, candidate: Candidate, texts: Sequence[Sequence[str]]) -> TextClassifier | None:
        _, settings = split_settings(candidate.name)
        if settings or candidate.metadata.get("family") not in zero_shot.FAMILIES:
            return None
        found = fetched(candidate, weights=True, trust_remote_code=False)
        if found.form == "timm":
            return None
        return zero_shot.text_classifier(found.path, texts, safetensors=not found.pickled)

    def export(self, backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
        return _export.export(backbone, head, class_names, folder)

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        return _export.bundle(backbone, folder)

    def availability(self) -> str | None:
        return first_missing("huggingface_hub", "torch", "transformers", "timm")


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [HubZoo()]
