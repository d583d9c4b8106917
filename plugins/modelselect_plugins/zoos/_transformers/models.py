"""Loads models of transformers from a local folder: weights in float32, one forward pass, and no random layers.

Image models are read here, text encoders in `_transformers.texts`. The zoos that find such folders use this module. It
never uses the network.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone, Outputs, Preprocessing, Reader
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.layouts import pool
from modelselect.candidates.preprocessing import CallablePreprocessing, TextPreprocessing, example_batch, per_channel
from modelselect.candidates.readers import HeadInput, reader_for_module
from modelselect.errors import CandidateError, RemoteCodeError
from modelselect_plugins.zoos._support import check_sides, one_line, required
from modelselect_plugins.zoos._transformers import texts as transformers_texts
from modelselect_plugins.zoos._transformers.texts import TextSettings

if TYPE_CHECKING:
    import torch

PROCESSOR = "preprocessor_config.json"
_CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")


def load(
    path: Path,
    candidate: Candidate,
    weights_key: str,
    *,
    trust_remote_code: bool,
    safetensors: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Backbone:
    """The model that `save_pretrained` wrote into a folder; a classifier includes its source classes.

    For a model of images and text, such as CLIP, the vision tower.

    Args:
        path: the folder.
        candidate: the candidate to load.
        weights_key: digest of the folder.
        trust_remote_code: whether the folder's own code may run.
        safetensors: False to read pickled weights instead, restricted to tensors.
        settings: the settings in the candidate's name, after its `?`; see `TextSettings`.

    Raises:
        CandidateError: weights of layers before the features are missing, it is no image model or text encoder, ...
        RemoteCodeError: its class is defined in its own code.
        ExpressionError: a setting is unknown.
    """
    transformers = required("transformers")
    text_settings = TextSettings.of(settings or {})
    with _quiet(transformers):
        configuration = _configuration(path, trust_remote_code)
        preprocessing: Preprocessing
        if is_text(path, configuration.to_dict()):
            preprocessing = transformers_texts.preprocessing(
                path, configuration, text_settings, trust_remote_code=trust_remote_code
            )
            loader = transformers_texts.loader(configuration)
        elif settings:
            raise CandidateError(
                f"the model takes images, but the settings {', '.join(settings)} are for text encoders"
            )
        else:
            preprocessing = _preprocessing(path, trust_remote_code)
            loader = _loader(configuration)
        import torch

        module, report = loader.from_pretrained(
            path,
            config=configuration,
            dtype=torch.float32,  # the default is the file's dtype
            use_safetensors=safetensors,
            weights_only=True,
            trust_remote_code=trust_remote_code,  # never None, which would ask on the terminal
            local_files_only=True,
            output_loading_info=True,
        )
        missing = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
        # A pooler without weights is not read here, but a classifier's head would read it.
        if any(loader.__name__.endswith("Classification") or not key.startswith("pooler.") for key in missing):
            raise CandidateError(
                f"the weights lack {len(missing)} tensors of {type(module).__name__}, such as "
                f"{', '.join(missing[:3])}, so features would come from random layers"
            )
        module = module.float().eval()
        read: Reader
        if isinstance(preprocessing, TextPreprocessing):
            read = transformers_texts.reader(transformers_texts.made_ready(module), preprocessing, path, text_settings)
        else:
            read = _reader(module, preprocessing, _is_classifier(configuration), pooler=not missing)
    return Backbone(candidate, module, preprocessing, read, weights_key)


def skeleton(path: Path, *, trust_remote_code: bool) -> torch.nn.Module:
    """The model on the meta device, without weights."""
    import torch

    transformers = required("transformers")
    with _quiet(transformers), torch.device("meta"):
        configuration = _configuration(path, trust_remote_code)
        text = is_text(path, configuration.to_dict())
        loader = transformers_texts.loader(configuration) if text else _loader(configuration)
        module: torch.nn.Module = loader.from_config(
            configuration, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    return (transformers_texts.made_ready(module) if text else module).eval()


def is_text(path: Path, configuration: Mapping[str, Any]) -> bool:
    """True for a text encoder, judged by its `config.json` and the files in the same folder."""
    return not (path / PROCESSOR).is_file() and (
        ("vocab_size" in configuration and "image_size" not in configuration)  # BEiT has both
        or any((path / name).is_file() for name in transformers_texts.VOCABULARIES)
    )


def metadata(path: Path, configuration: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Metadata from `config.json` and the files in the same folder, without transformers."""
    if is_text(path, configuration):
        return transformers_texts.metadata(path, configuration, TextSettings.of(settings or {}))
    architecture = next(iter(configuration.get("architectures") or []), None)
    widths = configuration.get("hidden_size") or (configuration.get("hidden_sizes") or [None])[-1]
    classes = None
    if architecture is not None:
        labels = configuration.get("id2label")
        classes = (len(labels) if labels else 2) if "ForImageClassification" in architecture else 0  # 2 is the default
    return {
        "architecture": architecture,
        "family": configuration["model_type"],
        "input_size": _input_size(path, configuration),
        "feature_dim": widths if isinstance(widths, int) else None,
        "source_classes": classes,
        "remote_code": "auto_map" in configuration,
    }


@dataclass(frozen=True)
class ProcessorPreprocessing:
    """An image processor of transformers in two parts: resize and crop in uint8, then normalise whole batches."""

    processor: Any
    key: str

    def prepare(self, item: Any) -> torch.Tensor:
        image = item.convert("RGB")
        prepared = self.processor(image, do_rescale=False, do_normalize=False, return_tensors="pt")
        pixels: torch.Tensor = prepared["pixel_values"][0]
        return pixels

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        processor = self.processor
        batch = batch.float() * (processor.rescale_factor if processor.do_rescale else 1)
        if not processor.do_normalize:
            return batch
        mean, std = (per_channel(tuple(v), batch.device) for v in (processor.image_mean, processor.image_std))
        return (batch - mean) / std


