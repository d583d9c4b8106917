"""Readers find features and logits in any module."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from modelselect.candidates.inspection import reader_for, reader_for_feature_method, reader_for_module
from modelselect.candidates.layouts import pool
from modelselect.candidates.preprocessing import ImagePreprocessing, example_batch
from modelselect.candidates.readers import FeatureMethod, HeadInput, PreLogits, WholeOutput
from modelselect.errors import CandidateError

# --- readers ---------------------------------------------------------------------------------------------------------


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module", params=["resnet18", "vit_tiny_patch16_224"])
def timm_module(request: pytest.FixtureRequest) -> nn.Module:
    import timm

    torch.manual_seed(0)
    return timm.create_model(request.param, num_classes=7).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return example_batch(ImagePreprocessing((224, 224), 256, **IMAGENET))


def test_readers_find_the_classifier_of_real_modules(timm_module: Any, images: torch.Tensor) -> None:
    with torch.inference_mode():
        pre_logits = timm_module.forward_head(timm_module.forward_features(images), pre_logits=True)
        logits = timm_module(images)
        for locate in (reader_for_module, reader_for_feature_method):
            reader = locate(timm_module, images)
            outputs = reader(timm_module, images)
            assert isinstance(reader, HeadInput)
            assert torch.equal(outputs.features, pre_logits)
            assert torch.equal(outputs.logits, logits)


def test_reading_is_one_pass_and_leaves_no_hook(timm_module: Any, images: torch.Tensor) -> None:
    reader = reader_for_feature_method(timm_module, images)
    passes = []
    first = next(module for module in timm_module.modules() if isinstance(module, nn.Conv2d))
    handle = first.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        reader(timm_module, images)
    handle.remove()
    assert len(passes) == 1
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in timm_module.modules())


class Small(nn.Module):
    """(B, 3, H, W) -> 5 logits over 4 features; `head` and what comes before it are up to the test."""

    def __init__(self, head: nn.Module, num_classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Conv2d(3, 4, 3)
        self.body.bias.data = torch.linspace(-1, 1, 4)  # features of both signs
        self.head = head
        self.num_classes = num_classes

    def forward_features(self, batch: torch.Tensor) -> torch.Tensor:
        return self.body(batch).mean((2, 3))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if not self.num_classes:
            raise RuntimeError("no head")
        return self.head(self.forward_features(batch))


@pytest.fixture
def small_images() -> torch.Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_a_head_that_works_in_place_does_not_change_the_features(small_images: torch.Tensor) -> None:
    module = Small(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 5))).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        assert isinstance(reader, HeadInput)
        assert torch.equal(reader(module, small_images).features, module.forward_features(small_images))


def test_a_head_that_is_called_by_keyword_is_found(small_images: torch.Tensor) -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 5)

        def forward(self, *, tokens: torch.Tensor) -> torch.Tensor:
            return self.linear(tokens)

    class Model(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.head(tokens=self.forward_features(batch))

    module = Model(Keyword()).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        assert torch.equal(reader(module, small_images).features, module.forward_features(small_images))


def test_features_that_nothing_is_given_cost_a_second_pass(small_images: torch.Tensor) -> None:
    class Apart(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(batch).amax((2, 3)))

    module = Apart(nn.Linear(4, 5)).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        outputs = reader(module, small_images)
        assert reader == FeatureMethod()
        assert torch.equal(outputs.features, module.forward_features(small_images))
        assert torch.equal(outputs.logits, module(small_images))


def test_a_backbone_without_a_head_gives_features_alone(small_images: torch.Tensor) -> None:
    module = Small(nn.Identity(), num_classes=0).eval()
    reader = reader_for_feature_method(module, small_images)
    with torch.inference_mode():
        features, logits = reader(module, small_images)
        assert torch.equal(features, module.forward_features(small_images))
    assert logits is None


def test_the_output_is_the_features_where_no_layer_makes_it(small_images: torch.Tensor) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    reader = reader_for_module(module, small_images)
    with torch.inference_mode():
        features, logits = reader(module, small_images)
        assert reader == WholeOutput()
        assert torch.equal(features, module(small_images))
    assert logits is None


def test_an_output_object_is_read_by_its_logits(small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> Any:
            return SimpleNamespace(logits=self.head(self.forward_features(batch)))

    module = Model(nn.Linear(4, 5)).eval()
    reader = reader_for_module(module, small_images)
    with torch.inference_mode():
        features, logits = reader(module, small_images)
        assert torch.equal(features, module.forward_features(small_images))
        assert torch.equal(logits, module(small_images).logits)


def test_a_module_that_returns_no_tensor_is_refused(small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> Any:
            return {"boxes": batch}

    with pytest.raises(CandidateError, match="returns dict; expected one tensor"):
        reader_for_module(Model(nn.Identity()).eval(), small_images)


def test_a_head_that_is_never_reached_is_reported(small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.forward_features(batch)

    with pytest.raises(CandidateError, match="never reached the classifier 'head'"):
        HeadInput("head")(Model(nn.Linear(4, 5)).eval(), small_images)


def test_pooling_is_the_mean_over_places_and_over_tokens() -> None:
    given = torch.arange(48.0)
    assert torch.equal(pool(given.view(2, 3, 2, 4)), given.view(2, 3, 8).mean(2))
    assert torch.equal(pool(given.view(2, 8, 3)), given.view(2, 8, 3).mean(1))
    assert torch.equal(pool(given.view(2, 24)), given.view(2, 24))
    with pytest.raises(CandidateError, match=r"shape \(48,\)"):
        pool(given)


# --- what a module says of itself ------------------------------------------------------------------------------------

SWIN = {"img_size": 64, "window_size": 2, "depths": (1, 1), "embed_dim": 12, "num_heads": (1, 2)}
VIT = {"img_size": 64, "depth": 1}
TIMM = {
    "swin": ("swin_tiny_patch4_window7_224", SWIN),
    "swin v2": ("swinv2_tiny_window8_256", SWIN),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 16)}),
    "vit of class token": ("vit_tiny_patch16_224", VIT),
    "vit of mean": ("vit_tiny_patch16_224", {**VIT, "global_pool": "avg"}),
    "vit of map": ("vit_tiny_patch16_224", {**VIT, "global_pool": "map", "class_token": False}),
    "maxvit": ("maxvit_tiny_tf_224", {"img_size": 64, "depths": (1, 1), "embed_dim": (32, 64)}),
    "mixer": ("mixer_s32_224", {"img_size": 64}),
    "deit of two heads": ("deit_tiny_distilled_patch16_224", VIT),
    "nfnet": ("test_nfnet", {}),
    "densenet": ("densenet121", {"block_config": (1, 1), "growth_rate": 4}),
    "vgg": ("vgg11", {}),
    "naflexvit": ("naflexvit_base_patch16_gap", {"depth": 1, "embed_dim": 16, "num_heads": 2}),
    "mambaout": ("mambaout_femto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 16)}),
}


def tiny_timm(name: str, **settings: Any) -> Any:
    import timm

    architecture, own = TIMM[name]
    torch.manual_seed(0)
    return timm.create_model(architecture, **{**own, **settings}).eval()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("classes", [5, 0])
@pytest.mark.parametrize("name", TIMM)
def test_a_timm_module_is_read_as_timm_says(name: str, classes: int, pictures: torch.Tensor) -> None:
    module = tiny_timm(name, num_classes=classes)
    reader = reader_for(module, pictures)
    with torch.inference_mode():
        outputs = reader(module, pictures)
        expected = module.forward_head(module.forward_features(pictures), pre_logits=True)
        assert torch.equal(outputs.features, expected)
        assert outputs.features.shape == (2, module.head_hidden_size)
        if classes:
            assert torch.equal(outputs.logits, module(pictures))
        else:
            assert outputs.logits is None
    assert reader == PreLogits.of(module)  # as the zoo of timm reads it


def without_classifier(module: Any, place: str) -> Any:
    parent, _, name = place.rpartition(".")
    setattr(module.get_submodule(parent), name, nn.Identity())
    return module.eval()


def reset(module: Any, *arguments: Any) -> Any:
    module.reset_classifier(*arguments)
    return module.eval()


def over_places(module: Any, batch: torch.Tensor) -> torch.Tensor:
    grid: torch.Tensor = module.forward_features(batch)
    return grid.mean((1, 2))


CHANGED = {
    "a grid that is not pooled": (lambda: tiny_timm("swin", global_pool="", num_classes=0), over_places),
    "a grid before a replaced head": (lambda: without_classifier(tiny_timm("swin"), "head"), over_places),
    "an identity as classifier": (lambda: without_classifier(tiny_timm("swin"), "head.fc"), over_places),
    "a classifier that was reset": (lambda: reset(tiny_timm("swin"), 0), over_places),
    "another pooling": (
        lambda: reset(tiny_timm("swin"), 0, "max"),
        lambda module, batch: module.forward_features(batch).amax((1, 2)),
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_timm_module_without_classifier_has_no_source_classes(name: str, pictures: torch.Tensor) -> None:
    make, expected = CHANGED[name]
    module = make()
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.allclose(features, expected(module, pictures), atol=1e-6)
    assert logits is None


def test_an_embedding_in_the_place_of_the_classifier_is_no_classifier(pictures: torch.Tensor) -> None:
    module = tiny_timm("vit of class token", num_classes=512)
    module.pretrained_cfg["tag"] = "openai"
    assert reader_for(module, pictures)(module, pictures).logits is None


class Around(nn.Module):
    def __init__(self, model: nn.Module, normalise: bool = False) -> None:
        super().__init__()
        self.model = model
        self.normalise = normalise

    def forward(self, batch: torch.Tensor) -> Any:
        return self.model((batch - 0.5) / 0.2 if self.normalise else batch)


def adapted(module: nn.Module) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(module, LoraConfig(target_modules=["qkv"]))  # type: ignore[arg-type]


WRAPPERS = {
    "another module": Around,
    "a module that normalises": lambda module: Around(module, normalise=True),
    "averaged weights": torch.optim.swa_utils.AveragedModel,
    "peft": adapted,
}


@pytest.mark.parametrize("inner", ["swin", "deit of two heads"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_is_read_as_the_module_inside(wrapper: str, inner: str, pictures: torch.Tensor) -> None:
    module = tiny_timm(inner, num_classes=5)
    wrapped = WRAPPERS[wrapper](module).eval()
    given = (pictures - 0.5) / 0.2 if wrapper == "a module that normalises" else pictures
    with torch.inference_mode():
        features, logits = reader_for(wrapped, pictures)(wrapped, pictures)
        assert torch.equal(features, module.forward_head(module.forward_features(given), pre_logits=True))
        assert torch.equal(logits, wrapped(pictures))


def test_a_head_on_a_backbone_is_the_classifier(pictures: torch.Tensor) -> None:
    module = nn.Sequential(tiny_timm("swin", num_classes=0), nn.Linear(24, 3)).eval()
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.equal(features, module[0](pictures))
        assert torch.equal(logits, module(pictures))


# --- transformers ----------------------------------------------------------------------------------------------------

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SEES = {**SIZES, "image_size": 64, "patch_size": 16}
IDS = torch.tensor([[2, 5, 6, 3, 0, 0], [2, 7, 8, 9, 4, 3]])


def of_transformers(name: str, configuration: str, **settings: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    return getattr(transformers, name)(getattr(transformers, configuration)(**settings)).eval()


def mean_over_words(module: Any, batch: torch.Tensor) -> torch.Tensor:
    hidden = module(batch, attention_mask=(batch != 0).long()).last_hidden_state
    return torch.stack([row[ids != 0].mean(0) for row, ids in zip(hidden, batch, strict=True)])


ENCODERS = {
    "pooler": (("ViTModel", "ViTConfig", SEES), lambda m, x: m(x).pooler_output, 0),
    "class token": (
        ("ViTForImageClassification", "ViTConfig", {**SEES, "num_labels": 5}),
        lambda m, x: m.vit(x).last_hidden_state[:, 0],
        5,
    ),
    "identity": (("ViTForImageClassification", "ViTConfig", {**SEES, "num_labels": 0}), lambda m, x: m(x).logits, 0),
    "map of one place": (
        ("ResNetModel", "ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
        lambda m, x: m(x).pooler_output[:, :, 0, 0],
        0,
    ),
    "swin": (
        (
            "SwinModel",
            "SwinConfig",
            {"image_size": 64, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2},
        ),
        lambda m, x: m(x).pooler_output,
        0,
    ),
    "dinov2": (("Dinov2Model", "Dinov2Config", SEES), lambda m, x: m(x).pooler_output, 0),
    "feature map": (("Dinov2Backbone", "Dinov2Config", SEES), lambda m, x: m(x).feature_maps[0].mean((2, 3)), 0),
    "below a projection": (
        ("CLIPVisionModelWithProjection", "CLIPVisionConfig", {**SEES, "projection_dim": 8}),
        lambda m, x: m.vision_model(x).pooler_output,
        0,
    ),
    "words": (("BertModel", "BertConfig", {**SIZES, "vocab_size": 20}), mean_over_words, 0),
    "no classifier of texts": (
        ("BertForMaskedLM", "BertConfig", {**SIZES, "vocab_size": 20}),
        lambda m, x: mean_over_words(m.bert, x),
        0,
    ),
    "classifier of texts": (
        ("BertForSequenceClassification", "BertConfig", {**SIZES, "vocab_size": 20, "num_labels": 3}),
        lambda m, x: m.bert(x, attention_mask=(x != 0).long()).pooler_output,
        3,
    ),
    "words in order": (
        ("GPT2Model", "GPT2Config", {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 20, "pad_token_id": 0}),
        lambda m, x: m(x).last_hidden_state[[0, 1], [3, 5]],
        0,
    ),
    "text tower": (
        ("CLIPTextModel", "CLIPTextConfig", {**SIZES, "vocab_size": 20, "eos_token_id": 3, "pad_token_id": 0}),
        lambda m, x: m(x).last_hidden_state[[0, 1], [3, 5]],
        0,
    ),
    "tuples": (
        ("ViTModel", "ViTConfig", {**SEES, "return_dict": False}),
        lambda m, x: m(x, return_dict=True).pooler_output,
        0,
    ),
    "regression": (
        ("BertForSequenceClassification", "BertConfig", {**SIZES, "vocab_size": 20, "num_labels": 1}),
        lambda m, x: m.bert(x, attention_mask=(x != 0).long()).pooler_output,
        0,
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_model_of_transformers_is_read_as_its_configuration_says(name: str, pictures: torch.Tensor) -> None:
    (kind, configuration, settings), expected, classes = ENCODERS[name]
    module = of_transformers(kind, configuration, **settings)
    batch = IDS if "vocab_size" in settings else pictures
    with torch.inference_mode():
        features, logits = reader_for(module, batch)(module, batch)
        assert torch.allclose(features, expected(module, batch), atol=1e-6)
    assert (logits is None) if not classes else logits.shape == (2, classes)


# --- torchvision, and modules of no library --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [("resnet18", "fc"), ("swin_t", "head"), ("vgg11", "classifier.6"), ("convnext_tiny", "classifier")],
)
def test_an_identity_in_the_place_of_the_classifier_means_no_source_classes(
    name: str, place: str, pictures: torch.Tensor
) -> None:
    import torchvision

    module = without_classifier(torchvision.models.get_model(name), place)
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.equal(features, module(pictures).flatten(1))
    assert logits is None


def test_a_classifier_that_pools_its_own_output_is_found_by_its_name(pictures: torch.Tensor) -> None:
    import torchvision

    module = torchvision.models.squeezenet1_1().eval()
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.allclose(features, module.features(pictures).mean((2, 3)))
        assert torch.equal(logits, module(pictures))


LAST_STEPS = {
    "softmax": (lambda logits: logits.softmax(1), lambda logits: logits),
    "log_softmax": (lambda logits: logits.log_softmax(1), lambda logits: logits.log_softmax(1)),
    "temperature": (lambda logits: logits / 2.5, lambda logits: logits / 2.5),
    "sigmoid": (torch.sigmoid, None),  # classes that do not exclude each other
}


@pytest.mark.parametrize("step", LAST_STEPS)
def test_probabilities_are_no_features(step: str, small_images: torch.Tensor) -> None:
    made, expected = LAST_STEPS[step]

    class Model(Small):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return made(self.head(self.forward_features(batch)))

    module = Model(nn.Linear(4, 5)).eval()
    with torch.inference_mode():
        features, logits = reader_for_module(module, small_images)(module, small_images)
        assert torch.equal(features, module.forward_features(small_images))
        if expected is None:
            assert logits is None
        else:
            assert torch.equal(logits, expected(module.head(features)))


def test_probabilities_of_a_model_that_says_how_it_is_read_are_its_own(pictures: torch.Tensor) -> None:
    inner = tiny_timm("deit of two heads", num_classes=5)
    module = nn.Sequential(inner, nn.Softmax(dim=1)).eval()
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.equal(features, inner.forward_head(inner.forward_features(pictures), pre_logits=True))
        assert torch.equal(logits, inner(pictures))


def test_one_logit_is_no_source_class(small_images: torch.Tensor) -> None:
    module = Small(nn.Linear(4, 1)).eval()
    assert reader_for(module, small_images)(module, small_images).logits is None


CONTAINERS = {
    "logits by name": lambda features, logits: {"logits": logits},
    "features as well": lambda features, logits: {"logits": logits, "features": features},
    "another name": lambda features, logits: {"out": logits},
    "nothing behind": lambda features, logits: (logits, None),
    "a number behind": lambda features, logits: (logits, torch.tensor(1.0)),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_logits_are_found_in_what_holds_nothing_else(container: str, small_images: torch.Tensor) -> None:
    class Model(Small):
        def forward(self, batch: torch.Tensor) -> Any:
            features = self.forward_features(batch)
            return CONTAINERS[container](features, self.head(features))

    module = Model(nn.Linear(4, 5)).eval()
    with torch.inference_mode():
        features, logits = reader_for_module(module, small_images)(module, small_images)
        assert torch.equal(features, module.forward_features(small_images))
        assert torch.equal(logits, module.head(features))


@pytest.mark.parametrize("first", ["features", "logits"])
def test_of_features_and_logits_the_features_are_proposed(first: str, small_images: torch.Tensor) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.head = nn.Linear(8, 5)

        def forward(self, batch: torch.Tensor) -> Any:
            features = self.body(batch)
            both = features, self.head(features)
            return both if first == "features" else both[::-1]

    with pytest.raises(CandidateError, match=rf"module\(batch\)\[{0 if first == 'features' else 1}\]$"):
        reader_for(Model().eval(), small_images)


class Towers(nn.Module):
    """As open_clip's models: a method for images, and one for texts."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))
        self.words = nn.Embedding(20, 6)

    def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        return self.visual(image)

    def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        return self.words(text).mean(1)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.encode_image(image) @ self.encode_text(text).T


