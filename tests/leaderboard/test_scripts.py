"""The scripts that fine-tune the winner without modelselect run to the end, with the recipe of the run."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.leaderboard.leaderboard import Row
from tests.hub import models
from tests.verification.tuned import put

pytestmark = pytest.mark.usefixtures("here")

RECIPE = {"epochs": 1, "batch_size": 4, "backbone_learning_rate": 2e-4, "weight_decay": [0.02, 0.1], "method": "full"}


def board_of(candidate: ms.Candidate, path: str | None = None, method: str = "full") -> ms.Leaderboard:
    recipe = {**RECIPE, "method": method}
    provenance = {"settings": {"fine_tuning": recipe, "seed": 3}, "dataset": {"source": {"path": path}}}
    return ms.Leaderboard((Row(candidate, rank=1, score=1.0),), provenance=provenance)


@pytest.mark.parametrize("task", [{"targets": "numbers"}, {"targets": "classes", "name": "text-pair"}])
def test_a_task_that_no_script_can_do_is_refused(task: dict[str, str]) -> None:
    board = ms.Leaderboard((Row(ms.Candidate("hub", "me/it"), rank=1, score=1.0),), provenance={"task": task})
    with pytest.raises(InvalidInputError, match=r"is of another task\. Use board\.best\.save\(folder\) or --save"):
        board.script("transformers")


RUNNER = """
import os, runpy, sys, traceback
import datasets, timm, torchvision
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, Trainer

for folder in sys.stdin:
    child = os.fork()
    if child == 0:
        os.chdir(folder.rstrip("\\n"))
        for number, name in ((1, "out.txt"), (2, "err.txt")):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        code = 1
        try:
            runpy.run_path("script.py", run_name="__main__")
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@functools.cache
def runner() -> subprocess.Popen[str]:
    """A process that has imported what scripts import. It runs each script in a process of its own, without waiting."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(Path("hf").absolute())}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", RUNNER], text=True, env=environment, **streams)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    if runner.cache_info().currsize:
        runner().communicate()
        runner.cache_clear()


def run(script: str) -> str:
    Path("script.py").write_text(script)
    process = runner()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{Path.cwd()}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "0\n", Path("err.txt").read_text()
    return Path("out.txt").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(6):
            pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    return str(tmp_path / "data")


@pytest.mark.parametrize(
    ("library", "head", "lora"),
    [
        ("timm", "It trains what the run trained: the head", "It trains what the run trained: low-rank adapters"),
        ("autogluon", "It trains what the run trained: the head", "This script trains all weights"),
    ],
)
def test_a_script_says_what_it_trains(library: str, head: str, lora: str) -> None:
    (candidate,) = ms.search(put("models/it", models.timm_files()))
    if library == "autogluon":
        candidate = ms.Candidate("timm", "resnet18.a1_in1k")
    found = {}
    for method in ("full", "head", "lora"):
        script = board_of(candidate, method=method).script(library)
        found[method] = ast.get_docstring(ast.parse(script)) or ""
    assert "the run trained" not in found["full"].lower()
    assert head in found["head"]
    assert lora in found["lora"]


OPTIONS_OF_AUTOGLUON = {
    "env": {"batch_size"},
    "optim": {
        "lr", "lr_choice", "lr_decay", "lr_mult", "lr_schedule", "max_epochs", "optim_type", "warmup_steps",
        "weight_decay",
    },
    "model": {"names", "timm_image", "hf_text"},
}  # fmt: skip
"""What the scripts set, of the options in `configs/*/default.yaml` of autogluon.multimodal, which the tests do not
install."""


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("method", ["full", "head", "lora"])
def test_the_options_of_autogluon_exist(method: str, modality: str) -> None:
    script = board_of(ms.Candidate("hub", "me/it", metadata={"modality": modality}), method=method).script("autogluon")
    (call,) = [
        node for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fit"
    ]  # fmt: skip
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    assert keywords.keys() == {"hyperparameters", "seed"}
    options = keywords["hyperparameters"]
    assert isinstance(options, ast.Dict)
    for key in options.keys:
        assert isinstance(key, ast.Constant)
        group, name = str(key.value).split(".")[:2]
        assert name in OPTIONS_OF_AUTOGLUON[group]
    assert ('"optim.lr_decay": 0.0' in script) == (method == "head")


CHANGED = """
import torch

def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

def changed(before, model):
    return sorted(name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name]))
