"""Loads models of transformers from a local folder: weights in float32, one forward pass, and no random layers.

Image models are read here, text encoders in `_transformers.texts`. The zoos that find such folders use this module. It
never uses the network.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone, Preprocessing, Reader
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.inspection import reader_for_module
from modelselect.candidates.preprocessing import TextPreprocessing, example_batch
from modelselect.candidates.readers import EncoderOutput, HeadInput
from modelselect.errors import CandidateError, RemoteCodeError
from modelselect_plugins.zoos._bounds import check_usual_files
from modelselect_plugins.zoos._support import one_line, read_json, required, without_values
from modelselect_plugins.zoos._transformers import images as transformers_images
from modelselect_plugins.zoos._transformers import pooling, tokenizing
from modelselect_plugins.zoos._transformers import sounds as transformers_sounds
from modelselect_plugins.zoos._transformers import texts as transformers_texts
from modelselect_plugins.zoos._transformers.reading import missing_in, quiet, settings_of_folder
from modelselect_plugins.zoos._transformers.texts import TextSettings
from modelselect_plugins.zoos._weights import wrapper_prefix

if TYPE_CHECKING:
    import torch

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

    For a model of two towers, such as CLIP, the text tower if there are settings of text, else the vision tower.

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
    if transformers_sounds.is_sound(path, read_json(path / "config.json")):
        if settings:
            raise CandidateError(
                f"the model takes sounds, but the settings {', '.join(settings)} are for text encoders; leave them out"
            )
        with quiet(transformers):
            known = _configuration(path, trust_remote_code=False)
            encoder, prepared, pooled = transformers_sounds.load(path, known, safetensors=safetensors)
        return Backbone(candidate, encoder, prepared, pooled, weights_key)
    with quiet(transformers):
        part = _Part.of(path, settings, trust_remote_code)
        configuration = part.configuration
        preprocessing: Preprocessing
        if part.is_text:
            preprocessing = tokenizing.preprocessing(
                path, configuration, text_settings, trust_remote_code=trust_remote_code
            )
        elif settings:
            raise CandidateError(
                f"the model takes images, but the settings {', '.join(settings)} are for text encoders; leave them out"
            )
        else:
            preprocessing = transformers_images.preprocessing(path, configuration, trust_remote_code)
        module, missing = part.load(path, safetensors=safetensors, trust_remote_code=trust_remote_code)
        # A pooler without weights is not read here, but a classifier's head would read it.
        if any(part.loader.__name__.endswith("Classification") or not key.startswith("pooler.") for key in missing):
            part.check_tower(path, trust_remote_code)
            raise CandidateError(
                f"the weights lack {len(missing)} tensors of {type(module).__name__}, such as "
                f"{', '.join(missing[:3])}, so features would come from random layers"
            )
        module = _unmasked(module.float().eval())
        read: Reader
        if isinstance(preprocessing, TextPreprocessing):
            if part.family is not None and text_settings.pooling is None:
                text_settings = dataclasses.replace(text_settings, pooling=transformers_texts.TEXT_TOWERS[part.family])
            read = pooling.reader(transformers_texts.made_ready(module), preprocessing, path, text_settings)
        else:
            read = _reader(module, preprocessing, _is_classifier(configuration), pooler=not missing)
    return Backbone(candidate, module, preprocessing, read, weights_key)


def skeleton(path: Path, *, trust_remote_code: bool, settings: Mapping[str, str] | None = None) -> torch.nn.Module:
    """The model on the meta device, without weights."""
    import torch

    transformers = required("transformers")
    if transformers_sounds.is_sound(path, read_json(path / "config.json")):
        with quiet(transformers), without_values():
            known = _configuration(path, trust_remote_code=False)
            whole = transformers.AutoModel.from_config(known, dtype=torch.float32)
        encoder: torch.nn.Module = whole.get_encoder() if known.is_encoder_decoder else whole
        return encoder.eval()
    with quiet(transformers), without_values():
        part = _Part.of(path, settings, trust_remote_code)
        build = getattr(part.loader, "from_config", None)
        module: torch.nn.Module
        if build is None:  # a class itself, not a choice of classes
            module = part.loader(part.configuration)
        else:
            module = build(part.configuration, dtype=torch.float32, trust_remote_code=trust_remote_code)
    ready: torch.nn.Module = transformers_texts.made_ready(module) if part.is_text else _unmasked(module)
    return ready.eval()


def is_text(path: Path, configuration: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> bool:
    """True for a text encoder, judged by its `config.json`, the settings in its name, and the files in its folder."""
    if has_towers(configuration):
        return bool(settings) and configuration.get("model_type") in transformers_texts.TEXT_TOWERS
    return transformers_images.image_processor(path) is None and (
        ("vocab_size" in configuration and "image_size" not in configuration)  # BEiT has both
        or any((path / name).is_file() for name in transformers_texts.VOCABULARIES)
    )


def has_towers(configuration: Mapping[str, Any]) -> bool:
    """True for a model of a vision tower and a text model, by its `config.json`."""
    return isinstance(configuration.get("vision_config"), dict) and "text_config" in configuration


def metadata(path: Path, configuration: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Metadata from `config.json` and the files in the same folder, without transformers."""
    if transformers_sounds.is_sound(path, configuration):
        return transformers_sounds.metadata(configuration)
    towers = has_towers(configuration)
    architecture = next(iter(configuration.get("architectures") or []), None)
    known = {"architecture": configuration.get("architecture", architecture), "family": configuration["model_type"]}
    if is_text(path, configuration, settings):
        text = configuration.get("text_config") or {} if towers else configuration
        text_known = transformers_texts.metadata(path, {**text, **known}, TextSettings.of(settings or {}))
        return text_known | known | {"source_classes": 0} if towers else text_known
    classes = None
    if architecture is not None:
        classes = _classes(configuration) if "ForImageClassification" in architecture else 0
    if towers and not classes:
        configuration = configuration["vision_config"] | known
    widths = configuration.get("hidden_size") or (configuration.get("hidden_sizes") or [None])[-1]
    return known | {
        "modality": "image",
        "input_size": transformers_images.input_size(path, configuration),
        "feature_dim": widths if isinstance(widths, int) else None,
        "source_classes": classes,
        "remote_code": "auto_map" in configuration,
    }


