"""Text encoders of transformers: the tokenizer as preprocessing, features pooled over the tokens of each text.

The pooler of a checkpoint (`pooler_output`) is never read, since it may have no trained weights.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Outputs, Reader
from modelselect.candidates.preprocessing import PADDING, TextPreprocessing
from modelselect.candidates.readers import HeadInput, reader_for_module
from modelselect.errors import CandidateError, ExpressionError, did_you_mean
from modelselect_plugins.zoos._support import one_line, read_json, required

if TYPE_CHECKING:
    import torch

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

_TRAINED_POOLERS = frozenset({"siglip_text_model", "siglip2_text_model"})

_EXAMPLES = ("A short text.", "A text that is a little longer than the other one, so that one of them is padded.")


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
        "input_size": (_length(path, configuration, settings),),
        "context_length": _context_length(path, configuration),
        "feature_dim": next((width for width in widths if isinstance(width, int)), None),
        "source_classes": classes if _tells_classes_apart(classes, configuration.get("problem_type")) else 0,
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
    if _is_classifier(configuration) and not configuration.is_encoder_decoder:
        return transformers.AutoModelForSequenceClassification
    if type(configuration) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return transformers.AutoModelForTextEncoding
    if not configuration.is_encoder_decoder:
        return transformers.AutoModel
    raise CandidateError(
        f"{configuration.model_type!r} is an encoder with a decoder, and transformers cannot load its encoder alone, "
        "so its features cannot be read"
    )


def preprocessing(
    path: Path, configuration: Any, settings: TextSettings, *, trust_remote_code: bool
) -> TextPreprocessing:
    """The folder's tokenizer.

    Raises:
        CandidateError: the folder has no tokenizer, or the given length exceeds the model's limit.
    """
    transformers = required("transformers")
    _check_vocabulary(path)
    declared = configuration.to_dict()
    limit = _positions(declared)
    if settings.max_length is not None and limit is not None and settings.max_length > limit:
        raise CandidateError(f"max_length={settings.max_length} exceeds the model's limit of {limit} tokens")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except Exception as error:
        raise CandidateError(f"the tokenizer cannot be loaded ({one_line(error)})") from error
    length, vocabulary = _length(path, declared, settings), configuration.vocab_size
    lower = read_json(path / "sentence_bert_config.json").get("do_lower_case") is True
    tokenizer.truncation_side = "right"
    filler = next((i for i in (tokenizer.eos_token_id, tokenizer.bos_token_id) if i is not None), 0)

    def tokens(*texts: str) -> Any:
        texts = tuple(text.lower() for text in texts) if lower else texts
        given = tokenizer(*texts, truncation=True, max_length=length, verbose=False)  # of a pair, the longer is cut
        ids: list[int] = given["input_ids"] or [filler]
        if max(ids) >= vocabulary:
            raise CandidateError(
                f"the tokenizer gives token {max(ids)}, but the model has only {vocabulary} tokens: tokenizer and "
                "weights do not belong together"
            )
        return ids, given.get("token_type_ids")

    def encode(text: str) -> Sequence[int]:
        ids: list[int] = tokens(text)[0]
        return ids

    def encode_pair(first: str, second: str) -> Sequence[int]:
        if not separated:
            raise CandidateError(
                "the tokenizer writes the two texts of a pair as one, with nothing between them, so the model cannot "
                "tell them apart"
            )
        ids, types = tokens(first, second)
        return ids if types is None else [i + SEGMENT * kind for i, kind in zip(ids, types, strict=True)]

    @functools.cache
    def of_words() -> Any:
        return _tokenizer_of_words(tokenizer, path, trust_remote_code)

    def encode_words(words: Sequence[str]) -> tuple[Sequence[int], Sequence[int | None]]:
        given = of_words()(
            [word.lower() for word in words] if lower else list(words),
            is_split_into_words=True,
            truncation=True,
            max_length=length,
            verbose=False,
        )
        places: list[int | None] = [None] * len(words)
        for place, word in reversed(list(enumerate(given.word_ids()))):
            if word is not None:
                places[word] = place
        return given["input_ids"], _with_places_of_nothing(places)

    separated = _separates(tokenizer)
    encode(_EXAMPLES[1])  # sets the truncation before threads use the tokenizer
    key = f"{type(tokenizer).__qualname__}:{length}:{vocabulary}:{lower}:{filler}:{_contents(tokenizer)}"
    return TextPreprocessing(
        encode, length, f"text:{hashlib.sha256(key.encode()).hexdigest()}", encode_pair, encode_words
    )


def _tokenizer_of_words(tokenizer: Any, path: Path, trust_remote_code: bool) -> Any:
    """The tokenizer as it takes the words of a sentence one by one.

    Raises:
        CandidateError: it cannot say which token belongs to which word.
    """
    transformers = required("transformers")
    if not tokenizer.is_fast:
        raise CandidateError("the tokenizer cannot say which token belongs to which word: it is no fast tokenizer")
    if getattr(tokenizer, "add_prefix_space", True) is False:  # words after the first begin with a space, all of them
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code, local_files_only=True, add_prefix_space=True
        )
        tokenizer.truncation_side = "right"
    return tokenizer


def _with_places_of_nothing(places: Sequence[int | None]) -> list[int | None]:
    """The places of words, where a word without tokens between others has the place of the one before it."""
    found = list(places)
    last = max((number for number, place in enumerate(found) if place is not None), default=-1)
    before = 0
    for number in range(last + 1):
        before = before if (place := found[number]) is None else place
        found[number] = before
    return found


SEGMENT = 1 << 24
"""Added to each token of the second text of a pair, times its token type; above the ids of every vocabulary."""


def _separates(tokenizer: Any) -> bool:
    """True if the tokenizer puts a token between the two texts of a pair."""
    first, second = (tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in _EXAMPLES)
    pair, joined = tokenizer(*_EXAMPLES, verbose=False)["input_ids"], first + second
    return not any(pair[start : start + len(joined)] == joined for start in range(len(pair) - len(joined) + 1))


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


def reader(module: Any, prepared: TextPreprocessing, path: Path, settings: TextSettings) -> Reader:
    """How to read features from a ready module, and logits if it has a trained classifier of several classes.

    Raises:
        CandidateError: the pooling does not fit the model, the forward pass fails, or the model reads padding.
    """
    import torch

    configuration = module.config
    classifier = _is_classifier(configuration) and not configuration.is_encoder_decoder
    has_logits = classifier and _tells_classes_apart(configuration.num_labels, configuration.problem_type)
    padding_id = configuration.pad_token_id
    rows = torch.stack([prepared.prepare(text) for text in _EXAMPLES])
    batch = prepared.finish(rows)
    try:
        head = None
        if classifier:
            located = reader_for_module(module, arguments(batch, padding_id))
            head = located.head if isinstance(located, HeadInput) else None
        pooling = settings.pooling or _stated_pooling(path) or _usual_pooling(configuration, head)
        _check_pooling(pooling, head, prepared, configuration)
        found = PooledTokens(pooling, padding_id, token_types(module), head, has_logits)
        with torch.no_grad():
            padded, alone = found(module, batch), found(module, prepared.finish(rows[:1]))
        _check_padding(padded, alone)
    except CandidateError:
        raise
    except Exception as error:
        raise CandidateError(f"the model cannot be read as a text encoder with features ({one_line(error)})") from error
    return found


@dataclass(frozen=True)
class PooledTokens:
    """Features pooled over each text's own tokens; texts of similar length are batched together, for little padding.

    Attributes:
        pooling: one of `POOLINGS`.
        padding_id: fills the rest of a row after the end of a text.
        types: number of token types that the module knows; see `arguments`.
        head: name of the classifier's submodule; None without one.
        has_logits: True if the module's output has logits of source classes.
    """

    pooling: str
    padding_id: int
    types: int = 0
    head: str | None = None
    has_logits: bool = False

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        import torch

        lengths = (batch != PADDING).sum(1).tolist()
        groups = list(of_like_length(lengths))
        parts = [self._read(module, batch[group, : lengths[group[0]]]) for group in groups]
        places = torch.tensor([row for group in groups for row in group], device=batch.device).argsort()
        logits = [part.logits for part in parts if part.logits is not None]
        return Outputs(
            torch.cat([part.features for part in parts])[places], torch.cat(logits)[places] if logits else None
        )

    def each_token(self) -> EachToken:
        """The reader of all tokens, where this one pools them."""
        return EachToken(self.padding_id, self.pooling)

    def _read(self, module: Any, batch: torch.Tensor) -> Outputs:
        named = arguments(batch, self.padding_id, self.types)
        if self.pooling == "head":
            assert self.head is not None
            return HeadInput(self.head, self.has_logits)(module, named)
        if self.pooling == "pooler":
            return Outputs(_trained_pooler(module, named["input_ids"]), None)
        seen: list[Any] = []
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            output = module(**named, output_hidden_states=self.pooling == "layer-mean")
        finally:
            handle.remove()
        encoded = seen[-1] if seen else output  # without a head, the model itself is the base, and its hook may not run
        return Outputs(
            _pooled(encoded, named["attention_mask"], self.pooling), output.logits if self.has_logits else None
        )


@dataclass(frozen=True)
class EachToken:
    """The last layer at each token, not pooled: features (B, T, D), which mean nothing at padding.

    Attributes:
        padding_id: fills the rest of a row after the end of a text.
        pooling: of the reader that this one stands for.
    """

    padding_id: int
    pooling: str = "mean"

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        lengths = (batch != PADDING).sum(1).tolist()
        found: torch.Tensor | None = None
        for group in of_like_length(lengths):
            longest = lengths[group[0]]
            hidden = self._hidden(module, batch[group, :longest])
            if found is None:
                found = hidden.new_zeros((*batch.shape, hidden.shape[-1]))
            found[group, :longest] = hidden
        assert found is not None
        return Outputs(found, None)

    def _hidden(self, module: Any, batch: torch.Tensor) -> torch.Tensor:
        seen: list[Any] = []
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            output = module(**arguments(batch, self.padding_id))
        finally:
            handle.remove()
        hidden: torch.Tensor = (seen[-1] if seen else output).last_hidden_state
        return hidden


LEAST_TOKENS = 1024
"""Number of tokens in a group before a new group for shorter texts may begin: fewer would leave the device idle."""

LEAST_SHARE = 0.8
"""Minimum length of texts in a group of `LEAST_TOKENS`, relative to the longest."""


def of_like_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts in groups of similar length, longest first.

    >>> list(of_like_length([10, 500, 490, 510, 500, 505]))
    [[3, 5, 1, 4, 2], [0]]
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[group[0]] if group else 0
        if len(group) * longest >= LEAST_TOKENS and lengths[index] < LEAST_SHARE * longest:
            yield group
            group = []
        group.append(index)
    yield group


def arguments(batch: torch.Tensor, padding_id: int, types: int = 0) -> dict[str, torch.Tensor]:
    """The module's arguments for a batch of token ids with `PADDING` after the end of each text.

    Args:
        batch: (B, T); the tokens of second texts of pairs are `SEGMENT` higher.
        padding_id: fills the rest of a row.
        types: number of token types that the module knows. Below 2, it is not given any.
    """
    mask = batch != PADDING
    ids = batch.masked_fill(~mask, padding_id)
    named = {"input_ids": ids % SEGMENT, "attention_mask": mask.long()}
    if types > 1 and int(ids.max()) >= SEGMENT:
        named["token_type_ids"] = ids // SEGMENT
    return named


def token_types(module: Any) -> int:
    """How many token types a module knows, if it takes any: the first and the second text of a pair are two."""
    takes = "token_type_ids" in inspect.signature(module.forward).parameters
    known = getattr(module.config, "type_vocab_size", None)
    return (known if isinstance(known, int) else 2) if takes else 0


def _pooled(output: Any, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, D) from the encoder's output for (B, T) tokens."""
    import torch

    hidden: torch.Tensor = output.last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    if pooling == "max":
        return hidden.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)
    if pooling == "layer-mean":
        hidden = torch.stack(output.hidden_states[1:]).mean(0)
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _trained_pooler(module: Any, ids: torch.Tensor) -> torch.Tensor:
    """(B, D) from (B, T) token ids: the tower was trained on texts padded to one length, and without a mask."""
    import torch

    missing = module.config.max_position_embeddings - ids.shape[1]
    pooled: torch.Tensor = module(
        input_ids=torch.nn.functional.pad(ids, (0, missing), value=module.config.pad_token_id)
    ).pooler_output
    return pooled