"""
"""Put before a script, to see what it trains."""


@pytest.mark.parametrize("library", ["timm", "transformers"])
@pytest.mark.parametrize("method", ["head", "lora"])
def test_a_script_trains_what_the_run_trained(folder: str, library: str, method: str) -> None:
    if method == "lora":
        pytest.importorskip("peft")
    files = models.timm_files() if library == "timm" else models.image_files("vit")
    (candidate,) = ms.search(put("models/it", files))
    script = board_of(candidate, folder, method).script(library)
    assert ("LORA_RANK = 8\n" in script) == (method == "lora")
    marker = "def features(" if "def features(" in script else "groups = []"
    script = script.replace(marker, f"before = state(model)\n{marker}", 1)
    if method == "lora":  # before the adapters change the names
        script = script.replace("before = state(model)\n", "").replace(
            "layers = dict(", "before = state(model)\nlayers = dict("
        )
    docstring, _, program = script.partition('"""\n')[2].partition('"""\n')
    said = run(f"{CHANGED}\n{docstring}{program}\nprint('changed', *changed(before, model))")
    assert "accuracy" in said
    names = said.splitlines()[-1].split()[1:]
    of_head = [name for name in names if name.startswith(("head.", "fc.", "classifier."))]
    assert of_head
    if method == "head":
        assert names == of_head  # nothing else, no statistics of batch normalisation
    else:
        assert len([name for name in names if name.endswith("weight")]) - 1 > 0
        assert not [
            name for name in names if name.endswith(("running_mean", "running_var", "bias")) and name not in of_head
        ]


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_the_script_for_images_runs_to_the_end(folder: str, library: str) -> None:
    files = models.timm_files() if library == "timm" else models.image_files("vit")
    (candidate,) = ms.search(put("models/it", files))
    script = board_of(candidate, folder).script(library)
    assert "BACKBONE_RATE = 0.0002\n" in script
    assert "WEIGHT_DECAY = 0.02\n" in script  # the first of several
    assert "SEED = 3\n" in script
    assert "accuracy" in run(script)
    assert Path("fine-tuned.safetensors" if library == "timm" else "fine-tuned/config.json").exists()


def test_the_script_for_texts_runs_to_the_end() -> None:
    (candidate,) = ms.search(put("models/it", models.text_files()))
    lines = [f"{text},{label}" for text, label in [("good", "yes"), ("bad", "no")] * 6]
    Path("texts.csv").write_text("\n".join(["text,label", *lines]))
    script = board_of(candidate, str(Path("texts.csv").absolute())).script("transformers")
    assert "accuracy" in run(script)


@pytest.mark.parametrize(
    ("zoo", "name", "metadata", "expected"),
    [
        ("timm", "resnet18.a1", {"url": "https://huggingface.co/timm/resnet18.a1"},
         {"timm": "resnet18.a1", "transformers": "timm/resnet18.a1", "autogluon": "resnet18.a1"}),
        ("timm", "old", {"url": "https://elsewhere.example/old"}, {"timm": "old", "transformers": None}),
        ("hub", "me/vit", {"library": "transformers"},
         {"timm": None, "transformers": "me/vit", "autogluon": "me/vit"}),
        ("hub", "me/res", {"library": "timm"}, {"timm": "hf-hub:me/res", "transformers": "me/res"}),
        ("hub", "me/bert?pooling=cls", {"modality": "text"}, {"timm": None, "transformers": "me/bert"}),
        ("embedded", "plain.letters", {}, {"timm": None, "transformers": None, "autogluon": None}),
    ],
)  # fmt: skip
def test_each_library_gets_its_own_name_of_the_winner(
    zoo: str, name: str, metadata: dict[str, Any], expected: dict[str, str | None]
) -> None:
    board = board_of(ms.Candidate(zoo, name, metadata=metadata))
    for library, called in expected.items():
        if called is None:
            with pytest.raises(InvalidInputError, match=library if metadata.get("modality") != "text" else "texts"):
                board.script(library)
        else:
            script = board.script(library)
            compile(script, library, "exec")
            assert f"MODEL = {called!r}\n" in script


def test_nothing_in_a_name_becomes_code() -> None:
    name = '"""\nraise SystemExit\n"""'
    script = board_of(ms.Candidate("timm", name, metadata={"url": ""}), "a'\nraise SystemExit").script("timm")
    assert not [node for node in ast.parse(script).body if isinstance(node, ast.Raise)]


def test_an_unknown_library_is_one_message() -> None:
    with pytest.raises(InvalidInputError, match="expected one of transformers, timm, autogluon"):
        board_of(ms.Candidate("timm", "a")).script("keras")
