"""Text encoders of transformers: what the files of a folder say of them, and which class loads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelselect.errors import CandidateError, ExpressionError, did_you_mean
from modelselect_plugins.zoos._support import json_of, read_json, required

POOLINGS: Mapping[str, str] = {
    "mean": "the mean of the last layer over the text's tokens",
    "cls": "the last layer at the class token, which is the first",
    "last": "the last layer at the text's last token",
    "max": "the maximum of the last layer over the text's tokens",
    "layer-mean": "the mean over the tokens and over all layers after the embedding",
    "head": "the input of the classifier, if the checkpoint has a trained one",
    "pooler": "the pooled output of SigLIP's text tower, which was trained on texts padded to its full length",
}
"""Values of `?pooling=...`."""

LONGEST = 512
"""Maximum number of tokens of a text, unless `max_length` is given: attention grows with its square."""

_NO_LIMIT = 10**9
"""Tokenizers without a limit state a number above this one."""

VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)

FILES = (
    *VOCABULARIES,
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "prophetnet.tokenizer",
    "sentencepiece.model",
    "source.spm",
    "spm_char.model",
    "target.spm",
    "target_vocab.json",
    "tekken.json",
    "tiktoken.model",
    "vocab-src.json",
    "vocab-tgt.json",
    "word_pronunciation.json",
    "word_shape.json",
)
"""Files read in addition to configuration and weights; the folder of pooling in `modules.json` is read, too."""

_SENTENCE_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "lasttoken": "last",
}
"""sentence-transformers' names, old and new, where they differ from ours."""

_POSITIONS_BEHIND_PADDING = frozenset(
    {
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "mpnet",
        "longformer",
        "xmod",
        "altclip_text_model",
    }
)
"""Families whose positions start after the padding's id, so that fewer positions are left for tokens."""

TEXT_TOWERS: Mapping[str, str] = {
    "align": "cls",
    "altclip": "cls",
    "blip": "cls",
    "chinese_clip": "cls",
    "clip": "last",
    "clipseg": "last",
    "metaclip_2": "last",
    "owlv2": "last",
    "owlvit": "last",
    "siglip": "pooler",
    "siglip2": "pooler",
}
"""Models of a vision tower and a text tower: the pooling with which the text tower was trained, by model type."""


@dataclass(frozen=True)
class TextSettings:
    """The settings in a candidate's name, `?pooling=mean&max_length=128`.

    Attributes:
        pooling: one of `POOLINGS`; None for the folder's own, else `head` for classifiers, `last` for decoders, `mean`.
        max_length: tokens; longer texts are cut. None for the limit of model and tokenizer, at most `LONGEST`.
    """

    pooling: str | None = None
    max_length: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> TextSettings:
        """Raises ExpressionError for an unknown name or an invalid value.

        >>> TextSettings.of({"pooling": "cls", "max_length": "128"})
        TextSettings(pooling='cls', max_length=128)
        """
        known = ("pooling", "max_length")
        for name in given:
            if name not in known:
                raise ExpressionError(
                    f"{name!r} is not a candidate's setting; expected {' or '.join(known)}.{did_you_mean(name, known)}"
                )
        pooling, length = given.get("pooling"), given.get("max_length")
        if pooling is not None and pooling not in POOLINGS:
            raise ExpressionError(f"pooling={pooling} is unknown; expected one of {', '.join(POOLINGS)}")
        if length is not None and not (length.isascii() and length.isdigit() and int(length) >= 3):
            raise ExpressionError(f"max_length={length} is not a number of tokens; expected at least 3, such as 128")
        return cls(pooling, None if length is None else int(length))


def files(path: Path) -> list[Path]:
    """The existing files of a text model's folder that are read in addition to configuration and weights."""
    pooling = _pooling_file(path)
    return [path / name for name in FILES if (path / name).is_file()] + ([pooling] if pooling else [])


def metadata(path: Path, configuration: Mapping[str, Any], settings: TextSettings) -> dict[str, Any]:
    """Metadata from the files, without transformers."""
    architecture = next(iter(configuration.get("architectures") or []), None)
    widths = (configuration.get(key) for key in ("hidden_size", "dim", "n_embd", "d_model"))
    classes = None
    if architecture is not None:
        labels = configuration.get("id2label")
        classes = (len(labels) if labels else 2) if _has_head(architecture) else 0  # 2 is the default
    known = {
        "modality": "text",
        "architecture": architecture,
        "family": configuration["model_type"],
        "input_size": (length_of(path, configuration, settings),),
        "context_length": _context_length(path, configuration),
        "feature_dim": next((width for width in widths if isinstance(width, int)), None),
        "source_classes": classes if tells_classes_apart(classes, configuration.get("problem_type")) else 0,
        "remote_code": "auto_map" in configuration,
    }
    if architecture is not None and not architecture.endswith("Model") and not _has_head(architecture):
        known["parameters"] = None  # the file includes a pre-training head, which is not loaded
    return known


