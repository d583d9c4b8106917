"""The hub zoo: what a query matches, what is known without weights, and that real models load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect import archi2vec
from modelselect.candidates.metadata import METADATA_FIELDS, TEXT_FIELDS
from modelselect.candidates.preprocessing import example_batch
from modelselect.cli import app
from modelselect.errors import CandidateError, ExpressionError
from modelselect.evaluation import description
from modelselect.testing.zoos import check_zoo
from modelselect_plugins.zoos.directory import DirectoryZoo
from modelselect_plugins.zoos.hub import HubZoo
from tests.conftest import shared_path
from tests.hub import models
from tests.hub.server import Hub

ZOO = HubZoo()


def names(expression: str) -> list[str]:
    return [candidate.name for candidate in ZOO.search(expression.removeprefix("hub:"))]


def listed(hub: Hub, name: str, parameters: int | None = None, **facts: Any) -> None:
    """A repository that is only looked at in listings: it has the files' names, and nothing in them."""
    counts = None if parameters is None else {"parameters": {"F32": parameters}, "total": parameters}
    files = {"config.json": b"{}", "pytorch_model.bin" if parameters is None else "model.safetensors": b""}
    tags = [*facts.pop("tags", []), *([] if parameters is None else ["safetensors"])]
    hub.model(name, files, tags=tags, **({} if counts is None else {"safetensors": counts}), **facts)


@pytest.fixture
def shelf(hub: Hub) -> Hub:
    """A few entries that differ in what queries ask."""
    image = {"pipeline_tag": "image-classification"}
    listed(hub, "google/vit-tiny", 5_000_000, library_name="transformers", license="apache-2.0", downloads=900, **image)
    listed(
        hub, "google/vit-huge", 600_000_000, library_name="transformers", license="apache-2.0", downloads=50, **image
    )
    listed(hub, "timm/vit-small", 22_000_000, library_name="timm", license="mit", downloads=5000, likes=7, **image)
    listed(hub, "timm/resnet", 11_000_000, library_name="timm", license="mit", downloads=700, likes=3, **image)
    listed(hub, "lab/pickled", None, library_name="transformers", license="mit", downloads=2000, **image)
    listed(hub, "lab/gated", 8_000_000, library_name="timm", license="other", downloads=1, gated="auto", **image)
    listed(hub, "lab/bert", 4_000_000, library_name="transformers", pipeline_tag="fill-mask", tags=["en"], downloads=3)
    return hub


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?task=fill-mask", ["lab/bert"]),
        ("?library=timm", ["timm/vit-small", "timm/resnet", "lab/gated"]),
        ("?author=google&sort=downloads", ["google/vit-tiny", "google/vit-huge"]),
        ("?license=mit&task=image-classification", ["timm/vit-small", "lab/pickled", "timm/resnet"]),
        ("?search=vit&sort=likes&limit=1", ["timm/vit-small"]),
        ("?params=<10M&task=image-classification", ["google/vit-tiny", "lab/gated"]),
        ("?params=>10M&params=<=22M", ["timm/vit-small", "timm/resnet"]),
        ("?params<0.005B", ["lab/bert"]),
        ("?downloads=>1000", ["timm/vit-small", "lab/pickled"]),
        ("?downloads>=700&limit=2", ["timm/vit-small", "lab/pickled"]),
        ("?gated=true", ["lab/gated"]),
        ("?gated=false&library=timm", ["timm/vit-small", "timm/resnet"]),
        ("?safetensors=false", ["lab/pickled"]),
        ("?safetensors_only=true&license=mit", ["timm/vit-small", "timm/resnet"]),
        ("?language=en", ["lab/bert"]),
        ("?tag=timm&tag=license:mit", ["timm/vit-small", "timm/resnet"]),
        ("?search=nothing%20of%20this%20name", []),
        ("google/vit-*", ["google/vit-tiny", "google/vit-huge"]),
        ("timm/*n?t", ["timm/resnet"]),
    ],
)
def test_a_query_means_what_it_says(shelf: Hub, query: str, expected: list[str]) -> None:
    assert names(query) == expected