def test_of_two_towers_the_one_for_the_rows_is_read(small_images: torch.Tensor) -> None:
    module = Towers().eval()
    for batch, encode in ((small_images, module.encode_image), (IDS, module.encode_text)):
        features, logits = reader_for(module, batch)(module, batch)
        assert torch.equal(features, encode(batch))
        assert logits is None


@pytest.mark.filterwarnings("ignore")  # torch announces the end of this form of quantisation
def test_a_quantised_classifier_is_the_classifier(small_images: torch.Tensor) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    module = torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}, dtype=torch.qint8)
    features, logits = reader_for(module, small_images)(module, small_images)
    assert torch.equal(features, layers[:3](small_images))
    assert torch.equal(logits, module(small_images))


def test_a_model_that_a_wrapper_calls_by_keyword_is_read(pictures: torch.Tensor) -> None:
    class Keyword(Around):
        def forward(self, batch: torch.Tensor) -> Any:
            return self.model(x=batch)

    inner = tiny_timm("deit of two heads", num_classes=5)
    module = Keyword(inner).eval()
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.equal(features, inner.forward_head(inner.forward_features(pictures), pre_logits=True))
        assert torch.equal(logits, module(pictures))


def test_the_last_layer_weighs_more_than_a_declared_width_that_it_contradicts(small_images: torch.Tensor) -> None:
    class Model(nn.Module):
        num_features = 8  # the height of the grid

        def __init__(self) -> None:
            super().__init__()
            self.patches, self.norm = nn.Conv2d(3, 6, 2, 2), nn.LayerNorm(6)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.norm(self.patches(batch).permute(0, 2, 3, 1))

    module, batch = Model().eval(), torch.rand(2, 3, 16, 16)
    assert torch.equal(reader_for(module, batch)(module, batch).features, module(batch).mean((1, 2)))


