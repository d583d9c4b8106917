"""Writes fine-tuned models as folders that timm or transformers load, depending on the module's library."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.inspection import reader_for_module
from modelselect.candidates.preprocessing import TextPreprocessing, example_batch
from modelselect.candidates.readers import HeadInput
from modelselect_plugins.zoos._support import required
from modelselect_plugins.zoos._transformers import pooling
from modelselect_plugins.zoos._transformers.reading import quiet

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
"""Allowed difference of the exported model's logits from rounding, relative to the largest logit."""

_EXAMPLES = ("One text.", "Another one, which is somewhat longer than the first.")

_BESIDE = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "bpe.codes",
)
"""Files that transformers reads in addition to configuration and weights; for sentencepiece, any `*.model`."""

_SENTENCES = "sentence_bert_config.json"


def export(backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
    """See `Zoo.export`."""
    if hasattr(backbone.module, "pretrained_cfg") and hasattr(backbone.module, "reset_classifier"):
        return _to_timm(backbone, head, class_names, folder)
    if hasattr(backbone.module, "save_pretrained"):
        return _to_transformers(backbone, head, class_names, folder)
    return False


def bundle(backbone: Backbone, folder: Path) -> str | None:
    """See `Zoo.bundle`."""
    module: Any = backbone.module
    if hasattr(module, "pretrained_cfg") and hasattr(module, "reset_classifier"):
        required("timm").models.save_for_hf(module, folder, safe_serialization=True)
        return ""
    if not hasattr(module, "save_pretrained"):
        return None
    source = Path(module.name_or_path)
    with quiet(required("transformers")):
        module.save_pretrained(folder)
    _copy_beside(source, folder)
    if not isinstance(backbone.preprocessing, TextPreprocessing):
        return ""
    if (source / _SENTENCES).is_file():
        shutil.copy(source / _SENTENCES, folder / _SENTENCES)
    pooling = getattr(backbone.read, "pooling", None)
    return f"?max_length={backbone.preprocessing.length}" + (f"&pooling={pooling}" if pooling else "")


def _copy_beside(source: Path, folder: Path) -> None:
    for path in source.iterdir():
        if path.name in _BESIDE or path.suffix == ".model":
            shutil.copy(path, folder / path.name)


def _to_timm(backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
    import torch

    timm = required("timm")
    example = example_batch(backbone.preprocessing)
    expected = _expected(backbone, head, example)
    module: Any = backbone.module
    try:
        with torch.random.fork_rng(devices=[]):
            module.reset_classifier(len(class_names))
        agrees = _take_over(module.get_classifier(), head) and _same(module.eval()(example), expected)
    except Exception:  # some kinds of heads allow no other number of classes
        agrees = False
    if not agrees:
        return False
    described = {
        "num_classes": len(class_names),
        "label_names": list(class_names),
        "pretrained_cfg": {"tag": ""},  # the tag names the training data, and would now be wrong
    }
    timm.models.save_for_hf(module, folder, model_config=described, safe_serialization=True)
    return True


def _to_transformers(backbone: Backbone, head: torch.nn.Linear, class_names: Sequence[str], folder: Path) -> bool:
    import torch

    module: Any = backbone.module
    source, preprocessing = Path(module.name_or_path), backbone.preprocessing
    if isinstance(preprocessing, TextPreprocessing):
        batch = preprocessing.finish(torch.stack([preprocessing.prepare(text) for text in _EXAMPLES]))
        arguments = pooling.arguments(batch, module.config.pad_token_id)
    else:
        batch = example_batch(preprocessing)
        arguments = {"pixel_values": batch}
    expected = _expected(backbone, head, batch)
    found = getattr(backbone.read, "head", None)
    if found is None and "pixel_values" in arguments:
        module, found = _with_classifier(module, arguments)
    if found is None:
        return False
    labels = [str(name) for name in class_names]
    module.config.id2label = dict(enumerate(labels))
    module.config.label2id = {label: index for index, label in enumerate(labels)}
    module.config.problem_type = "single_label_classification"
    module.num_labels = len(labels)
    parent, _, last = found.rpartition(".")
    fresh = _fresh(module.get_submodule(found), head)
    setattr(module.get_submodule(parent), last, fresh)
    try:
        with torch.no_grad():
            agrees = _same(module.eval()(**arguments).logits, expected)
    except RuntimeError:  # the head takes something other than the features
        agrees = False
    if not agrees:
        return False
    with quiet(required("transformers")):
        module.save_pretrained(folder)
    _copy_beside(source, folder)
    return True


def _with_classifier(module: Any, arguments: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The image encoder inside transformers' classifier of its type, and the name of that one's last layer, if any."""
    import torch

    transformers = required("transformers")
    kind = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.get(type(module.config), None)
    if kind is None:
        return module, None
    with torch.random.fork_rng(devices=[]):
        whole = kind(copy.deepcopy(module.config)).eval()
    body = getattr(whole, whole.base_model_prefix, None)
    if body is None or body.load_state_dict(module.state_dict(), strict=False).missing_keys:
        return module, None
    with torch.no_grad():
        reader = reader_for_module(whole, arguments)
    return whole, reader.head if isinstance(reader, HeadInput) else None


def _take_over(classifier: Any, head: torch.nn.Linear) -> bool:
    """Copies the head's weights to an equivalent layer; False if the layer is not of a known kind."""
    import torch

    if not isinstance(classifier, torch.nn.Linear | torch.nn.Conv2d) or classifier.bias is None:
        return False
    shape = classifier.weight.shape
    if shape.numel() != head.weight.numel() or shape[0] != head.weight.shape[0]:
        return False
    with torch.no_grad():
        classifier.weight.copy_(head.weight.view(shape))
        classifier.bias.copy_(head.bias)
    return True


def _fresh(classifier: Any, head: torch.nn.Linear) -> torch.nn.Module:
    """The head as a layer of the same kind as the classifier."""
    import torch

    if not isinstance(classifier, torch.nn.Conv2d):
        return head
    convolution = torch.nn.Conv2d(head.in_features, head.out_features, 1)
    _take_over(convolution, head)
    return convolution


def _expected(backbone: Backbone, head: torch.nn.Linear, batch: torch.Tensor) -> torch.Tensor:
    import torch

    with torch.no_grad():
        logits: torch.Tensor = head(backbone.read(backbone.module, batch).features)
    return logits


def _same(given: torch.Tensor, expected: torch.Tensor) -> bool:
    return given.shape == expected.shape and bool(
        (given - expected).abs().max() <= TOLERANCE * max(1.0, float(expected.abs().max()))
    )
