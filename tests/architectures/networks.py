"""Architectures without weights, for the tests of archi2vec."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import networkx as nx
import pytest
import torch

from modelselect import archi2vec


def on_meta(library: str, name: str) -> torch.nn.Module:
    """An architecture of timm or torchvision, on the meta device."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(library, name)


def build(library: str, name: str) -> torch.nn.Module:
    module: torch.nn.Module
    if library == "timm":
        module = pytest.importorskip("timm").create_model(name)
    else:
        module = pytest.importorskip("torchvision").models.get_model(name, weights=None)
    return module


@functools.cache
def graph_of(library: str, name: str) -> nx.DiGraph[int]:
    module = on_meta(library, name)
    configuration: dict[str, Any] = getattr(module, "pretrained_cfg", {})
    return archi2vec.trace(module, configuration.get("input_size", (3, 224, 224)))


def operations(graph: nx.DiGraph[int]) -> list[str]:
    return [operation for _, operation in graph.nodes(data="operation")]
