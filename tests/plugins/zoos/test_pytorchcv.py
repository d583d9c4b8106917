"""The zoo of pytorchcv lists its classifiers without importing it, and loads weights that are what they say."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from modelselect.errors import CandidateError, ExpressionError
from modelselect_plugins.pools.papers import FENNEC
from modelselect_plugins.zoos import pytorchcv as module
from modelselect_plugins.zoos.pytorchcv import PytorchcvZoo

pytest.importorskip("pytorchcv")
ZOO = PytorchcvZoo()
SMALL = "resnet20_cifar10"
PRINTED = {
    "alexnet": 62_378_344,
    "zfnet": 62_357_608,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "preresnet18": 11_687_848,
    "resnext14_16x4d": 7_127_336,
    "seresnet50": 28_088_024,
    "senet16": 31_366_168,
    "airnet50_1x64d_r2": 27_425_864,
    "scnet50": 25_564_584,
    "regnetx002": 2_684_792,
    "diracnet18v2": 11_511_784,
    "densenet121": 7_978_856,
    "hrnet_w18_small_v1": 13_187_464,
    "shakeshakeresnet20_2x16d_cifar10": 541_082,
    "shufflenet_g1_w1": 1_531_936,
    "mobilenet_w1": 4_231_976,
    "igcv3_w1": 3_491_688,
    "inceptionv3": 23_834_568,
    "efficientnet_b0": 5_288_548,
}
"""One network of each of the 20 families of the table, with its parameters there."""


def test_it_lists_classifiers_and_the_networks_of_the_paper_have_the_parameters_that_the_paper_prints() -> None:
    names = {candidate.name for candidate in ZOO.search("*")}
    assert len(names) > 500
    assert "deeplabv3_resnetd101b_voc" not in names  # segmentation
    assert len(FENNEC.split()) == 105
    assert names >= {*FENNEC.split()}
    counted = {name: next(iter(ZOO.search(name))).metadata["parameters"] for name in PRINTED}
    assert counted == PRINTED
    (found,) = ZOO.search(SMALL)
    assert found.metadata["source_classes"] == 10
    assert found.metadata["input_size"] == (3, 32, 32)
    with pytest.raises(ExpressionError, match="Did you mean 'resnet20_cifar10'"):
        ZOO.search("resnet20_cifar11")
    with pytest.raises(ExpressionError, match="have revision"):
        ZOO.search(f"{SMALL}@ffffffff")


def test_search_imports_no_library() -> None:
    code = (
        "import sys; from modelselect_plugins.zoos.pytorchcv import PytorchcvZoo; list(PytorchcvZoo().search('*')); "
        "assert not {'torch', 'pytorchcv', 'requests'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_of_the_library_are_loaded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorchcv.model_provider import get_model

    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    torch.manual_seed(0)
    network = get_model(SMALL).eval()
    (candidate,) = ZOO.search(SMALL)
    known = module._networks()[SMALL]
    assert not ZOO.is_here(candidate)
    torch.save(network.state_dict(), tmp_path / known.file)
    assert ZOO.is_here(candidate)
    with pytest.raises(CandidateError, match="is damaged or of another version"):
        ZOO.load(candidate)
    digest = hashlib.sha1((tmp_path / known.file).read_bytes()).hexdigest()
    changed = module._Known(known.parameters, known.file, digest, known.release, known.side, known.scale)
    monkeypatch.setattr(module, "_networks", lambda: {SMALL: changed})
    backbone = ZOO.load(candidate)
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        found = backbone.read(backbone.module, images)
        torch.testing.assert_close(found.logits, network(images))
    assert found.features.shape == (4, 64)
    skeleton = ZOO.skeleton(candidate)
    assert sum(parameter.numel() for parameter in skeleton.parameters()) == candidate.metadata["parameters"]


def test_a_download_that_is_killed_leaves_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, begun = module._networks()[SMALL], []
    path = tmp_path / known.file

    def download(url: str, archive: str, progress: bool) -> None:
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr(known.file, b"0" * 1000)

    def killed(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            begun.append(file.write(data[:10]))
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            module._download(known, path)
    assert begun == [10]
    assert not path.exists()
    module._download(known, path)
    assert path.read_bytes() == b"0" * 1000
    assert list(tmp_path.iterdir()) == [path]
