"""Files of weights of known architectures, as training scripts leave them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

import modelselect as ms
from modelselect.errors import CandidateError, ExpressionError
from modelselect.host.host import get_host
from modelselect.testing.backbones import probe_items, read_module


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(models.resnet18(weights=None).state_dict())


def without_head(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


LAYOUTS = {
    "torchvision": lambda state: state,
    "MoCo": lambda state: {
        "epoch": 200,
        "state_dict": without_head({n: t + 1 for n, t in state.items()}, "module.encoder_k.")
        | without_head(state, "module.encoder_q.")
        | {"module.encoder_q.fc.weight": torch.zeros(128, 512)},
    },
    "SwAV": lambda state: without_head(state, "module.") | {"module.prototypes.weight": torch.zeros(3, 128)},
    "DINO": lambda state: {
        "student": without_head({n: t + 1 for n, t in state.items()}, "module.backbone."),
        "teacher": without_head(state, "backbone."),
    },
    "BYOL": lambda state: {
        "state_dict": without_head(state, "online_network.encoder.")
        | without_head({n: t + 1 for n, t in state.items()}, "target_network.encoder.")
    },
    "PyContrast": lambda state: {"model": without_head(state, "module.encoder.module."), "epoch": 1},
    "VISSL": lambda state: without_head(state, "_feature_blocks."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_network_is_found_among_the_names_of_training_scripts(
    layout: str, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(LAYOUTS[layout](weights), tmp_path / "model.pth")  # type: ignore[no-untyped-call]
    (candidate,) = ms.search(f"checkpoint:{tmp_path}/model.pth?architecture=resnet18")
    backbone = get_host().zoo("checkpoint").load(candidate)
    expected = models.resnet18(weights=None)
    expected.load_state_dict(weights)
    expected.fc = torch.nn.Identity()
    expected.eval()
    assert candidate.metadata["parameters"] == sum(p.numel() for p in expected.parameters())
    items = probe_items(backbone, 2)
    outputs = read_module(backbone, items)
    assert outputs.logits is None
    batch = backbone.preprocessing.finish(torch.stack([backbone.preprocessing.prepare(item) for item in items]))
    with torch.no_grad():
        assert torch.equal(outputs.features, expected(batch))


def test_the_zoo_keeps_the_promises_of_a_zoo(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "model.pth")  # type: ignore[no-untyped-call]
    ms.testing.check_zoo(get_host().zoo("checkpoint"), f"{tmp_path}/model.pth?architecture=resnet18")


def test_safetensors_and_a_prefix_are_read(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = without_head(weights, "a.") | without_head({n: t * 2 for n, t in weights.items()}, "b.")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    place = f"{tmp_path}/model.safetensors?architecture=resnet18"
    zoo = get_host().zoo("checkpoint")
    one, other = (zoo.load(ms.search(f"checkpoint:{place}&prefix={p}")[0]).module for p in ("a.", "b."))
    assert torch.equal(2 * one.conv1.weight, other.conv1.weight)


class Bomb:
    def __reduce__(self) -> Any:
        return print, ("boom",)


def test_only_tensors_are_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pth").write_bytes(pickle.dumps({"conv1.weight": Bomb()}))
    (candidate,) = ms.search(f"checkpoint:{tmp_path}/model.pth?architecture=resnet18")
    with pytest.raises(CandidateError):
        get_host().zoo("checkpoint").load(candidate)
    assert "boom" not in capsys.readouterr().out


def test_faults_say_what_to_write(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "model.pth")  # type: ignore[no-untyped-call]
    zoo = get_host().zoo("checkpoint")
    with pytest.raises(ExpressionError, match=r"write .*model\.pth\?architecture=NAME"):
        ms.search(f"checkpoint:{tmp_path}/model.pth")
    with pytest.raises(ExpressionError, match="no file"):
        ms.search(f"checkpoint:{tmp_path}/gone.pth?architecture=resnet18")
    with pytest.raises(ExpressionError, match=r"neither torchvision nor timm .*resnet18"):
        ms.search(f"checkpoint:{tmp_path}/model.pth?architecture=resnet-18")
    with pytest.raises(ExpressionError, match="moco-v2"):
        ms.search("checkpoint:moco-v22")
    (candidate,) = ms.search(f"checkpoint:{tmp_path}/model.pth?architecture=resnet34")
    with pytest.raises(CandidateError, match=r"lacks \d+ of \d+ tensors, such as layer1"):
        zoo.load(candidate)
    torch.save({"x": torch.zeros(1)}, tmp_path / "model.pth")  # type: ignore[no-untyped-call]
    with pytest.raises(CandidateError, match="has changed"):
        zoo.load(candidate)


def test_the_twelve_of_the_papers_are_known_with_where_their_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    zoo = get_host().zoo("checkpoint")
    found = ms.search("pool:papers-self-supervised")
    assert len(found) == 12
    assert all(candidate.metadata["url"].startswith("https://") for candidate in found)
    assert not any(map(zoo.is_here, found))
    byol = next(c for c in found if c.name == "byol")
    with pytest.raises(CandidateError, match=r"pickle of JAX.*byol\.pth"):
        zoo.load(byol)
    torch.manual_seed(0)
    (tmp_path / "checkpoints").mkdir()
    torch.save(models.resnet50(weights=None).state_dict(), tmp_path / "checkpoints" / "byol.pth")  # type: ignore[no-untyped-call]
    assert zoo.is_here(byol)
    module = zoo.load(byol).module
    assert sum(parameter.numel() for parameter in module.parameters()) == byol.metadata["parameters"]


def test_networks_of_parc_keep_their_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    zoo = get_host().zoo("checkpoint")
    found = {candidate.name: candidate for candidate in zoo.search("parc-*")}
    assert len(found) == 28
    candidate = found["parc-resnet18-oxford_pets"]
    assert candidate.metadata["source_classes"] == 37
    with pytest.raises(CandidateError, match=r"take models/resnet18/resnet18_oxford_pets\.pth out of it"):
        zoo.load(candidate)
    network = models.resnet18(num_classes=37).eval()
    (tmp_path / "checkpoints").mkdir()
    saved = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(saved, tmp_path / "checkpoints" / "parc-resnet18-oxford_pets.pth")  # type: ignore[no-untyped-call]
    backbone = zoo.load(candidate)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        outputs = backbone.read(backbone.module, images)
        torch.testing.assert_close(outputs.logits, network(images))
    assert outputs.features.shape == (2, 512)
    assert sum(p.numel() for p in backbone.module.parameters()) == candidate.metadata["parameters"]