def test_languages_are_the_codes_among_the_tags_or_in_the_card(shelf: Hub) -> None:
    listed(shelf, "lab/polyglot", tags=["de", "FR", "tf", "jax"], cardData={"language": ["De", "gsw"]})
    (bert,), (in_listing,) = ZOO.search("?language=en"), ZOO.search("?language=de")
    (alone,) = ZOO.search("lab/polyglot")
    assert bert.metadata["languages"] == ("en",)
    assert in_listing.metadata["languages"] == ("de",)
    assert alone.metadata["languages"] == ("de", "gsw")
    assert "languages" not in ZOO.search("google/vit-*")[0].metadata  # type: ignore[index]


def test_a_size_that_is_not_known_is_not_below_a_bound(shelf: Hub) -> None:
    assert "lab/pickled" in names("?task=image-classification")
    assert "lab/pickled" not in names("?task=image-classification&params=<1000B")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?tsak=image-classification", "Did you mean 'task'"),
        ("?params", r"Expected key=value, joined by &, with the keys task, library"),
        ("?params=small", r"'params' is 'small'; expected a bound such as 'params=<50M'"),
        ("?params=", "'params' has no value; expected a value, as in 'params=<50M'"),
        ("?limit=0", "'limit' is '0'; expected the maximum number of candidates"),
        ("?limit=many", "'limit' is 'many'"),
        ("?sort=download", "Did you mean 'downloads'"),
        ("?gated=perhaps", "expected true or false"),
        ("?task=a&task=b", "'task' is given 2 times"),
        ("*/vit", "name the owner, as in 'hub:google/vit-"),
        ("vit*", "name the owner"),
        ("owner/name@a/../../b", "is not a pattern of the Hub"),
        ("owner/../other", "is not a pattern of the Hub; expected 'hub:owner/name'"),
        ("a/b/c", "is not a pattern of the Hub"),
        ("owner/name?poling=cls", "pooling"),
    ],
)
def test_what_cannot_be_asked_is_told_before_anything_is_asked(hub: Hub, query: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        ZOO.search(query)
    assert hub.requests == []


def test_the_command_line_shows_what_the_hub_knows(
    shelf: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        app.main(["search", "hub:?author=lab"])
    assert not stopped.value.code
    shown = capsys.readouterr().out
    assert all(column in shown for column in ("parameters", "license", "library", "downloads", "weights", "gated"))
    assert [word for word in shown.split() if word in ("pickle", "safetensors")] == ["pickle"] + ["safetensors"] * 2


def test_a_thousand_entries_take_a_handful_of_requests_and_seconds(hub: Hub) -> None:
    for index in range(3000):
        listed(hub, f"me/model-{index:04}", 1000 * index, pipeline_tag="image-classification", downloads=index)
    begun = time.perf_counter()
    assert len(ms.search("hub:?task=image-classification&limit=1500")) == 1500
    assert time.perf_counter() - begun < 10
    assert hub.count("/api/models") <= 2
    hub.requests.clear()
    found = ms.search("hub:?task=image-classification&downloads=>2500&params=<2800K&limit=1000")
    assert [c.name for c in found] == [f"me/model-{index:04}" for index in range(2799, 2500, -1)]
    assert hub.count("/api/models") == 1  # what comes after is downloaded less


def test_a_query_that_leaves_the_task_open_is_narrowed_to_the_run(shelf: Hub) -> None:
    listed(shelf, "lab/pairs", 4_000_000, library_name="transformers", pipeline_tag="sentence-similarity", downloads=9)
    listed(shelf, "lab/sound", 4_000_000, library_name="transformers", pipeline_tag="audio-classification", downloads=8)
    listed(shelf, "lab/finder", 4_000_000, library_name="transformers", pipeline_tag="object-detection", downloads=7)
    assert ZOO.for_task("?author=lab", "classification", "text") != "?author=lab"
    found = {
        key: names(ZOO.for_task("?author=lab&safetensors=true", *key))
        for key in (
            ("classification", "text"),
            ("text-pair", "text"),
            ("retrieval", "text"),
            ("token-classification", "text"),
            ("classification", "image"),
            ("detection", "image"),
            ("audio-classification", "audio"),
        )
    }
    assert found == {
        ("classification", "text"): ["lab/pairs", "lab/bert"],
        ("text-pair", "text"): ["lab/pairs", "lab/bert"],
        ("retrieval", "text"): ["lab/pairs", "lab/bert"],
        ("token-classification", "text"): ["lab/bert"],
        ("classification", "image"): ["lab/gated"],
        ("detection", "image"): ["lab/finder", "lab/gated"],
        ("audio-classification", "audio"): ["lab/sound"],
    }
    listed(shelf, "lab/plain", 4_000_000, library_name="timm", downloads=7)
    assert "lab/plain" in names(ZOO.for_task("?author=lab", "classification", "image")), "its owner gave it no task"
    assert "none" not in ZOO.for_task("?library=timm", "classification", "image")
    assert names("?author=lab&task=none") == ["lab/plain"]
    for pattern in ("?task=fill-mask", "lab/bert", "lab/*"):
        assert ZOO.for_task(pattern, "text-pair", "text") == pattern


def test_a_run_searches_the_hub_for_its_own_task(shelf: Hub, cache: Path) -> None:
    texts = (["a cat", "a dog"] * 10, [0, 1] * 10)
    plan = ms.plan(texts, "hub:?author=lab", progress=False, history=False)
    assert [row.candidate.name for row in plan.rows] == ["lab/bert"]
    with pytest.raises(ExpressionError, match="no candidate matched 'hub:\\?author=google'"):
        ms.plan(texts, "hub:?author=google", progress=False, history=False)


def test_a_query_without_a_limit_has_one(hub: Hub) -> None:
    for index in range(150):
        listed(hub, f"me/model-{index}", downloads=index)
    assert len(names("?author=me")) == 100


def test_a_search_that_sifts_too_long_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelselect_plugins.zoos._hub.listing.MAX_SCANNED", 20)
    for index in range(30):
        listed(hub, f"me/model-{index:02}", 10 - index % 10, downloads=30 - index)
    with pytest.warns(UserWarning, match="only the first 20 models that the Hub lists were checked, and 2 match"):
        assert names("?likes=0&params=<2") == ["me/model-09", "me/model-19"]


# --- one model -------------------------------------------------------------------------------------------------------


def test_branches_tags_and_short_commits_mean_a_commit(hub: Hub) -> None:
    repository = hub.model("me/vit", models.image_files("vit", seed=0))
    old = repository.sha
    repository.branches["v1.0"] = old
    new = repository.commit(models.image_files("vit", seed=1))
    for pattern, commit in {"me/vit": new, "me/vit@main": new, "me/vit@v1.0": old, f"me/vit@{old[:9]}": old}.items():
        (candidate,) = ZOO.search(pattern)
        assert candidate.id == f"hub:me/vit@{commit}"
        assert [c.id for c in ms.search(candidate.id)] == [candidate.id]


def test_metadata_says_what_the_hub_and_the_configuration_know(hub: Hub) -> None:
    files = models.image_files("vit")
    facts = {"library_name": "transformers", "pipeline_tag": "image-classification", "license": "mit", "likes": 4}
    hub.model("me/vit", files, downloads=12, tags=["dataset:imagenet-1k"], gated=False, **facts)
    (candidate,) = ZOO.search("me/vit")
    assert candidate.metadata == {
        "architecture": "ViTForImageClassification",
        "family": "vit",
        "modality": "image",
        "task": "image-classification",
        "library": "transformers",
        "parameters": sum(p.numel() for p in ZOO.load(candidate).module.parameters()),
        "input_size": (3, 32, 32),
        "feature_dim": 16,
        "source_dataset": "imagenet-1k",
        "source_classes": 7,
        "license": "mit",
        "downloads": 12,
        "likes": 4,
        "gated": False,
        "private": False,
        "weights": "safetensors",
        "scan": "safe",
        "download_bytes": sum(len(content) for content in files.values()),
        "url": f"{hub.url}/me/vit",
        "remote_code": False,
    }
    assert set(candidate.metadata) <= {*METADATA_FIELDS, *TEXT_FIELDS}
    (found,) = ZOO.search("?author=me")
    assert found.metadata["download_bytes"] == pytest.approx(candidate.metadata["download_bytes"], rel=0.3)


def test_what_the_hubs_scan_found_is_told(hub: Hub) -> None:
    files = models.pickled(models.image_files("vit"))
    hub.model("me/bad", files, scan={"pytorch_model.bin": "unsafe"})
    hub.model("me/new", files, scan=None)
    metadata = {name: next(iter(ZOO.search(name))).metadata for name in ("me/bad", "me/new")}
    assert {name: (m["weights"], m["scan"]) for name, m in metadata.items()} == {
        "me/bad": ("pickle", "pytorch_model.bin (unsafe)"),
        "me/new": ("pickle", "pending"),
    }


def test_weights_that_are_not_a_models_own_do_not_count(hub: Hub) -> None:
    config = {"config.json": models.image_files("vit")["config.json"]}
    hub.model("me/adapter", {**config, "adapter_model.safetensors": b""}, tags=["safetensors"])
    hub.model("me/whole", models.image_files("vit"))
    assert {c.name: c.metadata["weights"] for c in ZOO.search("?author=me")} == {
        "me/adapter": "none",
        "me/whole": "safetensors",
    }
    assert names("?author=me&safetensors=true&limit=1") == ["me/whole"]


def test_the_modality_of_a_model_is_known(hub: Hub) -> None:
    hub.model("me/vit", models.image_files("vit"))  # neither with a task nor with a library
    hub.model("me/bert", models.text_files())
    hub.model("me/tiny", models.timm_files())
    found = {name: next(iter(ZOO.search(name))).metadata for name in ("me/vit", "me/bert", "me/tiny")}
    assert {name: metadata["modality"] for name, metadata in found.items()} == {
        "me/vit": "image",
        "me/bert": "text",
        "me/tiny": "image",
    }


def test_a_skeleton_takes_no_weights(hub: Hub) -> None:
    hub.model("me/vit", models.image_files("vit"))
    hub.model("me/tiny", models.timm_files())
    for name in ("me/vit", "me/tiny"):
        (candidate,) = ZOO.search(name)
        skeleton = ZOO.skeleton(candidate)
        assert all(parameter.is_meta for parameter in skeleton.parameters())
        loaded = sum(parameter.numel() for parameter in ZOO.load(candidate).module.parameters())
        assert sum(parameter.numel() for parameter in skeleton.parameters()) == loaded
    assert hub.count("GET .*model.safetensors") == 2  # the loads


def test_copies_of_a_model_are_traced_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(name: str, classes: int, labels: list[str]) -> None:
        files = models.timm_files("test_resnet", classes=classes)
        configuration = json.loads(files["config.json"])
        configuration["pretrained_cfg"]["label_names"] = labels
        hub.model(name, {**files, "config.json": json.dumps(configuration).encode()}, library_name="timm")

    copied("me/cats", 12, ["cat"] * 12)
    copied("me/dogs", 12, ["dog"] * 12)
    copied("me/both", 24, ["cat", "dog"] * 12)
    candidates = [next(iter(ZOO.search(name))) for name in ("me/cats", "me/dogs", "me/both")]
    traced: list[Any] = []
    plain = description.trace_and_count

    def noted(module: Any, **inputs: Any) -> Any:
        traced.append(module)
        return plain(module, **inputs)

    monkeypatch.setattr(description, "trace_and_count", noted)
    monkeypatch.setattr(description, "_TRACED", OrderedDict())
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    plan = ms.plan((images, [0, 1] * 10), candidates, estimators="logme", progress=False)
    expected = [archi2vec.count_macs(ZOO.skeleton(c), c.metadata["input_size"]) for c in candidates]
    assert [row.macs for row in plan.rows] == expected
    sizes = [sum(parameter.numel() for parameter in ZOO.skeleton(c).parameters()) for c in candidates]
    assert [row.parameters for row in plan.rows] == sizes
    assert expected[0] == expected[1] != expected[2]
    assert len(traced) == 2


# --- load ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", models.IMAGE_KINDS)
def test_features_are_those_of_the_same_model_in_a_folder(hub: Hub, kind: str, tmp_path: Path) -> None:
    same_as_in_a_folder(hub, models.image_files(kind), tmp_path)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_text_encoders_too(hub: Hub, kind: str, tmp_path: Path) -> None:
    same_as_in_a_folder(hub, models.text_files(kind), tmp_path)
    same_as_in_a_folder(hub, models.text_files(kind), tmp_path, "?pooling=cls")


def test_timms_checkpoints_too(hub: Hub, tmp_path: Path) -> None:
    same_as_in_a_folder(hub, models.timm_files("test_byobnet"), tmp_path)


def same_as_in_a_folder(hub: Hub, files: dict[str, bytes], folder: Path, settings: str = "") -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    forms = {"me/whole": files, "me/sharded": models.sharded(files), "me/pickled": models.pickled(files)}
    if b'"architecture"' in files["config.json"]:
        del forms["me/sharded"]  # timm has no such form
    (reference,) = DirectoryZoo().search(f"{folder}{settings}")
    expected = read(DirectoryZoo().load(reference))
    for name, content in forms.items():
        hub.model(name, content)
        (candidate,) = ZOO.search(f"{name}{settings}")
        assert [c.id for c in ms.search(candidate.id)] == [candidate.id]
        features, logits = read(ZOO.load(candidate))
        assert np.array_equal(features, expected[0])
        assert (logits is None and expected[1] is None) or np.array_equal(logits, expected[1])


def read(backbone: Any) -> tuple[Any, Any]:
    import torch

    preprocessing = backbone.preprocessing
    if hasattr(preprocessing, "encode"):
        rows = [preprocessing.prepare(text) for text in ("it is good", "the bad and the fine")]
        batch = preprocessing.finish(torch.stack(rows))
    else:
        batch = example_batch(preprocessing)
    with torch.inference_mode():
        outputs = backbone.read(backbone.module, batch)
    return outputs.features.numpy(), None if outputs.logits is None else outputs.logits.numpy()


def test_only_what_loading_takes_is_fetched(hub: Hub) -> None:
    others = {
        "README.md": b"x",
        "pytorch_model.bin": b"x",
        "tf_model.h5": b"x",
        "onnx/model.onnx": b"x",
        "training_args.bin": b"x",
        "code.py": b"x",
    }
    files = models.image_files("vit")
    hub.model("me/vit", {**files, **others})
    (candidate,) = ZOO.search("me/vit")
    ZOO.load(candidate)
    assert {r.rsplit("/", 1)[1] for r in hub.requests if "/resolve/" in r} == set(files)
    assert candidate.metadata["download_bytes"] == sum(map(len, files.values()))


def test_what_is_here_is_not_fetched_again(hub: Hub) -> None:
    hub.model("me/vit", models.image_files("vit"))
    (candidate,) = ZOO.search("me/vit")
    ZOO.load(candidate)
    hub.requests.clear()
    ZOO.load(candidate)
    assert len(hub.requests) == 1


def test_the_clients_progress_bars_do_not_stand_between_ours(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    seen = []

    def watched(*arguments: Any, download: Any = huggingface_hub.hf_hub_download, **settings: Any) -> Any:
        seen.append(huggingface_hub.utils.are_progress_bars_disabled())
        return download(*arguments, **settings)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", watched)
    hub.model("me/vit", models.image_files("vit"))
    ZOO.search("me/vit")
    assert seen == [True, True]
    assert not huggingface_hub.utils.are_progress_bars_disabled()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.gguf": b""}, "the repository has no config.json, so the model cannot be built; it has model.gguf"),
        ({"config.json": b"{"}, "the config.json cannot be read"),
        (
            {"config.json": b"[]"},
            "has no key that says how to build the model; expected 'architecture' \\(timm\\) or 'model_type'",
        ),
        (
            {"config.json": b'{"model_type": "vit"}', "tf_model.h5": b""},
            "no weights that can be loaded here; .*it has tf_model.h5",
        ),
        ({"config.json": b'{"architecture": "resnet81"}', "model.safetensors": b""}, "Did you mean 'resnet"),
        ({"config.json": b'{"model_type": "whisperer"}', "model.safetensors": b""}, "transformers cannot load it"),
    ],
)
def test_what_is_no_model_for_us_says_why(hub: Hub, files: dict[str, bytes], message: str) -> None:
    hub.model("me/odd", files)
    (candidate,) = ZOO.search("me/odd")
    with pytest.raises(CandidateError, match=message) as caught:
        ZOO.load(candidate)
    assert "\n" not in str(caught.value)


def test_the_zoo_keeps_the_promises_of_zoos(hub: Hub) -> None:
    hub.model("me/vit", models.image_files("vit"))
    check_zoo(ZOO, "me/vit")


# --- all of it -------------------------------------------------------------------------------------------------------


@pytest.mark.lab
def test_real_models_rank_a_real_dataset_as_they_do_from_folders(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = shared_path("lab", "datasets", "mnist10")
    folders = [path.parent for path in shared_path("lab", "models").glob("mobilenetv[12]_100_224_*/config.json")]
    for folder in folders:
        hub.model(f"lab/{folder.name}", models.files_of(folder), library_name="timm")
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "store"))
    settings: dict[str, Any] = {"estimators": "logme", "probe_size": 20, "progress": False}
    board = ms.select(dataset, "hub:?author=lab", **settings)
    local = ms.select(dataset, [f"dir:{folder}" for folder in folders[:2]], **settings)
    assert len(board.ranked) == len(folders) == 5
    scores = {r.candidate.name.split("/")[1]: r.score for r in board.rows}
    for r in local.rows:
        assert scores[Path(r.candidate.name).name] == r.score


