"""Sentences that are given as words: what models get to see of a tagged sentence, and of one word of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as its words, all of which a model reads.

    Attributes:
        words: in order; none is empty.
    """

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a sentence, which a model reads among the others.

    Attributes:
        words: of the whole sentence, in order.
        place: of this word among them, from 0.
    """

    words: tuple[str, ...]
    place: int

    def __str__(self) -> str:
        return f"{self.words[self.place]} (word {self.place} of: {' '.join(self.words)})"