def parameter_prefix(path: Path, configuration: Mapping[str, Any], settings: Mapping[str, str] | None) -> str | None:
    """How the names of the tensors begin that are loaded; "" for all of them; None if the files do not say it."""
    architecture = str(next(iter(configuration.get("architectures") or ["Model"]), "Model"))
    if has_towers(configuration) and "ForImageClassification" not in architecture:
        known = configuration.get("model_type") in transformers_texts.TEXT_TOWERS
        return ("text_model." if is_text(path, configuration, settings) else "vision_model.") if known else None
    whole = architecture.endswith(("Model", "WithProjection")) or "Classification" in architecture
    return "" if whole or is_text(path, configuration, settings) else None  # else with a head that is not loaded


def text_pooling(metadata: Mapping[str, Any]) -> str | None:
    """The pooling of the text tower of a candidate that is found as an image model; None if it has no text tower."""
    if metadata.get("modality") == "text" or metadata.get("source_classes"):
        return None
    return transformers_texts.TEXT_TOWERS.get(str(metadata.get("family")))


@dataclass(frozen=True)
class _Part:
    """What of a folder is loaded: the whole model, or one tower of a model of images and texts.

    Attributes:
        configuration: of the part.
        loader: the class of transformers that loads it.
        is_text: whether the part takes texts.
        family: the model type of the whole, if the part is a tower.
    """

    configuration: Any
    loader: Any
    is_text: bool
    family: str | None = None

    @classmethod
    def of(cls, path: Path, settings: Mapping[str, str] | None, trust_remote_code: bool) -> _Part:
        """Raises CandidateError if transformers cannot load any part for images or texts."""
        transformers = required("transformers")
        configuration = _configuration(path, trust_remote_code)
        declared = json.loads((path / "config.json").read_bytes())
        text = is_text(path, declared, settings)
        tower = getattr(configuration, "text_config" if text else "vision_config", None)
        if tower is None or _is_classifier(configuration):
            if type(configuration) in transformers.CONFIG_MAPPING.values():
                _check_input(configuration, text)
            loader = transformers_texts.loader(configuration) if text else _loader(configuration)
            alone = type(configuration) not in transformers.MODEL_MAPPING and _encoder_of(configuration)
            if alone and not configuration.is_encoder_decoder and _is_tower(configuration):
                loader = alone
            return cls(configuration, loader, text)
        kind = _encoder_of(tower)
        if kind is None:
            raise CandidateError(
                f"{configuration.model_type!r} takes text and images together, and transformers cannot load its vision "
                "tower alone"
            )
        return cls(tower, kind, text, configuration.model_type)

    def load(self, path: Path, *, safetensors: bool, trust_remote_code: bool) -> tuple[Any, list[str]]:
        """The module with its weights, and the names of its tensors that the weights lack.

        Some towers have other names of tensors alone than in the whole model; these are taken out of the whole model.
        """
        settings = settings_of_folder(safetensors=safetensors, trust_remote_code=trust_remote_code)
        if safetensors and (prefix := wrapper_prefix(path)):
            settings["key_mapping"] = {f"^{re.escape(prefix)}": ""}
        module, report = self.loader.from_pretrained(path, config=self.configuration, **settings)
        missing = missing_in(report)
        tower = "text_model" if self.is_text else "vision_model"
        if missing and self.family in transformers_texts.TEXT_TOWERS:
            whole, report = required("transformers").AutoModel.from_pretrained(path, **settings)
            if hasattr(whole, tower):
                prefix = f"{tower}."
                module = getattr(whole, tower)
                module.name_or_path = str(path)
                missing = [key.removeprefix(prefix) for key in missing_in(report) if key.startswith(prefix)]
        return module, missing

    def check_tower(self, path: Path, trust_remote_code: bool) -> None:
        """Raises CandidateError with advice if the part is a tower of a model that loads only as a whole."""
        if self.family is None:
            return
        kind = "text tower" if self.is_text else "vision tower"
        reason = f"the model takes text and images together ({self.family}), and its {kind} cannot be loaded alone"
        name = None if self.is_text else self._name_in_whole(path, trust_remote_code)
        if name is None:
            raise CandidateError(f"{reason}, so its features cannot be read")
        raise CandidateError(
            f"{reason}. Save it as a folder of its own, in Python: import transformers; "
            f"transformers.AutoModel.from_pretrained({path.as_posix()!r}).{name}.save_pretrained('tower'); "
            f"transformers.AutoImageProcessor.from_pretrained({path.as_posix()!r}).save_pretrained('tower')"
        )

    def _name_in_whole(self, path: Path, trust_remote_code: bool) -> str | None:
        """The name of the tower as a part of the whole model; None if it is not found there."""
        kind = type(self.configuration)
        try:
            with without_values():
                whole = required("transformers").AutoModel.from_config(_configuration(path, trust_remote_code))
        except Exception:  # transformers has no class for the whole model
            return None
        return next((n for n, part in whole.named_modules() if n and type(getattr(part, "config", None)) is kind), None)


