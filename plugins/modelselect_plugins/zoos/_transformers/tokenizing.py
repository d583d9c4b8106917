"""The tokenizer of a text encoder as its preprocessing."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from modelselect.candidates.preprocessing import TextPreprocessing
from modelselect.errors import CandidateError
from modelselect_plugins.zoos._support import one_line, read_json, required
from modelselect_plugins.zoos._transformers.texts import VOCABULARIES, TextSettings, length_of, positions_of

SEGMENT = 1 << 24
"""Added to each token of the second text of a pair, times its token type; above the ids of every vocabulary."""

EXAMPLES = ("A short text.", "A text that is a little longer than the other one, so that one of them is padded.")
"""Texts of different lengths, which show how a tokenizer and a model treat texts."""


def preprocessing(
    path: Path, configuration: Any, settings: TextSettings, *, trust_remote_code: bool
) -> TextPreprocessing:
    """The folder's tokenizer.

    Raises:
        CandidateError: the folder has no tokenizer, or the given length exceeds the model's limit.
    """
    _check_vocabulary(path)
    declared = configuration.to_dict()
    limit = positions_of(declared)
    if settings.max_length is not None and limit is not None and settings.max_length > limit:
        raise CandidateError(f"max_length={settings.max_length} exceeds the model's limit of {limit} tokens")
    lower = read_json(path / "sentence_bert_config.json").get("do_lower_case") is True
    length = length_of(path, declared, settings)
    tokens = _Tokenizer(path, trust_remote_code, length, configuration.vocab_size, lower)
    tokens.encode(EXAMPLES[1])  # sets the truncation before threads use the tokenizer
    return TextPreprocessing(tokens.encode, length, f"text:{tokens.digest}", tokens.encode_pair, tokens.encode_words)


class _Tokenizer:
    """A folder's tokenizer, as `TextPreprocessing` calls it.

    Args:
        path: the folder.
        trust_remote_code: whether code in the folder may run.
        length: number of tokens at which texts are cut.
        vocabulary: number of tokens that the model knows.
        lower: whether texts are written in lower case.

    Raises:
        CandidateError: the tokenizer cannot be loaded.
    """

    def __init__(self, path: Path, trust_remote_code: bool, length: int, vocabulary: int, lower: bool) -> None:
        self._path, self._trusted = path, trust_remote_code
        self._length, self._vocabulary, self._lower = length, vocabulary, lower
        try:
            self._tokenizer = self._load()
        except Exception as error:
            raise CandidateError(f"the tokenizer cannot be loaded ({one_line(error)})") from error
        marks = (self._tokenizer.eos_token_id, self._tokenizer.bos_token_id)
        self._filler = next((mark for mark in marks if mark is not None), 0)
        self._separates = _separates(self._tokenizer)

    @property
    def digest(self) -> str:
        """Of everything that decides the tokens of a text."""
        kind, contents = type(self._tokenizer).__qualname__, _contents(self._tokenizer)
        key = f"{kind}:{self._length}:{self._vocabulary}:{self._lower}:{self._filler}:{contents}"
        return hashlib.sha256(key.encode()).hexdigest()

    def encode(self, text: str) -> Sequence[int]:
        ids: list[int] = self._tokens(text)[0]
        return ids

    def encode_pair(self, first: str, second: str) -> Sequence[int]:
        if not self._separates:
            raise CandidateError(
                "the tokenizer writes the two texts of a pair as one, with nothing between them, so the model cannot "
                "tell them apart"
            )
        ids, types = self._tokens(first, second)
        return ids if types is None else [i + SEGMENT * kind for i, kind in zip(ids, types, strict=True)]

    def encode_words(self, words: Sequence[str]) -> tuple[Sequence[int], Sequence[int | None]]:
        """The tokens of a sentence, and the place of each word's first token."""
        given = self._of_words(
            [word.lower() for word in words] if self._lower else list(words),
            is_split_into_words=True,
            truncation=True,
            max_length=self._length,
            verbose=False,
        )
        places: list[int | None] = [None] * len(words)
        for place, word in reversed(list(enumerate(given.word_ids()))):
            if word is not None:
                places[word] = place
        return given["input_ids"], _with_places_of_nothing(places)

    def _tokens(self, *texts: str) -> Any:
        """Ids and, if the tokenizer gives them, token types."""
        texts = tuple(text.lower() for text in texts) if self._lower else texts
        cut = {"truncation": True, "max_length": self._length}  # of a pair, the longer is cut
        given = self._tokenizer(*texts, **cut, verbose=False)
        ids: list[int] = given["input_ids"] or [self._filler]
        if max(ids) >= self._vocabulary:
            raise CandidateError(
                f"the tokenizer gives token {max(ids)}, but the model has only {self._vocabulary} tokens: tokenizer "
                "and weights do not belong together"
            )
        return ids, given.get("token_type_ids")

    @cached_property
    def _of_words(self) -> Any:
        """The tokenizer as it takes the words of a sentence one by one.

        Raises:
            CandidateError: it cannot say which token belongs to which word.
        """
        if not self._tokenizer.is_fast:
            raise CandidateError("the tokenizer cannot say which token belongs to which word: it is no fast tokenizer")
        if getattr(self._tokenizer, "add_prefix_space", True) is False:  # all words but the first begin with a space
            return self._load(add_prefix_space=True)
        return self._tokenizer

    def _load(self, **settings: Any) -> Any:
        transformers = required("transformers")
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            self._path, trust_remote_code=self._trusted, local_files_only=True, **settings
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


def _separates(tokenizer: Any) -> bool:
    """True if the tokenizer puts a token between the two texts of a pair."""
    first, second = (tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in EXAMPLES)
    pair, joined = tokenizer(*EXAMPLES, verbose=False)["input_ids"], first + second
    return not any(pair[start : start + len(joined)] == joined for start in range(len(pair) - len(joined) + 1))


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


def _contents(tokenizer: Any) -> str:
    """Everything that defines a tokenizer: the vocabulary, and every step before and after."""
    if tokenizer.is_fast:
        return str(tokenizer.backend_tokenizer.to_str())
    settings = {key: str(value) for key, value in tokenizer.init_kwargs.items() if not key.endswith(("_file", "_path"))}
    return json.dumps([tokenizer.get_vocab(), settings], sort_keys=True)
