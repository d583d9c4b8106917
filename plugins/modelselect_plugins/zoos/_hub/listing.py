"""What exists on the Hub: candidates with the facts that the Hub and their small files state."""

from __future__ import annotations

import fnmatch
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate
from modelselect.errors import ExpressionError, ModelSelectError, SearchError
from modelselect_plugins.zoos._hub import client
from modelselect_plugins.zoos._hub.files import (
    CONFIGURATION,
    SMALL,
    WEIGHTS,
    is_description,
    is_timms,
    kind_of_weights,
    needs_code,
)
from modelselect_plugins.zoos._hub.query import Query
from modelselect_plugins.zoos._support import is_glob, language_codes, one_line, sound, with_settings
from modelselect_plugins.zoos._timm.models import configured
from modelselect_plugins.zoos._transformers import models as transformers_models
from modelselect_plugins.zoos._transformers.texts import TEXT_TOWERS

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo


MAX_SCANNED = 10_000
"""Maximum number of entries checked for one query, if the Hub cannot apply all its conditions itself."""

NAME = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)

_BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16}

_TWO_LETTERS = (
    "aaabaeafakamanarasavayazbabebgbhbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleneoeseteufafffifjfofrfyga"
    "gdglgngugvhahehihohrhthuhyhziaidieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulv"
    "mgmhmimkmlmnmrmsmtmynanbndnengnlnnnonrnvnyocojomorospapiplpsptqurmrnrorurwsascsdsesgshsiskslsmsnsosq"
    "srssstsusvswtatetgthtitktltntotrtstttwtyugukuruzvevivowawoxhyiyozazhzu"
)

_LANGUAGES = frozenset({"multilingual", *re.findall("..", _TWO_LETTERS)})
"""The codes of ISO 639-1, and the word for many languages. Codes of three letters look like other
tags."""

_IMAGE_TASKS = ("image-classification", "image-feature-extraction", "zero-shot-image-classification")

_TEXT_TASKS = ("fill-mask", "sentence-similarity", "text-classification", "token-classification")

TAGS_BY_MODALITY = {"image": _IMAGE_TASKS, "text": (*_TEXT_TASKS, "feature-extraction")}

TAGS = {
    "audio-classification": ("audio-classification", "automatic-speech-recognition", "feature-extraction"),
    "detection": ("object-detection", *_IMAGE_TASKS),
    "retrieval": ("sentence-similarity", "feature-extraction", "fill-mask"),
    "segmentation": ("image-segmentation", *_IMAGE_TASKS),
    "text-pair": ("sentence-similarity", "text-classification", "feature-extraction", "fill-mask"),
    "token-classification": ("token-classification", "fill-mask"),
}
"""The Hub's tags of models whose features suit a task. Other tasks take what suits the modality of the rows."""


def listed(query: Query, text: str, *, glob: str = "*") -> list[Candidate]:
    found: list[Candidate] = []
    try:
        for scanned, info in enumerate(client.listing(query), 1):
            if NAME.fullmatch(info.id) is None or not client.is_commit(info.sha):
                continue  # the Hub itself never returns this
            metadata = _facts(info)
            if query.matches(metadata) and fnmatch.fnmatchcase(info.id.lower(), glob.lower()):
                found.append(Candidate("hub", info.id, info.sha, metadata))
            if len(found) == query.limit or query.exhausted(metadata):
                break
            if scanned == MAX_SCANNED:
                warnings.warn(
                    f"{text!r}: only the first {MAX_SCANNED:,} models that the Hub lists were checked, and "
                    f"{len(found)} match; add conditions that the Hub can apply: task, library, author, license, "
                    "search",
                    stacklevel=2,
                )
                break
    except ModelSelectError:
        raise
    except Exception as error:
        raise SearchError(f"{text!r} could not be searched: {client.why_not_listed(error, text)}") from error
    return found


def globbed(pattern: str) -> list[Candidate]:
    """An owner's models by name; the Hub is searched for the longest part of the glob without wildcards."""
    owner, _, name = pattern.partition("/")
    if not name or is_glob(owner):
        raise ExpressionError(
            f"{pattern!r} matches models of any owner; name the owner, as in 'hub:google/vit-*', or give a query: "
            "'hub:?search=vit&task=image-classification'"
        )
    plain = max(re.split(r"\[[^\]]*\]|[*?]+", name), key=len)
    query = Query(author=owner, search=plain or None, limit=MAX_SCANNED)
    return listed(query, pattern, glob=pattern)


