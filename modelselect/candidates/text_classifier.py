"""`TextClassifier`: a classifier that a model of images and texts makes of the names of classes, without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """A classifier whose classes are texts: a row's class is the text whose embedding is most similar to the row's.

    A. Radford et al.: Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1.

    Attributes:
        texts: (C, E) the embedding of each class, of length 1.
        projection: (E, D) from features to embeddings; None where the features are embeddings.
        scale: factor of the cosine similarities in logits.
        offset: added to the logits.

    >>> classifier = TextClassifier(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> classifier.logits(np.array([[0.0, 2.0]])).tolist()
    [[0.0, 1.0]]
    """

    texts: NDArray[np.floating[Any]]
    projection: NDArray[np.floating[Any]] | None = None
    scale: float = 1.0
    offset: float = 0.0

    def logits(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(N, C) logits of (N, D) features."""
        rows = features.astype(np.float64)
        if self.projection is not None:
            rows = rows @ self.projection.T.astype(np.float64)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        found: NDArray[np.float64] = self.scale * (rows @ self.texts.T.astype(np.float64)) + self.offset
        return found


def prompts_for(class_name: str, prompts: tuple[str, ...]) -> list[str]:
    """The texts that stand for a class, from prompts with `{}` in the place of its name.

    >>> prompts_for("tabby_cat", ("a photo of a {}.",))
    ['a photo of a tabby cat.']
    """
    return [prompt.replace("{}", class_name.replace("_", " ")) for prompt in prompts]
