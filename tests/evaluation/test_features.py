"""`features()` gives the evidence that `select()` scores, as arrays; the two share forward passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import modelselect as ms
from modelselect.candidates import preprocessing
from modelselect.errors import InvalidInputError, RemoteCodeError
from modelselect.host import get_host
from tests.evaluation.material import images

PLAIN, RESNET = "embedded:plain.letters", "embedded:resnet.letters"


def features(candidates: Any, folder: Path, dataset: Any = None, **settings: Any) -> Any:
    given = images() if dataset is None else dataset
    return ms.features(given, candidates, cache_dir=folder, device="cpu", progress=False, **settings)


def test_features_are_what_the_module_computes_and_what_select_scores(tmp_path: Path) -> None:
    pixels, labels = images()
    evidence = features(RESNET, tmp_path)
    backbone = ms.load(RESNET)
    prepared = torch.stack([backbone.preprocessing.prepare(Image.fromarray(image)) for image in pixels])
    with torch.no_grad():
        expected = backbone.read(backbone.module, backbone.preprocessing.finish(prepared)).features.numpy()
    order = [int(np.abs(expected - row).sum(axis=1).argmin()) for row in evidence.features]
    assert len(set(order)) == len(order)  # the probe shuffles; a fifth is held out, as in select()
    np.testing.assert_allclose(evidence.features, expected[order], rtol=1e-4, atol=1e-5)
    assert evidence.labels.tolist() == labels[order].tolist()
    np.testing.assert_allclose(evidence.source_probabilities.sum(axis=1), 1, atol=1e-5)
    board = ms.select(
        images(), RESNET, estimators="logme", cache_dir=tmp_path, device="cpu", history=False, progress=False
    )
    assert board.provenance["from_store"] == 0  # no score was kept, but the forward pass was
    assert board.best.scores["logme"] == ms.score(evidence.features, evidence.labels, "logme")


def test_a_second_call_reads_the_store_and_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = features(PLAIN, tmp_path)
    zoo = type(get_host().zoo("embedded"))

    def fail(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr(zoo, "load", fail)
    again = features(PLAIN, tmp_path)
    np.testing.assert_array_equal(first.features, again.features)


def test_several_candidates_share_the_decoded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    original = preprocessing.image_of

    def counted(row: Any) -> Any:
        decoded.append(row)
        return original(row)

    monkeypatch.setattr(preprocessing, "image_of", counted)
    found = features([PLAIN, RESNET], tmp_path)
    assert set(found) == {candidate.id for candidate in ms.search([PLAIN, RESNET])}
    assert len({len(evidence.features) for evidence in found.values()}) == 1
    both = len(decoded)
    decoded.clear()
    features(PLAIN, tmp_path / "other")
    assert 0 < len(decoded) <= both <= len(decoded) + 1  # one row shows whether a candidate repeats its features


def test_whole_numbers_are_targets_of_the_task_that_is_named(tmp_path: Path) -> None:
    pixels, _ = images()
    ages = np.arange(20, 20 + len(pixels))
    evidence = features(PLAIN, tmp_path, (pixels, ages), task="regression")
    assert evidence.target_kind == "numbers"
    assert evidence.labels.shape == (len(evidence.features), 1)
    assert set(evidence.labels[:, 0].tolist()) <= set(ages.tolist())


def test_only_the_wanted_fields_are_given(tmp_path: Path) -> None:
    evidence = features(PLAIN, tmp_path, fields=["features", "architecture"])
    assert evidence.labels is None
    assert evidence.source_probabilities is None
    assert evidence.metadata is None
    assert evidence.architecture.number_of_nodes() > 5
    with_source = features(PLAIN, tmp_path, fields=["source_features", "source_labels"], source=images(12))
    assert len(with_source.source_features) == len(with_source.source_labels) == 12


def test_a_module_of_the_caller_is_a_candidate(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU())
    evidence = features(module, tmp_path, (numbers, np.arange(20) % 2))
    assert evidence.features.shape == (16, 4)


def test_what_cannot_be_given_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"means 12 candidates .*expected one. For several, give a list"):
        features("embedded:*", tmp_path)
    with pytest.raises(InvalidInputError, match=r"fields has 'feature'; expected .*Did you mean 'features'"):
        features(PLAIN, tmp_path, fields=["feature"])
    with pytest.raises(InvalidInputError, match="fields is 'features'; expected several of"):
        features(PLAIN, tmp_path, fields="features")
    with pytest.raises(TypeError, match=r"features\(\) takes no top_k: it is a keyword of select\(\)"):
        features(PLAIN, tmp_path, top_k=1)


def test_a_candidate_that_fails_costs_itself_alone(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.json").write_text('{"builder": "code.py:build"}', encoding="utf-8")
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    (folder / "code.py").write_text("raise RuntimeError", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"own.* is left out: .*trust_remote_code"):
        found = features([PLAIN, folder], tmp_path / "store")
    assert [key.partition("@")[0] for key in found] == [PLAIN]
    with pytest.raises(RemoteCodeError, match="trust_remote_code"):
        features(folder, tmp_path / "store")