def _check_vocabulary(path: Path) -> None:
    there = [name for name in VOCABULARIES if (path / name).is_file()]
    if not there:  # transformers would create an empty one
        raise CandidateError(
            f"the folder has no tokenizer; expected one of {', '.join(VOCABULARIES)} next to config.json"
        )
    if all(name.endswith(".model") for name in there):
        try:
            for library in ("sentencepiece", "google.protobuf"):
                importlib.import_module(library)
        except ImportError as error:  # transformers' own message would be misleading
            raise CandidateError(
                f"the tokenizer is only in sentencepiece's form ({there[0]}), which cannot be read here "
                f"({one_line(error)}); fix this with: pip install sentencepiece protobuf"
            ) from error


def _check_pooling(pooling: str, head: str | None, prepared: TextPreprocessing, configuration: Any) -> None:
    if pooling not in POOLINGS:
        raise CandidateError(
            f"the modules.json asks for the pooling {pooling!r}, which is not supported. Give another one: "
            f"?pooling= with {', '.join(POOLINGS)}"
        )
    if pooling == "head" and head is None:
        raise CandidateError("pooling=head needs a trained classifier, which the model does not have; try pooling=mean")
    if pooling == "pooler" and configuration.model_type not in _TRAINED_POOLERS:
        raise CandidateError("pooling=pooler is only for the text towers of SigLIP; try pooling=mean")
    if pooling == "cls" and len({int(prepared.prepare(text)[0]) for text in ("One", "text", "2")}) > 1:
        raise CandidateError(
            "pooling=cls needs a token before the text, which the tokenizer does not add; try pooling=mean"
        )