def loader(configuration: Any) -> Any:
    """The class of transformers that loads it: with its classifier, if it has one, but without other heads.

    Raises:
        CandidateError: it has an encoder and a decoder that cannot be separated.
    """
    transformers = required("transformers")
    if is_classifier(configuration) and not configuration.is_encoder_decoder:
        return transformers.AutoModelForSequenceClassification
    if type(configuration) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return transformers.AutoModelForTextEncoding
    if not configuration.is_encoder_decoder:
        return transformers.AutoModel
    raise CandidateError(
        f"{configuration.model_type!r} is an encoder with a decoder, and transformers cannot load its encoder alone, "
        "so its features cannot be read"
    )


def made_ready(module: Any) -> Any:
    """The module with a padding id, and without a check of token ids for calls without a mask.

    That check is only for a warning, and fails on the meta device. Decoders with a classifier search the last token
    that is not padding, and refuse batches without a padding id.
    """
    configuration = module.config
    if not isinstance(configuration.pad_token_id, int) or configuration.pad_token_id < 0:
        configuration.pad_token_id = configuration.eos_token_id if isinstance(configuration.eos_token_id, int) else 0
    for part in module.modules():
        if hasattr(part, "warn_if_padding_and_no_attention_mask"):
            part.warn_if_padding_and_no_attention_mask = _no_warning
    return module


def _no_warning(*_: Any, **__: Any) -> None:
    """Replaces a warning."""


def stated_pooling(path: Path) -> str | None:
    """The pooling in a folder of sentence-transformers, by our name if we have one."""
    file = _pooling_file(path)
    if file is None:
        return None
    configuration = read_json(file)
    stated = configuration.get("pooling_mode")
    if stated is None:
        stated = [name for name, on in configuration.items() if name.startswith("pooling_mode_") and on is True]
    names = [stated] if isinstance(stated, str) else [str(name) for name in stated]
    return "+".join(_SENTENCE_POOLINGS.get(name, name) for name in names) or None


def encoder_folder(path: Path) -> Path | None:
    """The folder of the encoder inside a folder of old sentence-transformers; None if there is none."""
    modules = json_of(path / "modules.json")
    try:
        inner = path / Path(str(modules[0]["path"])).name  # always in this folder, whatever the path says
        return inner if inner != path and (inner / "config.json").is_file() else None
    except (OSError, LookupError, TypeError):
        return None


def _pooling_file(path: Path) -> Path | None:
    if not (path / "modules.json").is_file() and encoder_folder(path.parent) == path:
        path = path.parent
    modules = json_of(path / "modules.json")
    try:
        folder = next(module["path"] for module in modules if module["type"].endswith(".Pooling"))
        file = path / Path(str(folder)).name / "config.json"  # always in this folder, whatever the path says
        return file if file.is_file() else None
    except (OSError, LookupError, TypeError, AttributeError, StopIteration):
        return None


def length_of(path: Path, configuration: Mapping[str, Any], settings: TextSettings) -> int:
    """Maximum number of tokens: as given, else the minimum of the model's, the tokenizer's and `LONGEST`."""
    if settings.max_length is not None:
        return settings.max_length
    said = (
        positions_of(configuration),
        read_json(path / "tokenizer_config.json").get("model_max_length"),
        read_json(path / "sentence_bert_config.json").get("max_seq_length"),
    )
    return min([LONGEST, *(int(min(n, LONGEST)) for n in said if isinstance(n, int | float) and n >= 1)])


def _context_length(path: Path, configuration: Mapping[str, Any]) -> int | None:
    """Tokens that the model can take, whatever is read by default; None if nothing says it."""
    stated = read_json(path / "tokenizer_config.json").get("model_max_length")
    known = isinstance(stated, int) and 0 < stated < _NO_LIMIT
    return positions_of(configuration) or (stated if known else None)


def positions_of(configuration: Mapping[str, Any]) -> int | None:
    """The number of positions for tokens; None if there is no limit or none is given."""
    keys = ("max_position_embeddings", "n_positions")
    positions = next((configuration[key] for key in keys if isinstance(configuration.get(key), int)), 0)
    if configuration.get("model_type") in _POSITIONS_BEHIND_PADDING:
        padding_id = configuration.get("pad_token_id", 1)
        positions -= (padding_id if isinstance(padding_id, int) else 1) + 1
    return positions if positions > 0 else None


def is_classifier(configuration: Any) -> bool:
    return any(_has_head(name) for name in configuration.architectures or [])


def _has_head(architecture: str) -> bool:
    return architecture.endswith("ForSequenceClassification")


def tells_classes_apart(classes: int | None, problem: str | None) -> bool:
    """True if its logits are for mutually exclusive classes: neither a regression, nor multi-label."""
    return classes is not None and classes > 1 and problem not in ("regression", "multi_label_classification")