def digits(rows: int) -> tuple[Any, list[int]]:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = (loaded.images[:rows] * 15.9).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    return np.repeat(images[..., None], 3, axis=-1), [int(label) for label in loaded.target[:rows]]


def test_models_and_dataset_come_from_the_hub_in_a_process_that_only_knows_its_address(
    hub: Hub, tmp_path: Path
) -> None:
    import datasets
    from PIL import Image

    hub.model("me/tiny-vit", models.timm_files("test_vit"), library_name="timm", pipeline_tag="image-classification")
    for kind in ("convnext", "dinov2"):
        files = models.image_files(kind)
        hub.model(f"me/{kind}", files, library_name="transformers", pipeline_tag="image-classification")
    pixels, labels = digits(100)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(digit) for digit in range(10)])}
    )
    rows = {"image": [Image.fromarray(image) for image in pixels], "label": labels}
    parquet = tmp_path / "rows.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(parquet)
    hub.dataset("me/digits", {"data/train-00000-of-00001.parquet": parquet.read_bytes()})
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "MODELSELECT_CACHE": str(tmp_path / "store"),
        "OMP_NUM_THREADS": "1",
    }
    command = ["select", "me/digits", "-c", "hub:?task=image-classification&limit=10", "-e", "logme,centroid"]
    done = subprocess.run(
        [sys.executable, "-m", "modelselect", *command, "--json", "-"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    assert len(board["rows"]) == 3
    assert all(row["rank"] for row in board["rows"])
    assert {row["candidate"]["revision"] for row in board["rows"]} == {
        repository.sha for (kind, _), repository in hub.repositories.items() if kind == "models"
    }
