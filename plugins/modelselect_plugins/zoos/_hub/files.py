"""The files of a repository: which describe the model, which hold weights, and which bring code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelselect.errors import CandidateError
from modelselect_plugins.zoos._support import missing_library, one_line, required
from modelselect_plugins.zoos._transformers import images as transformers_images
from modelselect_plugins.zoos._weights import ADAPTER, ADAPTER_ALONE

CONFIGURATION = "config.json"

SMALL = re.compile(
    r"""(config|preprocessor_config|processor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab
    |modules|sentence_bert_config|config_sentence_transformers|\d+_\w+/config)\.json
    |vocab\.txt|merges\.txt|bpe\.codes|[\w-]+(\.bpe)?\.model""",
    re.VERBOSE | re.ASCII,
)

CODE = re.compile(r"[A-Za-z_]\w*\.py", re.ASCII)

_SHARD = re.compile(r"[\w-][\w.-]*\.(safetensors|bin)", re.ASCII)

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".pkl")


def is_description(name: str) -> bool:
    return name in (CONFIGURATION, transformers_images.PROCESSOR, transformers_images.NESTED_PROCESSOR)


def kind_of_weights(names: Iterable[str]) -> str:
    """`safetensors`, `pickle`, or `none` if nothing can be loaded here."""
    there = set(names)
    chosen = next((name for name in WEIGHTS if name in there), None)
    if chosen is None:
        return "none"
    return "safetensors" if "safetensors" in chosen else "pickle"


def needs_code(config: Mapping[str, Any]) -> bool:
    """True if only its own code can build it. By now, transformers may support its model type."""
    if "auto_map" not in config:
        return False
    kind = config.get("model_type")
    if missing_library("transformers") is not None or not isinstance(kind, str):
        return True
    return kind not in required("transformers").CONFIG_MAPPING


def is_timms(configuration: Mapping[str, Any]) -> bool:
    wrapped = configuration.get("model_type") == transformers_images.TIMM_INSIDE
    return isinstance(configuration.get("architecture"), str) and not wrapped


def chosen_weights(names: Iterable[str], form: str) -> str:
    """The file of weights to load, or the index of its shards; safetensors are preferred to pickles."""
    there = set(names)
    wanted = WEIGHTS if form == "transformers" else ("model.safetensors", "pytorch_model.bin")
    chosen = next((name for name in wanted if name in there), None)
    if chosen is None:
        others = sorted(name for name in there if name.endswith(_WEIGHT_SUFFIXES))
        raise CandidateError(
            f"the repository has no weights that can be loaded here; expected one of ({', '.join(wanted)})"
            + (f"; it has {', '.join(others[:3])}" if others else "")
        )
    return chosen


def shards(index: Path) -> list[str]:
    """The files that an index of shards lists; none if the weights are in one file.

    Raises:
        CandidateError: the index cannot be read, or names files outside its folder.
    """
    if not index.name.endswith(".index.json"):
        return []
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise CandidateError(f"the {index.name} cannot be read ({one_line(error)})") from None
    outside = [name for name in names if not isinstance(name, str) or _SHARD.fullmatch(name) is None]
    if outside:
        raise CandidateError(f"the {index.name} names {outside[0]!r}, which is not a file of weights in its folder")
    return names


def no_configuration(names: Iterable[str]) -> str:
    if ADAPTER in names:
        return ADAPTER_ALONE
    others = sorted(name for name in names if name.endswith(("config.json", "model_index.json", ".gguf")))
    return f"the repository has no {CONFIGURATION}, so the model cannot be built" + (
        f"; it has {', '.join(others[:3])}, which neither timm nor transformers loads as an encoder" if others else ""
    )
