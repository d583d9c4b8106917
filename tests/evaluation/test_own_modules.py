"""Bare modules: weights, code, settings and transform distinguish them, and they are returned unchanged."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.errors import InvalidInputError, NothingRankedError
from modelselect.evaluation import description
from modelselect.verification import FineTuning

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
IMAGES[::2, :8] //= 2
LABELS = np.arange(24) % 2


pytestmark = pytest.mark.usefixtures("cache")


def rank(candidates: Any, inputs: Any = IMAGES, **settings: Any) -> ms.Leaderboard:
    return ms.select((inputs, LABELS), candidates, estimators="logme", progress=False, **settings)


class Small(torch.nn.Module):
    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.power = power
        self.conv = torch.nn.Conv2d(3, 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().pow(self.power).mean((2, 3))


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((16, 16)))).permute(2, 0, 1).float() / 255


def negative(image: Image.Image) -> torch.Tensor:
    return -to_tensor(image)


def scaled(factor: float) -> Callable[[Image.Image], torch.Tensor]:
    return lambda image: factor * to_tensor(image)


def of_one_size(sign: int) -> Callable[[Image.Image], torch.Tensor]:
    """Of no other image than the probe's, so that noise of another size cannot tell what it does."""
    return lambda image: torch.from_numpy(np.array(image).reshape(16, 16, 3)).permute(2, 0, 1) * (sign / 255)


def rows_times(factor: float) -> Callable[[Any], torch.Tensor]:
    return lambda row: factor * torch.as_tensor(np.asarray(row)).float()


def pooled(*layers: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*layers, torch.nn.Flatten())