def test_layers_that_end_in_an_activation_in_place_are_no_classifier(pictures: torch.Tensor) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4), nn.ReLU(inplace=True)).eval()
    assert reader_for(module, pictures) == WholeOutput()


@pytest.mark.parametrize(("node", "places"), [("features.0", (1, 2)), ("permute", (2, 3))])
def test_one_intermediate_result_is_pooled_over_places(
    node: str, places: tuple[int, int], pictures: torch.Tensor
) -> None:
    from torchvision.models import SwinTransformer
    from torchvision.models.feature_extraction import create_feature_extractor

    swin = SwinTransformer([4, 4], 8, [1, 1], [1, 2], [2, 2]).eval()
    module = create_feature_extractor(swin, {node: "found"}).eval()
    with torch.inference_mode():
        features, logits = reader_for(module, pictures)(module, pictures)
        assert torch.equal(features, module(pictures)["found"].mean(places))
    assert logits is None


class Reordered(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.permute(*self.order)


class OfParameters(nn.Module):
    """(B, H, W, D) without any layer that would show where the channels are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 16))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch[:, :, ::9, ::9].permute(0, 2, 3, 1) @ self.weight


def declared() -> nn.Module:
    module = OfParameters()
    module.num_features = 16  # type: ignore[assignment]
    return module


GRIDS = {
    "a convolution, then channels last": (nn.Sequential(nn.Conv2d(3, 8, 9, 9), Reordered(0, 2, 3, 1)), (1, 2)),
    "as many channels as places": (
        nn.Sequential(nn.Conv2d(3, 7, 9, 9), Reordered(0, 2, 3, 1), nn.LayerNorm(7)),
        (1, 2),
    ),
    "as many channels as places, first": (nn.Sequential(nn.Conv2d(3, 7, 9, 9), nn.ReLU()), (2, 3)),
    "a trunk that ends in a convolution": (nn.Sequential(nn.Conv2d(3, 4, 9, 9), nn.Conv2d(4, 5, 3)), (2, 3)),
    "a convolution over time": (nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 3)), (2,)),
    "declared": (declared(), (1, 2)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_pooled_over_places_not_over_channels(name: str, pictures: torch.Tensor) -> None:
    module, places = GRIDS[name]
    with torch.inference_mode():
        features, logits = reader_for(module.eval(), pictures)(module, pictures)
        assert torch.allclose(features, module(pictures).mean(places), atol=1e-6)
    assert logits is None


def test_a_projection_at_the_end_is_no_classifier(small_images: torch.Tensor) -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.projection = nn.Linear(8, 4)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.projection(self.body(batch))

    module = Projected().eval()
    features, logits = reader_for(module, small_images)(module, small_images)
    assert torch.equal(features, module.body(small_images))
    assert logits is None


class Tokens(nn.Module):
    """A class token and others by name, as `forward_features` of some vision transformers gives them."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        self.embed, self.norm, self.head = nn.Conv2d(3, 8, 16, 16), nn.LayerNorm(8), nn.Identity()

    def forward_features(self, batch: torch.Tensor) -> Any:
        tokens = self.norm(self.embed(batch).flatten(2).transpose(1, 2))
        return {"class": tokens[:, 0], "others": tokens[:, 1:]} if self.named else tokens

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        tokens = self.forward_features(batch)
        return self.head(tokens["class"] if self.named else tokens[:, 0])


@pytest.mark.parametrize("named", [True, False])
def test_tokens_before_an_identity_are_read_as_the_module_reads_them(named: bool, pictures: torch.Tensor) -> None:
    module = Tokens(named).eval()
    features, logits = reader_for(module, pictures)(module, pictures)
    assert torch.equal(features, module(pictures))
    assert logits is None


def test_a_scripted_classifier_is_refused(small_images: torch.Tensor) -> None:
    module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 5)).eval())
    with pytest.raises(CandidateError, match=r"is scripted or exported .* Give the module as it was before"):
        reader_for(module, small_images)


def test_an_output_without_the_batch_first_is_refused() -> None:
    with pytest.raises(CandidateError, match=r"shape \(5, 2, 8\) for 2 inputs; expected one row for each"):
        reader_for(nn.Sequential(nn.Linear(16, 8), Reordered(1, 0, 2)), torch.rand(2, 5, 16))


def test_locating_costs_at_most_two_passes(pictures: torch.Tensor) -> None:
    for module in (tiny_timm("swin"), Around(tiny_timm("swin")), of_transformers("ViTModel", "ViTConfig", **SEES)):
        passes = []
        first = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
        first.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        reader_for(module.eval(), pictures)
        assert len(passes) <= 2
