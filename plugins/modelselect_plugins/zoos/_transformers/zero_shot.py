"""Classes from their names, by models of an image tower and a text tower that were trained together, such as CLIP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.candidates.text_classifier import TextClassifier
from modelselect_plugins.zoos._bounds import check_usual_files
from modelselect_plugins.zoos._support import required
from modelselect_plugins.zoos._transformers.reading import missing_in, quiet, settings_of_folder

if TYPE_CHECKING:
    import torch

FAMILIES = frozenset({"altclip", "chinese_clip", "clip", "metaclip_2", "siglip"})
"""Model types whose image tower's pooled output is what the projection into the space of texts takes."""

FULL_LENGTH = frozenset({"siglip"})
"""Of these, the ones that were trained on texts padded to one length."""


def text_classifier(path: Path, texts: Sequence[Sequence[str]], *, safetensors: bool = True) -> TextClassifier | None:
    """The classifier of a folder that `save_pretrained` wrote; None if its model does not compare images with texts.

    Args:
        path: the folder.
        texts: for each class, the texts that stand for it; their embeddings are averaged.
        safetensors: False to read pickled weights instead, restricted to tensors.
    """
    import torch

    declared = json.loads((path / "config.json").read_bytes())
    family, architectures = declared.get("model_type"), declared.get("architectures") or []
    if family not in FAMILIES or not all(str(name).endswith("Model") for name in architectures):
        return None
    check_usual_files(path)
    transformers = required("transformers")
    with quiet(transformers), torch.inference_mode():
        model, report = transformers.AutoModel.from_pretrained(path, **settings_of_folder(safetensors=safetensors))
        if missing_in(report):
            return None  # embeddings of random layers
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        length = model.config.text_config.max_position_embeddings
        tokens = tokenizer(
            [text for group in texts for text in group],
            padding="max_length" if family in FULL_LENGTH else True,
            truncation=True,
            max_length=min(length, tokenizer.model_max_length),
            return_tensors="pt",
        )
        tokens.pop("token_type_ids", None)
        embedded = _unit(_embeddings(model.eval().get_text_features(**tokens)))
        means = _unit(torch.stack([part.mean(0) for part in torch.split(embedded, [len(group) for group in texts])]))
        projection = getattr(model, "visual_projection", None)
        bias = getattr(model, "logit_bias", None)
        return TextClassifier(
            means.numpy().astype(np.float32),
            None if projection is None else projection.weight.numpy(),
            float(model.logit_scale.exp()),
            0.0 if bias is None else float(bias),
        )


def _embeddings(given: Any) -> torch.Tensor:
    """The embeddings that `get_text_features` gives: a tensor, or since transformers 5 a named output."""
    import torch

    found: torch.Tensor = given if isinstance(given, torch.Tensor) else given.pooler_output
    return found


def _unit(rows: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.nn.functional.normalize(rows, dim=-1)