NUMBERS = np.random.default_rng(1).normal(size=(24, 3, 4, 4))
OTHERS = {
    "another transform": (IMAGES, (Small(), to_tensor), (Small(), negative)),
    "another setting of the transform": (IMAGES, (Small(), scaled(1.0)), (Small(), scaled(-1.0))),
    "a transform for images of one size": (IMAGES, (Small(), of_one_size(1)), (Small(), of_one_size(-1))),
    "a transform of numbers": (NUMBERS, (Small(), rows_times(1.0)), (Small(), rows_times(-1.0))),
    "another layer without weights": (IMAGES, pooled(torch.nn.AvgPool2d(4)), pooled(torch.nn.MaxPool2d(4))),
    "another setting of the module": (IMAGES, (Small(1.0), to_tensor), (Small(3.0), to_tensor)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_modules_of_the_same_weights_are_told_apart_by(what: str, tmp_path: Path) -> None:
    inputs, one, other = OTHERS[what]
    boards = [rank(candidate, inputs) for candidate in (one, other)]
    fresh = rank(other, inputs, cache_dir=tmp_path / "fresh")
    assert boards[0].best.score != fresh.best.score
    assert boards[1].best == fresh.best
    assert rank(other, inputs).provenance["from_store"] == 1


MODULE = """
import torch

def helper(x):
    return x.{call}()

class Inner(torch.nn.Module):
    def forward(self, x):
        return helper(x)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
    def forward(self, x):
        return self.inner(x).mean((2, 3))
"""


def test_edited_code_is_told_apart_also_where_there_is_no_source() -> None:
    boards = []
    for call in ("relu", "relu", "sin"):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(MODULE.format(call=call), namespace)
        boards.append(rank(namespace["Net"](), NUMBERS))
    first, same, edited = boards
    assert same.provenance["from_store"] == 1
    assert same.best == first.best
    assert edited.best.score != first.best.score


def test_a_module_is_known_again_in_another_process() -> None:
    command = [sys.executable, "-c", "from tests.evaluation.test_own_modules import *; print(*candidate_ids())"]
    other = {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}  # here, hashes are random
    ids = subprocess.run(command, capture_output=True, text=True, check=True, env=other).stdout
    assert ids == " ".join(candidate_ids()) + "\n"


def candidate_ids() -> list[str]:
    from modelselect.evaluation.own_modules import ModuleZoo, as_named_modules

    modules = as_named_modules([Small(), (Small(2.0), scaled(0.5)), pooled(torch.nn.AvgPool2d(2))])
    return [candidate.id for candidate in ModuleZoo(modules, ms.Probe.of((IMAGES, LABELS))).search("*")]


class Setting:
    """Says how many layers a network uses, where no digest of the network can see it."""

    def __init__(self, layers: int) -> None:
        self.layers = layers


class Deep(torch.nn.Module):
    def __init__(self, setting: Setting, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.setting = setting
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[: self.setting.layers]:
            x = layer(x)
        return x.mean((2, 3))


def test_a_module_that_another_thread_watches_has_the_same_key() -> None:
    from modelselect.candidates.watching import watch
    from modelselect.evaluation.own_modules import ModuleZoo, OwnModule

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    rows = np.zeros((4, 8, 8, 3), np.uint8)
    zoo = ModuleZoo({"net": OwnModule(module)}, ms.Probe.of((rows, [0, 0, 1, 1])))
    (alone,) = zoo.search("net")
    started, looked = threading.Event(), threading.Event()

    def run() -> torch.Tensor:
        started.set()
        looked.wait(0.5)  # the other thread waits for the end of this
        return module(torch.zeros(1, 3, 8, 8))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, module, run, lambda name, part: True)
        started.wait()
        (meanwhile,) = zoo.search("net")
        looked.set()
        watching.result()
    assert meanwhile.revision == alone.revision


def test_modules_that_differ_only_in_their_weights_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced, trace = [], description.trace_and_count
    monkeypatch.setattr(description, "trace_and_count", lambda *a, **k: traced.append(a) or trace(*a, **k))
    networks = [torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.ReLU()) for width in (4, 4, 5, 4)]
    rows = rank(networks).rows
    assert len(traced) == 2
    assert sorted(row.macs for row in rows) == [14 * 14 * 27 * width for width in (4, 4, 4, 5)]

    deep = rank([Deep(Setting(layers), seed) for seed, layers in enumerate((1, 2, 1))]).rows
    assert len(traced) == 2 + 3
    assert sorted(row.macs for row in deep) == [16 * 16 * 81, 16 * 16 * 81, 2 * 16 * 16 * 81]


def test_a_transform_that_depends_on_chance_costs_its_row_only() -> None:
    def by_chance(image: Any) -> torch.Tensor:
        return to_tensor(image) + torch.rand(1)

    board = rank([(Small(), to_tensor), (Small(), by_chance)])
    assert [row.failure is None for row in board.rows] == [True, False]
    assert "different tensors for the same image" in board.rows[1].status
    with pytest.raises(NothingRankedError, match="different tensors for the same row"):
        rank((Small(), lambda row: torch.rand(3, 4, 4)), NUMBERS)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ((Small(), lambda image: 1 / 0), "ZeroDivisionError"),
        ((Small(), lambda image: "tensor"), "returns str; expected a tensor"),
        (torch.nn.LazyLinear(3), "uninitialized"),
        (torch.nn.Linear(3, 2, device="meta"), "meta"),
    ],
)
def test_what_cannot_be_told_apart_is_a_failed_row(candidate: Any, words: str) -> None:
    board = rank([candidate, Small()])
    assert board.best.candidate.name.startswith("Small")
    assert board.rows[1].failure is not None
    assert words in board.rows[1].status


@pytest.mark.parametrize("top_k", [0, 1])
def test_the_callers_module_is_given_back_as_it_was(top_k: int) -> None:
    norm = torch.nn.BatchNorm2d(6)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), norm, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net.train()
    norm.eval()  # as one freezes it
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rank(net, top_k=top_k, fine_tuning=FineTuning(epochs=1))
    assert [part.training for part in net.modules()] == [part is not norm for part in net.modules()]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(torch.rand(2, 3, 16, 16)).sum().backward()  # it can be trained
    assert net[0].weight.grad is not None


def test_the_callers_module_is_given_back_where_it_was() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    net = Small().cuda()
    assert rank(net, device="cpu").best.score == pytest.approx(rank(Small(), device="cpu").best.score)
    assert net.conv.weight.is_cuda


# --- how modules are read --------------------------------------------------------------------------------------------

PICTURES = np.random.default_rng(3).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
PICTURES[::2, :32] //= 2


def swin(classes: int) -> Any:
    import timm

    torch.manual_seed(0)
    sizes = {"img_size": 64, "window_size": 2, "depths": (1, 1), "embed_dim": 12, "num_heads": (1, 2)}
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=classes, **sizes)