def resolved(repository: str, revision: str | None, settings: Mapping[str, str]) -> Candidate:
    """One model, at the present commit of its revision; from the client's cache if the Hub is unreachable."""
    try:
        info = client.info(repository, revision)
    except Exception as error:
        path = client.cached(repository, revision) if client.unreachable(error) else None
        if path is None or not (path / CONFIGURATION).is_file():
            raise SearchError(f"{repository!r} could not be looked up: {client.why(error, repository)}") from error
        metadata = {"url": client.page(repository), **described(path, settings)}
        return Candidate("hub", with_settings(repository, settings), path.name, metadata)
    if not isinstance(info.id, str) or NAME.fullmatch(info.id) is None or not client.is_commit(info.sha):
        raise SearchError(
            f"{repository!r} could not be looked up: the Hub's answer names no model and commit. Check HF_ENDPOINT, "
            "and try again later"
        )
    try:
        metadata = _facts(info)
    except Exception as error:
        raise SearchError(
            f"{repository!r} could not be looked up: the Hub's answer cannot be used ({one_line(error)})"
        ) from error
    try:
        digests = {name: digest for name, digest in client.digests(info).items() if is_description(name)}
        paths = [client.download(info.id, str(info.sha), name, digests[name]) for name in sorted(digests)]
        if paths:
            metadata |= described(paths[0].parent, settings)
            if metadata.get("family") in TEXT_TOWERS and not metadata.get("source_classes"):
                metadata.pop("parameters", None)  # the Hub counts those of both towers
    except Exception:  # for example gated: loading it reports this
        pass
    return Candidate("hub", with_settings(info.id, settings), info.sha, metadata)


def _facts(info: ModelInfo) -> dict[str, Any]:
    """A candidate's metadata from the Hub's data about it."""
    names = [file.rfilename for file in info.siblings or []]
    tags = [tag for tag in info.tags or [] if isinstance(tag, str)]
    config = info.config if isinstance(info.config, dict) else {}  # written by others, so of any type
    library = info.library_name or next((tag for tag in ("timm", "transformers") if tag in tags), None)
    named = config.get("architectures")
    architectures = [config.get("architecture"), *(named if isinstance(named, list) else ())]
    known: dict[str, Any] = {
        "architecture": next(filter(None, architectures), None),
        "family": config.get("model_type"),
        "modality": _modality(info.pipeline_tag, library),
        "task": info.pipeline_tag,
        "library": library,
        "parameters": info.safetensors.total if info.safetensors else None,
        "source_dataset": ", ".join(tag.removeprefix("dataset:") for tag in tags if tag.startswith("dataset:")) or None,
        "license": next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None),
        "languages": language_codes(getattr(info.card_data, "language", None)) or _languages_among(tags),
        "downloads": info.downloads,
        "likes": info.likes,
        "gated": None if info.gated is None else bool(info.gated),
        "private": info.private,
        "weights": kind_of_weights(names) if info.siblings is not None else None,
        "scan": _scan(info.security_repo_status),
        "download_bytes": _download_bytes(info),
        "url": client.page(info.id),
        "remote_code": needs_code(config),
    }
    return sound(known)


def described(path: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    """A candidate's metadata from the configuration in a folder; unknown values are left out."""
    try:
        configuration = json.loads((path / CONFIGURATION).read_bytes())
        if is_timms(configuration):
            return configured(configuration)
        known = transformers_models.metadata(path, configuration, settings) | {"remote_code": needs_code(configuration)}
    except Exception:  # a file from others may hold anything; loading it reports faults
        return {}
    if known.get("input_size") is not None:
        known.setdefault("modality", "image")
    return sound(known)


def _languages_among(tags: Iterable[str]) -> tuple[str, ...] | None:
    """The codes of languages among a model's tags, which hold those of its card; a listing has no card."""
    return language_codes([tag for tag in tags if tag in _LANGUAGES])


def _modality(task: str | None, library: str | None) -> str | None:
    if task in _IMAGE_TASKS or library == "timm":
        return "image"
    return "text" if task in _TEXT_TASKS or library == "sentence-transformers" else None


def _scan(status: Mapping[str, Any] | None) -> str | None:
    """Result of the Hub's scan for viruses and harmful pickles: `safe`, `pending`, or the files that it warns of."""
    if status is None:
        return None
    issues = [f"{issue.get('path')} ({issue.get('level')})" for issue in status.get("filesWithIssues") or []]
    return ", ".join(issues) or ("safe" if status.get("scansDone") else "pending")


def _download_bytes(info: ModelInfo) -> int | None:
    """Bytes of the files that loading needs, if their sizes are known; in a listing, those of the tensors only."""
    sizes = {file.rfilename: file.size for file in info.siblings or [] if file.size is not None}
    if not sizes:
        counts = info.safetensors.parameters if info.safetensors else None
        return sum(count * _BITS.get(dtype, 8) // 8 for dtype, count in counts.items()) if counts else None
    first = next((name for name in WEIGHTS if name in sizes), None)
    taken = {name for name in sizes if SMALL.fullmatch(name)} | ({first} if first else set())
    if first is not None and first.endswith(".index.json"):
        stem, kind = first.split(".")[0], first.split(".")[1]
        taken |= {name for name in sizes if name.startswith(f"{stem}-") and name.endswith(f".{kind}")}
    return sum(sizes[name] for name in taken)