def _check_padding(padded: Outputs, alone: Outputs) -> None:
    """A text must have the same outputs in a batch with a longer one as alone; XLNet's classifier reads the padding."""
    for among, own in zip(padded, alone, strict=True):
        if among is not None and own is not None and (among[:1] - own).abs().max() > 1e-3 * own.abs().max():
            raise CandidateError(
                "the outputs for a text change with the padding after the text, so no score could be repeated"
            )


def _usual_pooling(configuration: Any, head: str | None) -> str:
    transformers = required("transformers")
    if head is not None:
        return "head"
    kind = type(configuration)
    family = str(configuration.model_type).removesuffix("_text_model")
    if family in TEXT_TOWERS:  # a text tower in a folder of its own
        return TEXT_TOWERS[family]
    writes = kind in transformers.MODEL_FOR_CAUSAL_LM_MAPPING and kind not in transformers.MODEL_FOR_MASKED_LM_MAPPING
    return "last" if writes else "mean"


def _stated_pooling(path: Path) -> str | None:
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
    try:
        modules = json.loads((path / "modules.json").read_bytes())
        inner = path / Path(str(modules[0]["path"])).name  # always in this folder, whatever the path says
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return inner if inner != path and (inner / "config.json").is_file() else None


def _pooling_file(path: Path) -> Path | None:
    if not (path / "modules.json").is_file() and encoder_folder(path.parent) == path:
        path = path.parent
    try:
        modules = json.loads((path / "modules.json").read_bytes())
        folder = next(module["path"] for module in modules if module["type"].endswith(".Pooling"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    file = path / Path(str(folder)).name / "config.json"  # always in this folder, whatever the path says
    return file if file.is_file() else None


def _length(path: Path, configuration: Mapping[str, Any], settings: TextSettings) -> int:
    """Maximum number of tokens: as given, else the minimum of the model's, the tokenizer's and `LONGEST`."""
    if settings.max_length is not None:
        return settings.max_length
    said = (
        _positions(configuration),
        read_json(path / "tokenizer_config.json").get("model_max_length"),
        read_json(path / "sentence_bert_config.json").get("max_seq_length"),
    )
    return min([LONGEST, *(int(min(n, LONGEST)) for n in said if isinstance(n, int | float) and n >= 1)])


def _context_length(path: Path, configuration: Mapping[str, Any]) -> int | None:
    """Tokens that the model can take, whatever is read by default; None if nothing says it."""
    stated = read_json(path / "tokenizer_config.json").get("model_max_length")
    known = isinstance(stated, int) and 0 < stated < _NO_LIMIT
    return _positions(configuration) or (stated if known else None)


def _positions(configuration: Mapping[str, Any]) -> int | None:
    """The number of positions for tokens; None if there is no limit or none is given."""
    keys = ("max_position_embeddings", "n_positions")
    positions = next((configuration[key] for key in keys if isinstance(configuration.get(key), int)), 0)
    if configuration.get("model_type") in _POSITIONS_BEHIND_PADDING:
        padding_id = configuration.get("pad_token_id", 1)
        positions -= (padding_id if isinstance(padding_id, int) else 1) + 1
    return positions if positions > 0 else None


def _is_classifier(configuration: Any) -> bool:
    return any(_has_head(name) for name in configuration.architectures or [])


def _has_head(architecture: str) -> bool:
    return architecture.endswith("ForSequenceClassification")


def _tells_classes_apart(classes: int | None, problem: str | None) -> bool:
    """True if its logits are for mutually exclusive classes: neither a regression, nor multi-label."""
    return classes is not None and classes > 1 and problem not in ("regression", "multi_label_classification")


def _contents(tokenizer: Any) -> str:
    """Everything that defines a tokenizer: the vocabulary, and every step before and after."""
    if tokenizer.is_fast:
        return str(tokenizer.backend_tokenizer.to_str())
    settings = {key: str(value) for key, value in tokenizer.init_kwargs.items() if not key.endswith(("_file", "_path"))}
    return json.dumps([tokenizer.get_vocab(), settings], sort_keys=True)