@pytest.mark.parametrize("classes", [10, 0])
def test_a_module_with_channels_last_is_ranked_and_fine_tuned(classes: int) -> None:
    board = ms.select(
        (PICTURES, LABELS),
        swin(classes),
        estimators=["logme", "leep", "nce"],
        top_k=1,
        fine_tuning=FineTuning(epochs=1),
        progress=False,
    )
    assert board.best.feature_dim == 24
    assert board.best.verified_accuracy is not None
    assert ("leep" in board.best.scores) == ("nce" in board.best.scores) == (classes > 0)


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.compile])
def test_a_compiled_or_parallel_module_is_the_module_inside(wrap: Any) -> None:
    module = swin(10)
    assert rank(wrap(module), PICTURES).best == rank(module, PICTURES).best


class Grid(torch.nn.Module):
    """Nothing shows where its channels are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(3, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, :, ::4, ::4].permute(0, 2, 3, 1) @ self.weight).tanh()


class Several(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 6, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"map": self.conv(x), "pooled": self.conv(x).mean((2, 3))}


def scripted() -> Any:
    torch.manual_seed(0)
    return torch.jit.script(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 7)).eval())


@pytest.mark.parametrize(("make", "width"), [(Grid, 5), (Several, 6), (scripted, 7)])
def test_what_a_refusal_says_to_type_works(make: Any, width: int) -> None:
    with pytest.raises(NothingRankedError) as caught:
        rank(make())
    typed = re.search(r"(lambda module, batch: module\(batch\)\S*(?: \d\)\))?)", str(caught.value))
    assert typed is not None
    read = eval(typed.group(1).rstrip("."))  # as a reader of the message types it
    board = rank((make(), None, read))
    assert board.best.feature_dim == width
    assert rank((make(), None, read)).provenance["from_store"] == 1


def test_another_function_that_reads_features_makes_another_candidate() -> None:
    of_places = rank((Grid(), None, lambda module, batch: module(batch).mean((1, 2))))
    of_maxima = rank((Grid(), None, lambda module, batch: module(batch).amax((1, 2))))
    assert of_maxima.provenance["from_store"] == 0
    assert of_places.best.score != of_maxima.best.score


def test_a_function_may_read_logits_as_well() -> None:
    def read(module: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return module(batch).mean((1, 2)), module(batch).amax((1, 2))

    board = ms.select((IMAGES, LABELS), (Grid(), None, read), estimators="leep", progress=False)
    assert "leep" in board.best.scores


def test_a_function_that_reads_no_rows_is_refused() -> None:
    with pytest.raises(NothingRankedError, match="`read` returns features as a tensor of shape"):
        rank((Grid(), None, lambda module, batch: module(batch)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_module_of_another_precision_is_given_rows_of_its_own(dtype: torch.dtype) -> None:
    single = rank(Small()).best.score
    board = rank(Small().to(dtype), top_k=1, fine_tuning=FineTuning(epochs=1))
    assert board.best.score == pytest.approx(single, abs=0.05)
    assert board.best.verified_accuracy is not None


ROWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transform(image).float() / 255": lambda row: (row * 255).to(torch.uint8),
    "transform(image)[0]": lambda row: row[None],
    "transform(image).permute(2, 0, 1)": lambda row: row.permute(1, 2, 0),
}


@pytest.mark.parametrize("advice", ROWS)
def test_rows_of_another_form_are_refused_with_what_to_write(advice: str) -> None:
    def transform(image: Image.Image) -> torch.Tensor:
        return ROWS[advice](to_tensor(image))

    with pytest.raises(NothingRankedError, match=re.escape(f"such as {advice}")):
        rank((Small(), transform))
    mended = eval(f"lambda image: {advice}", {"transform": transform})
    assert rank((Small(), mended)).best.score == pytest.approx(rank((Small(), to_tensor)).best.score, abs=0.05)


def test_of_a_model_of_images_and_texts_the_tower_is_asked_for() -> None:
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sees = {**sizes, "image_size": 64, "patch_size": 16}
    module: Any = CLIPModel(CLIPConfig(text_config=sizes, vision_config=sees, projection_dim=8))
    with pytest.raises(NothingRankedError, match=r"give its vision tower: module\.vision_model"):
        rank(module, PICTURES)
    assert rank(module.vision_model, PICTURES).best.feature_dim == 16


def test_what_is_no_candidate_is_shown_in_a_few_words() -> None:
    whole = {"mine": torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(50)))}
    with pytest.raises(InvalidInputError, match=r"^a dict is not a candidate"):
        ms.select((np.zeros((12, 8)), [0, 1] * 6), [whole], progress=False)
    with pytest.raises(InvalidInputError, match=r"^3 is not a candidate"):
        ms.select((np.zeros((12, 8)), [0, 1] * 6), [3], progress=False)