@dataclass(frozen=True)
class EncoderOutput:
    """Features from the output of the encoder below the head: its pooled output, else its class token, else the mean.

    Attributes:
        pooled: False if the encoder's pooler has no trained weights.
        class_token: True if the first token represents the image.
        has_logits: True if the module's output has logits of source classes.
    """

    pooled: bool
    class_token: bool
    has_logits: bool

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        seen: list[Any] = []
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            output = module(batch)
        finally:
            handle.remove()
        return Outputs(self._features(seen[-1]), pool(output.logits) if self.has_logits else None)

    def _features(self, output: Any) -> torch.Tensor:
        pooled = getattr(output, "pooler_output", None)
        if self.pooled and pooled is not None:
            return pool(pooled)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden[:, 0] if self.class_token and hidden.dim() == 3 else pool(hidden)


def _configuration(path: Path, trust_remote_code: bool) -> Any:
    transformers = required("transformers")
    declared = json.loads((path / "config.json").read_bytes())
    if (
        "auto_map" in declared
        and declared.get("model_type") not in transformers.CONFIG_MAPPING
        and not trust_remote_code
    ):
        raise RemoteCodeError(
            f"the model brings code of its own (model type {declared.get('model_type')!r}), which runs only with your "
            "permission: read the code, then pass trust_remote_code=True (on the command line: --trust-remote-code)"
        )
    configuration = transformers.AutoConfig.from_pretrained(
        path, trust_remote_code=trust_remote_code, local_files_only=True
    )
    # A file may ask for an attention kernel that transformers would download from the Hub and run; this prevents it.
    configuration._attn_implementation = None  # noqa: SLF001 (none is public)
    tower = getattr(configuration, "vision_config", None)
    if tower is not None and type(tower) not in transformers.MODEL_MAPPING:
        raise CandidateError(
            f"{configuration.model_type!r} takes text and images together, and transformers cannot load its vision "
            "tower alone; save the vision tower as a folder of its own"
        )
    return configuration if tower is None else tower


def _loader(configuration: Any) -> Any:
    transformers = required("transformers")
    return transformers.AutoModelForImageClassification if _is_classifier(configuration) else transformers.AutoModel


def _is_classifier(configuration: Any) -> bool:
    return any("ForImageClassification" in name for name in configuration.architectures or [])


def _preprocessing(path: Path, trust_remote_code: bool) -> Preprocessing:
    transformers = required("transformers")
    if not (path / PROCESSOR).is_file():
        raise CandidateError(f"the folder has no {PROCESSOR}, so the preprocessing of images is unknown")
    check_sides(_input_size(path, {}) or ())
    processor = None
    for backend in ("pil", "torchvision"):  # PIL first, since nearly all were trained with it
        with contextlib.suppress(Exception):
            processor = transformers.AutoImageProcessor.from_pretrained(
                path, backend=backend, trust_remote_code=trust_remote_code, local_files_only=True
            )
            break
    if processor is None:
        raise CandidateError(f"transformers has no image processor for its {PROCESSOR}")
    key = f"transformers:{type(processor).__qualname__}:{json.dumps(processor.to_dict(), sort_keys=True, default=str)}"

    def whole(image: Any) -> torch.Tensor:
        tensor: torch.Tensor = processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return tensor

    parts = ProcessorPreprocessing(processor, key)
    return parts if _same(parts, whole) else CallablePreprocessing.of(whole, key)


def _same(parts: ProcessorPreprocessing, whole: Callable[[Any], torch.Tensor]) -> bool:
    """True if the two parts of the processor give the result of the whole; some processors have further steps."""
    import torch

    try:
        halves = example_batch(parts)
        wholes = example_batch(CallablePreprocessing(whole, parts.key))
    except Exception:  # the processor lacks these switches
        return False
    return halves.shape == wholes.shape and torch.allclose(halves, wholes, rtol=0, atol=1e-5)


def _reader(module: Any, preprocessing: Preprocessing, classifier: bool, *, pooler: bool) -> Reader:
    try:
        if classifier:
            reader = reader_for_module(module, example_batch(preprocessing))
            if isinstance(reader, HeadInput):
                return reader
        tokens = any(name.rsplit(".", 1)[-1] in _CLASS_TOKENS for name, _ in module.named_parameters())
        encoder = EncoderOutput(pooled=pooler, class_token=tokens, has_logits=classifier)
        import torch

        with torch.no_grad():
            encoder(module, example_batch(preprocessing))
    except Exception as error:
        raise CandidateError(f"the model cannot be read as an image model with features ({one_line(error)})") from error
    return encoder


def _input_size(path: Path, configuration: Mapping[str, Any]) -> tuple[int, int, int] | None:
    try:
        processor = json.loads((path / PROCESSOR).read_bytes())
    except (OSError, ValueError):
        processor = {}
    channels = configuration.get("num_channels", 3)
    for size in (processor.get("crop_size"), processor.get("size"), configuration.get("image_size")):
        if isinstance(size, int):
            return channels, size, size
        if isinstance(size, dict) and "height" in size:
            return channels, size["height"], size["width"]
        if isinstance(size, dict) and "shortest_edge" in size:
            return channels, size["shortest_edge"], size["shortest_edge"]
    return None


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silences transformers' own progress bars and reports, since errors are reported on the leaderboard."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
