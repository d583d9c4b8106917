"""The embedded zoo's networks: eight architecture families, each small enough to travel inside the package.

All take (B, 1, 32, 32) and offer `forward_features` (B, D) and, when called, the source logits of their `head`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

INPUT_SIZE = (1, 32, 32)
_TOKENS, _PATCH = 64, 4  # 32 x 32 pixels in patches of 4 x 4


class Network(nn.Module):
    """A trunk that ends in (B, D) features, and a linear head of source classes (an identity where there are none)."""

    def __init__(self, trunk: nn.Sequential, feature_dim: int, classes: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.trunk = trunk
        self.head = nn.Linear(feature_dim, classes) if classes else nn.Identity()

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.trunk(images)
        return features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.forward_features(images))
        return logits


@dataclass(frozen=True)
class Architecture:
    """One family: how people call it, the width of its features, and the function that makes its trunk."""

    family: str
    feature_dim: int
    trunk: Callable[[], nn.Sequential]


def build(architecture: str, classes: int) -> Network:
    """The named architecture with fresh weights and a head of `classes` (0: none).

    >>> import torch
    >>> network = build("resnet", classes=5)
    >>> network.forward_features(torch.zeros(2, *INPUT_SIZE)).shape, network(torch.zeros(2, *INPUT_SIZE)).shape
    (torch.Size([2, 32]), torch.Size([2, 5]))
    """
    plan = ARCHITECTURES[architecture]
    return Network(plan.trunk(), plan.feature_dim, classes)


# --- trunks ----------------------------------------------------------------------------------------------------------


def _plain() -> nn.Sequential:
    return nn.Sequential(
        _convolution(1, 16, stride=2), _convolution(16, 32, stride=2), _convolution(32, 48, stride=2),
        _convolution(48, 48), *_global_mean()
    )  # fmt: skip


def _resnet() -> nn.Sequential:
    return nn.Sequential(
        _convolution(1, 16, stride=2), Residual(16, 16), Residual(16, 32, stride=2), Residual(32, 32), *_global_mean()
    )


def _mobilenet() -> nn.Sequential:
    return nn.Sequential(
        _convolution(1, 16, stride=2), InvertedBottleneck(16, 24, stride=2), InvertedBottleneck(24, 24),
        InvertedBottleneck(24, 32, stride=2), InvertedBottleneck(32, 32), _convolution(32, 64, kernel=1),
        *_global_mean()
    )  # fmt: skip


def _densenet() -> nn.Sequential:
    return nn.Sequential(
        _convolution(1, 24, stride=2), nn.MaxPool2d(2), *(DenseLayer(width, 12) for width in (24, 36, 48)),
        _convolution(60, 32, kernel=1), nn.AvgPool2d(2), *(DenseLayer(width, 12) for width in (32, 44)),
        nn.BatchNorm2d(56), nn.ReLU(), *_global_mean()
    )  # fmt: skip


def _senet() -> nn.Sequential:
    return nn.Sequential(
        _convolution(1, 16, stride=2), Residual(16, 16, excited=True), Residual(16, 24, stride=2, excited=True),
        Residual(24, 40, stride=2, excited=True), *_global_mean()
    )  # fmt: skip


def _convnext() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 24, 4, stride=4), ConvNeXtBlock(24), ConvNeXtBlock(24),
        nn.Conv2d(24, 40, 2, stride=2), ConvNeXtBlock(40), *_global_mean(), nn.LayerNorm(40)
    )  # fmt: skip


def _vit() -> nn.Sequential:
    return nn.Sequential(
        Patches(32), Positions(32), *(AttentionBlock(32, heads=2) for _ in range(4)), nn.LayerNorm(32), TokenMean()
    )


def _mixer() -> nn.Sequential:
    return nn.Sequential(Patches(32), *(MixerBlock(32) for _ in range(4)), nn.LayerNorm(32), TokenMean())


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "plain": Architecture("plain CNN", 48, _plain),
        "resnet": Architecture("ResNet", 32, _resnet),
        "mobilenet": Architecture("MobileNet", 64, _mobilenet),
        "densenet": Architecture("DenseNet", 56, _densenet),
        "senet": Architecture("SENet", 40, _senet),
        "convnext": Architecture("ConvNeXt", 40, _convnext),
        "vit": Architecture("ViT", 32, _vit),
        "mixer": Architecture("MLP-Mixer", 32, _mixer),
    }
)


# --- convolutional parts ---------------------------------------------------------------------------------------------


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(_bare_convolution(inputs, outputs, kernel, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU())


def _bare_convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)


def _global_mean() -> tuple[nn.Module, nn.Module]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten()


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al., 2016), with squeeze-and-excitation (Hu et al., 2018) if asked."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, excited: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inputs, outputs, stride=stride),
            _bare_convolution(outputs, outputs, 3),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs) if excited else nn.Identity(),
        )
        changes = stride != 1 or inputs != outputs
        self.shortcut = (
            nn.Sequential(_bare_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
            if changes
            else nn.Identity()
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(maps) + self.shortcut(maps))


class SqueezeExcitation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 4, 1), nn.ReLU(), nn.Conv2d(width // 4, width, 1)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * torch.sigmoid(self.gate(maps))


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project (Sandler et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, expansion: int = 3) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.body = nn.Sequential(
            _convolution(inputs, hidden, kernel=1),
            _convolution(hidden, hidden, stride=stride, groups=hidden),
            _bare_convolution(hidden, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(maps)
        return maps + result if self.has_shortcut else result


class DenseLayer(nn.Module):
    """New maps beside the old ones (Huang et al., 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), _bare_convolution(inputs, growth, 3))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([maps, self.body(maps)], dim=1)


class ConvNeXtBlock(nn.Module):
    """Large depthwise kernel, then a two-layer perceptron at every place (Liu et al., 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.perceptron = nn.Sequential(nn.LayerNorm(width), *_perceptron(width, 4 * width))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        places = self.filter(maps).permute(0, 2, 3, 1)
        result: torch.Tensor = self.perceptron(places)
        return maps + result.permute(0, 3, 1, 2)


# --- token parts -----------------------------------------------------------------------------------------------------


def _perceptron(width: int, hidden: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)


class Patches(nn.Module):
    """(B, 1, 32, 32) -> (B, 64, width) tokens, one for each patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, width, _PATCH, stride=_PATCH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.project(images)
        return maps.flatten(2).transpose(1, 2)


class Positions(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, _TOKENS, width))
        nn.init.normal_(self.embedding, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.embedding


class AttentionBlock(nn.Module):
    """Self-attention, then a perceptron, each normalised before and beside a shortcut (Dosovitskiy et al., 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.LayerNorm(width), *_perceptron(width, 2 * width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, count, width = tokens.shape
        stacked = self.query_key_value(self.norm(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = stacked.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.project(mixed)
        result: torch.Tensor = tokens + self.perceptron(tokens)
        return result


class MixerBlock(nn.Module):
    """A perceptron across tokens, then one across channels (Tolstikhin et al., 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.across_tokens = nn.Sequential(*_perceptron(_TOKENS, 32))
        self.across_channels = nn.Sequential(nn.LayerNorm(width), *_perceptron(width, 2 * width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.across_tokens(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        result: torch.Tensor = tokens + self.across_channels(tokens)
        return result


class TokenMean(nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.mean(dim=1)
