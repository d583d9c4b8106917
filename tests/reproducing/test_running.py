"""Every published experiment runs on its stand-in, offline; at its own scale, what is missing is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

import modelselect as ms
from modelselect.errors import InvalidInputError, UnknownNameError
from modelselect.host.host import get_host
from modelselect.protocols import Experiment, Method, Protocol, Published, TruthTable
from modelselect.reproducing.stand_in import SHARED

PROTOCOLS = sorted(get_host().protocols)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all protocols: they share the forward passes."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def without_lab(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests of the lab take 10 s; with embedded networks every protocol runs everywhere."""
    if "lab" not in request.keywords:
        monkeypatch.delenv(SHARED, raising=False)
    return


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_runs_offline_on_its_stand_in(name: str, shared_store: Path, tmp_path: Path) -> None:
    protocol = get_host().protocol(name)
    found = ms.reproduce(name, scale="small", cache_dir=shared_store, device="cpu", progress=False)
    if protocol.picture:
        found.plot(None, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        assert "--plot" in found.notes[-1]
        return
    assert found.figures
    assert all(figure.ours is not None for figure in found.figures), found.to_text()
    shown = {figure.method for figure in found.figures}
    for estimator in {method.estimator for method in protocol.methods}:
        labels = [method.label for method in protocol.methods if method.estimator == estimator]
        assert shown & set(labels), estimator
    for measure in protocol.measures if protocol.methods else ():
        assert all(np.isfinite(found.figure(label, measure=measure).ours or 0) for label in shown)
    assert json.loads(found.to_json())["protocol"] == name
    if protocol.methods:
        assert "stand-in" in found.notes[0]


@pytest.mark.lab
def test_the_lab_stands_in_where_it_is_there(shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.conftest import shared_path

    monkeypatch.setenv(SHARED, str(shared_path("lab").parent))
    found = ms.reproduce(
        "blog-cifar10", scale="small", cache_dir=shared_store, device="cpu", progress=False, trust_remote_code=True
    )
    assert "of the lab" in found.notes[0]
    assert {figure.dataset for figure in found.figures} >= {"mean", "cifar10jpeg", "mnist10"}


def test_seeds_give_a_mean_and_a_deviation(shared_store: Path) -> None:
    found = ms.reproduce("blog-cifar10", scale="small", seeds=2, cache_dir=shared_store, device="cpu", progress=False)
    figure = found.figure("NCTI")
    assert figure.seeds == 2
    assert figure.deviation is not None


def test_a_protocol_that_lacks_downloads_says_what_and_how_much() -> None:
    with pytest.raises(
        InvalidInputError, match=r"11 candidates and the datasets .*cifar10 .*GB\).*--download.*--scale"
    ):
        ms.reproduce("blog-cifar10", progress=False)
    lost = replace(
        get_host().protocol("blog-cifar10"), experiments=(Experiment("Table 1", "all", "its data are lost"),)
    )
    with pytest.raises(InvalidInputError, match=r"cannot be run: its data are lost.*scale='small'"):
        ms.reproduce(lost, progress=False)
    with pytest.raises(UnknownNameError, match="blog-cifar10"):
        ms.reproduce("blog-cifar")
    with pytest.raises(InvalidInputError, match="scale is 'large'"):
        ms.reproduce("blog-cifar10", scale="large")
    with pytest.raises(InvalidInputError, match="seeds is 0"):
        ms.reproduce("blog-cifar10", seeds=0)


def own_protocol(folder: Path) -> Protocol:
    """Two datasets of folders, four embedded networks, two forms of one method."""
    from tests.benchmarking.conftest import folder as images

    known = {name: {"plain": 60.0, "resnet": 90.0, "vit": 75.0, "print": 70.0} for name in ("one", "two")}
    models = {
        "plain": "embedded:plain.random",
        "resnet": "embedded:resnet.textures",
        "vit": "embedded:vit.letters",
        "print": "embedded:densenet.print",
    }
    return Protocol(
        "own",
        "My table",
        "A. Author: My paper, 2026",
        (Experiment("Table 1", "agreement"),),
        candidates=tuple(models.values()),
        datasets={name: str(images(folder / name, number)) for number, name in enumerate(known)},
        truth=TruthTable("own", known, "my drawer", models=models),
        methods=(Method("terms", "ncti"), Method("ncc alone", "ncti", {"term": "ncc"}), Method("LogME", "logme")),
        measures=("kendall", "weighted_kendall_itm", "pairwise_accuracy", "top1_regret"),
        published=(
            Published("Table 1", "kendall", {"LogME": {"one": 40, "two": 60, "mean": 50}}, factor=100),
            Published("Table 2", "score", {"LogME": {"plain": 0.1, "gone": 0.2}}),
        ),
    )


def test_a_protocol_of_ones_own_runs_at_its_own_scale_and_is_compared(tmp_path: Path, shared_store: Path) -> None:
    protocol = own_protocol(tmp_path)
    found = ms.reproduce(protocol, cache_dir=shared_store, device="cpu", progress=False)
    figure = found.figure("LogME")
    assert figure.ours is not None
    assert figure.published == 0.5
    assert figure.difference == figure.ours - 0.5
    by_kendall = found.figure("terms", "one").ours
    assert by_kendall is not None
    assert found.figure("terms", "one", "pairwise_accuracy").ours == pytest.approx((by_kendall + 1) / 2)
    scores = {f.dataset: f for f in found.figures if f.measure == "score"}
    assert scores["plain"].ours is not None
    assert scores["gone"].ours is None
    expected = ms.benchmark(
        list(protocol.candidates),
        dict(protocol.datasets),
        {d: {f"embedded:{m}": 0.0 for m in ("plain.random", "resnet.textures")} for d in ("one", "two")},
        estimators="logme",
        probe_size=None,
        cache_dir=shared_store,
        device="cpu",
        progress=False,
    )
    assert scores["plain"].ours == expected.scores["logme"]["one"]["embedded:plain.random"]


def test_published_means_are_of_the_datasets_that_were_run(tmp_path: Path, shared_store: Path) -> None:
    protocol = own_protocol(tmp_path)
    assert protocol.truth is not None
    known = {"one": protocol.truth.accuracies["one"]}
    part = replace(protocol, truth=replace(protocol.truth, accuracies=known))
    found = ms.reproduce(part, cache_dir=shared_store, device="cpu", progress=False)
    assert found.figure("LogME").published == 0.4
    assert "No accuracies are known on two." in found.notes


def test_figures_are_written_and_plotted(tmp_path: Path, shared_store: Path) -> None:
    found = ms.reproduce(own_protocol(tmp_path), cache_dir=shared_store, device="cpu", progress=False)
    for name in ("figures.md", "figures.csv", "figures.json", "figures.txt"):
        found.save(tmp_path / name)
    assert "| LogME | mean |" in (tmp_path / "figures.md").read_text()
    assert (tmp_path / "figures.csv").read_text().startswith("measure,method,dataset,probe,ours,")
    with pytest.raises(InvalidInputError, match=r"expected \.md"):
        found.save(tmp_path / "figures.docx")
    for kind in ("scores", "time"):
        found.plot(kind, tmp_path / f"{kind}.png")
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidInputError, match="kind is 'pie'"):
        found.plot("pie")
    with pytest.raises(InvalidInputError, match="no epoch was recorded"):
        found.plot("dynamics")


def test_accuracies_are_measured_where_no_truth_is_known_and_each_row_has_its_proxy(tmp_path: Path) -> None:
    methods = (
        Method("letters", "rsa", proxy="embedded:plain.letters"),
        Method("shapes", "rsa", proxy="embedded:mobilenet.shapes"),
        Method("K", "knn"),
    )
    grid = {"epochs": 2, "backbone_learning_rate": (1e-3, 1e-2), "head_learning_rate": "tied", "method": "head"}
    protocol = replace(
        own_protocol(tmp_path), truth=None, published=(), methods=methods, measures=("kendall",), fine_tuning=grid
    )
    found = ms.reproduce(protocol, cache_dir=tmp_path / "store", device="cpu", progress=False)
    assert {figure.method for figure in found.figures if figure.ours is not None} == {"letters", "shapes", "K"}
    (truth,) = [found.provenance["truth"]]
    assert truth["verify"] == "head"
    assert truth["fine_tuning"]["head_learning_rate"] == "tied"
    points = [found.points[label]["one"] for label in ("letters", "shapes")]
    assert {m: score for m, (score, _) in points[0].items()} != {m: score for m, (score, _) in points[1].items()}


def test_the_proxy_of_the_caller_wins_over_that_of_a_row(tmp_path: Path) -> None:
    methods = (Method("own", "rsa", proxy="embedded:plain.letters"), Method("default", "rsa"))
    protocol = replace(own_protocol(tmp_path), methods=methods, published=(), measures=("kendall",))
    found = ms.reproduce(
        protocol, proxy="embedded:mobilenet.shapes", cache_dir=tmp_path / "store", device="cpu", progress=False
    )
    assert found.points["own"] == found.points["default"]


def test_the_proxy_of_rsa_may_be_trained_on_each_dataset_and_features_reduced(tmp_path: Path) -> None:
    whole, reduced = Method("whole", "rsa"), Method("reduced", "rsa", dimensions=5)
    protocol = replace(own_protocol(tmp_path), methods=(whole, reduced), published=(), measures=("kendall",))
    given: Any = {"proxy": "embedded:plain.random", "cache_dir": tmp_path / "store", "device": "cpu", "progress": False}
    plain, trained, published = (
        ms.reproduce(protocol, **given),
        ms.reproduce(protocol, train_proxy=True, **given),
        ms.reproduce(replace(protocol, methods=(replace(whole, train_proxy=True), reduced)), **given),
    )

    def scores(found: ms.Reproduction, label: str, dataset: str) -> list[float]:
        return [score for score, _ in found.points[label][dataset].values()]

    for dataset in ("one", "two"):
        assert scores(plain, "whole", dataset) != scores(plain, "reduced", dataset)
        assert scores(plain, "whole", dataset) != scores(trained, "whole", dataset)
        assert scores(trained, "whole", dataset) == scores(published, "whole", dataset)
        assert scores(plain, "reduced", dataset) == scores(published, "reduced", dataset)
    probe = ms.Probe.of(protocol.datasets["one"], size=None, holdout=0.0)
    vit, reference = (
        PCA(5, svd_solver="full").fit_transform(
            np.float64(ms.features(probe, name, device="cpu", progress=False).features)
        )
        for name in ("embedded:vit.letters", "embedded:plain.random")
    )
    expected = ms.score(vit, None, "rsa", proxy_features=reference)
    assert plain.points["reduced"]["one"]["embedded:vit.letters"][0] == pytest.approx(expected, abs=1e-3)


def test_a_method_that_goes_by_scores_of_another_reduces_the_features_of_that_one(tmp_path: Path) -> None:
    from tests.benchmarking.conftest import folder as images

    fennec, own = Method("all", "fennec", {"form": "paper"}), own_protocol(tmp_path)
    assert own.truth is not None
    known = {**own.truth.accuracies, "three": own.truth.accuracies["one"]}
    protocol = replace(
        own,
        datasets={**own.datasets, "three": str(images(tmp_path / "three", 2))},
        truth=replace(own.truth, accuracies=known),
        methods=(fennec, replace(fennec, label="two", dimensions=2)),
        published=(),
        measures=("kendall",),
    )
    found = ms.reproduce(protocol, cache_dir=tmp_path / "store", device="cpu", progress=False)
    assert found.points["all"] != found.points["two"]


def test_a_picture_of_ones_own_gets_the_evidence_by_dataset_and_candidate(tmp_path: Path) -> None:
    protocol = replace(
        own_protocol(tmp_path), truth=None, methods=(), published=(), picture="tests.reproducing.test_running:drawn"
    )
    ms.testing.check_protocol(protocol)
    found = ms.reproduce(protocol, cache_dir=tmp_path / "store", device="cpu", progress=False)
    assert found.plot() == {"one": len(protocol.candidates), "two": len(protocol.candidates)}
    with pytest.raises(InvalidInputError, match="has no scores to plot"):
        found.plot("time")
    with pytest.raises(AssertionError, match="expected 'module:function'"):
        ms.testing.check_protocol(replace(protocol, picture="tests.reproducing.test_running:nothing"))


def drawn(found: Mapping[str, Mapping[str, ms.Evidence]]) -> dict[str, int]:
    return {dataset: sum(e.features is not None for e in by.values()) for dataset, by in found.items()}


@pytest.mark.parametrize(
    ("proxy", "words"),
    [("embedded:plain.leters", "names 0 candidates"), ("embeded:plain.letters", "embedded"), ("plain", "zoo:name")],
)
def test_a_proxy_that_does_not_exist_is_refused_by_its_name(proxy: str, words: str, tmp_path: Path) -> None:
    protocol = replace(own_protocol(tmp_path), methods=(Method("own", "rsa"),), published=(), measures=("kendall",))
    with pytest.raises(InvalidInputError, match=words) as refused:
        ms.reproduce(protocol, proxy=proxy, cache_dir=tmp_path / "store", device="cpu", progress=False)
    assert "downloaded" not in str(refused.value)


def test_without_download_no_proxy_is_loaded_that_is_not_here(tmp_path: Path) -> None:
    away = "timm:vit_base_patch14_dinov2.lvd142m"
    methods = (Method("here", "rsa", proxy="embedded:plain.letters"), Method("away", "rsa", proxy=away))
    protocol = replace(own_protocol(tmp_path), methods=methods, published=(), measures=("kendall",))
    found = ms.reproduce(protocol, cache_dir=tmp_path / "store", device="cpu", progress=False)
    assert list(found.points) == ["here"]
    assert any(note.startswith(f"No figure of away: its proxy {away} has to be downloaded") for note in found.notes)
    with pytest.raises(InvalidInputError, match=rf"every method of own .*{away}\. Add download=True"):
        ms.reproduce(protocol, proxy=away, cache_dir=tmp_path / "store", device="cpu", progress=False)