def _configuration(path: Path, trust_remote_code: bool) -> Any:
    transformers = required("transformers")
    check_usual_files(path)
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
    quantized = declared.get("quantization_config")
    if quantized:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise CandidateError(
            f"the weights are quantised ({method}), but features are read in float32. Give the folder of the model "
            "before it was quantised"
        )
    configuration = transformers.AutoConfig.from_pretrained(
        path, trust_remote_code=trust_remote_code, local_files_only=True
    )
    # A file may ask for an attention kernel that transformers would download from the Hub and run; this prevents it.
    configuration._attn_implementation = None  # noqa: SLF001 (none is public)
    for part in (configuration, *(getattr(configuration, name, None) for name in ("text_config", "vision_config"))):
        if part is not None:
            part.return_dict = True  # tuples do not say what they hold
    return configuration


def _encoder_of(tower: Any) -> Any:
    """The class of transformers for one tower's configuration; None if there is none."""
    transformers = required("transformers")
    if type(tower) in transformers.MODEL_MAPPING:
        return transformers.AutoModel
    return getattr(transformers, type(tower).__name__.removesuffix("Config") + "Model", None)


def _is_tower(configuration: Any) -> bool:
    """True for the text tower of a model of images and texts, in a folder of its own."""
    family = str(configuration.model_type).removesuffix("_text_model")
    return family != configuration.model_type and family in transformers_texts.TEXT_TOWERS


def _check_input(configuration: Any, text: bool) -> None:
    """Raises CandidateError for models without an encoder of their own, or that take neither images nor texts."""
    transformers = required("transformers")
    kind = configuration.model_type
    if hasattr(configuration, "encoder") and hasattr(configuration, "decoder") and not text:
        raise CandidateError(f"{kind!r} is an encoder with a decoder, and transformers cannot load its encoder alone")
    if _is_classifier(configuration):
        return
    mapping = transformers.MODEL_MAPPING
    if type(configuration) not in mapping:
        if _is_tower(configuration):
            return
        if type(configuration) not in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
            raise CandidateError(f"transformers has no encoder for the model type {kind!r}, so it gives no features")
        return
    encoder = mapping.get(type(configuration), None)
    takes = getattr(encoder, "main_input_name", None)
    if takes == "pixel_values_videos":
        raise CandidateError(f"the model takes videos ({kind}), not images or texts")
    if takes in ("input_values", "input_features"):
        raise CandidateError(f"the model takes sound ({kind}), not images or texts")
    if takes == "input_ids" and not text:
        raise CandidateError(
            f"the model takes text and images together ({kind}), so features of images alone cannot be read"
        )


def _unmasked(module: Any) -> Any:
    """The module, which sees the whole image: masked autoencoders otherwise leave out patches at random."""
    for part in module.modules():
        if hasattr(part, "random_masking"):
            part.random_masking = _all_patches
    return module


def _all_patches(sequence: torch.Tensor, noise: Any = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Replaces the masking: all patches, a mask that hides none, and their order."""
    import torch

    rows, patches, _ = sequence.shape
    order = torch.arange(patches, device=sequence.device).expand(rows, -1)
    return sequence, torch.zeros(rows, patches, device=sequence.device), order


def _loader(configuration: Any) -> Any:
    transformers = required("transformers")
    return transformers.AutoModelForImageClassification if _is_classifier(configuration) else transformers.AutoModel


def _is_classifier(configuration: Any) -> bool:
    return any("ForImageClassification" in name for name in configuration.architectures or [])


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


def _classes(configuration: Mapping[str, Any]) -> int:
    """Number of a classifier's classes, as transformers reads it: 2 is its default."""
    labels, number = configuration.get("id2label"), configuration.get("num_labels", configuration.get("num_classes"))
    return len(labels) if labels else number if isinstance(number, int) else 2
