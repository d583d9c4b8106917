"""The command line: exit codes, JSON on every listing, and one message instead of a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import modelselect as ms
from modelselect.cli import app
from modelselect.leaderboard.leaderboard import Row

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(8):
            pixels = rng.integers(100 * label, 100 * label + 140, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        app.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize("command", ["estimators", "zoos", "plugins", "store", "doctor", "search embedded:*"])
def test_every_listing_prints_json(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, *command.split(), "--json")
    assert code == 0
    assert json.loads(out)
    code, out, _ = run(capsys, *command.split())
    assert code == 0
    assert out.strip()


def test_the_estimators_are_listed_with_what_they_require_and_cite(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {e["name"]: e for e in json.loads(run(capsys, "estimators", "--json")[1])}
    assert listed["logme"]["requires"] == ["features", "labels"]
    assert all(e["citation"] and e["cost"] and e["plugin"] for e in listed.values())


def test_select_writes_a_leaderboard_that_can_be_read_back(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    path = tmp_path / "board.json"
    arguments = ["select", dataset, "-c", "embedded:plain*", "-c", "embedded:vit*", "-e", "logme, knn"]
    code, out, _ = run(capsys, *arguments, "--json", path)
    board = ms.Leaderboard.load(path)
    assert code == 0
    assert f"embedded:{board.best.candidate.name}" in out
    assert board.provenance["ranked_by"] == ["logme", "knn"]
    code, out, _ = run(capsys, *arguments, "--json", "-")
    assert json.loads(out)["format"] == "modelselect leaderboard"


def test_all_estimators_rank_and_how_alike_they_do_is_printed(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    path = tmp_path / "board.json"
    arguments = ["select", dataset, "-c", "embedded:plain*", "-c", "embedded:vit*", "-e", "all", "--agreement"]
    code, out, _ = run(capsys, *arguments, "--json", path)
    board = ms.Leaderboard.load(path)
    shipped = {e["name"] for e in json.loads(run(capsys, "estimators", "--json")[1]) if e["requires"] != ["metadata"]}
    assert code == 0
    assert set(board.provenance["ranked_by"]) == shipped
    assert {"ncti", "itm", "persistence", "logme", "leep", "linear_probe"} < set(board.best.scores)
    columns = board.estimator_agreement().dropna(how="all").index
    table = out[out.index("weighted Kendall x 100") :]
    assert all(f"{number} {name} " in table for number, name in enumerate(columns, start=1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "embedded:*", "-e", "logmee"], "Did you mean 'logme'"),
        (["-c", "embeded:*"], "Did you mean 'embedded'"),
        (["-c", "embedded:zzz*"], "no candidate matched"),
        (["-c", "resnet"], "not a candidate expression"),
        (["-c", "embedded:*", "--device", "abacus"], "abacus"),
        (["-c", "embedded:*", "--verify", "head"], "add --top-k 3"),
        (["-c", "embedded:*", "--epochs", "3", "--dry-run"], "--epochs says how to fine-tune"),
        (["-c", "embedded:*", "--confidence", "0.99"], "add --budget 20m"),
        (["-c", "embedded:*", "--json", "."], "give a file"),
        (["-c", "embedded:*", "--report", "board.pdf"], "ends in .html"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], dataset: Path, arguments: list[str], words: str
) -> None:
    code, out, err = run(capsys, "select", dataset, *arguments)
    assert code == app.EXIT_BAD_USAGE
    assert words in " ".join(err.split())
    assert err.startswith("error: ")
    assert "Traceback" not in err + out


def test_a_missing_dataset_is_bad_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "select", tmp_path / "no-such-folder", "-c", "embedded:*")
    assert code == app.EXIT_BAD_USAGE
    assert "no-such-folder" in err


def test_when_nothing_could_be_ranked_the_exit_code_is_1_and_the_table_says_why(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architecture": "resnet18"}')
    (folder / "model.safetensors").write_bytes(b"nothing")
    code, out, err = run(capsys, "select", dataset, "-c", f"dir:{tmp_path}/models/*", "--json", tmp_path / "board.json")
    assert code == app.EXIT_NOTHING_RANKED
    assert "failed" in out
    assert "could be ranked" in err
    assert ms.Leaderboard.load(tmp_path / "board.json").rows[0].failure is not None


def test_the_store_is_shown_and_evicted(capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path) -> None:
    run(capsys, "select", dataset, "-c", "embedded:plain*")
    before = json.loads(run(capsys, "store", "--json")[1])
    assert before["bytes"] > 0
    assert before["kinds"]["features"]["entries"] > 0
    after = json.loads(run(capsys, "store", "--evict", "0", "--json")[1])
    assert after["bytes"] == 0
    assert after["freed"] == before["bytes"]
    code, _, err = run(capsys, "store", "--evict", "a lot")
    assert code == app.EXIT_BAD_USAGE
    assert "500MB" in err


def test_a_plugins_command_stands_beside_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(
        "import modelselect, typer\n"
        "app = typer.Typer(help='Count things.')\n"
        "@app.callback(invoke_without_command=True)\n"
        "def count(): typer.echo('one two three')\n"
        "@modelselect.hookimpl\n"
        "def modelselect_register_commands(): return {'count': app}\n"
    )
    info = tmp_path / "counting-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modelselect]\ncounting = counting\n")
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "modelselect"]
    shown = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=True)
    assert "count" in shown.stdout
    done = subprocess.run([*command, "count"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "one two three\n"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1] == f"modelselect {ms.__version__}\n"


def test_what_was_left_out_of_the_dataset_is_said(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    (dataset / "dark" / "0.png").write_bytes(b"no image")
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*")
    assert code == 0
    assert "dark/0.png" in err


def test_an_unwritable_path_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path
) -> None:
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*", "--json", dataset / "nowhere" / "board.json")
    assert code == app.EXIT_BAD_USAGE
    assert "cannot be written" in err
    assert not cache.exists()


def test_a_link_is_followed_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "latest.json").symlink_to(tmp_path / "real.json")
    ms.Leaderboard.empty().save(tmp_path / "latest.json")
    assert (tmp_path / "latest.json").is_symlink()
    assert ms.Leaderboard.load(tmp_path / "real.json") == ms.Leaderboard.empty()
    ms.Leaderboard.empty().save("/dev/null")
    assert not Path("/dev/null").is_file()


def test_control_characters_do_not_reach_the_terminal() -> None:
    row = Row(ms.Candidate("shelf", "esc\x1b[31mred\nnext"), rank=1, score=1.0)
    assert "\x1b" not in str(ms.Leaderboard((row,)))


def test_an_interruption_says_that_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelselect.selection.funnel.select", interrupt)
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*")
    assert code == app.EXIT_INTERRUPTED
    assert "the next run goes on from there" in " ".join(err.split())


def test_a_second_run_says_what_came_from_the_store(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    arguments = ["select", dataset, "-c", "embedded:plain*", "-e", "logme"]
    assert "from the store" not in run(capsys, *arguments)[2]
    assert "2 of 2 candidates came from the store" in run(capsys, *arguments)[2]


def test_json_on_standard_output_is_nothing_but_json(
    capfd: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "noisy"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"builder": "noisy.py:build"}')
    save_file({"1.weight": torch.ones(4, 3 * 32 * 32), "1.bias": torch.ones(4)}, folder / "model.safetensors")
    (folder / "noisy.py").write_text(
        "import os, torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def forward_features(self, x):\n"
        "        os.write(1, b'not JSON')\n"
        "        return x.flatten(1)[:, :8]\n"
        "def build(folder):\n"
        "    print('hello')\n"
        "    net = Net(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))\n"
        "    return net, lambda image: torch.ones(3, 32, 32) * image.getpixel((0, 0))[0]\n"
    )
    arguments = ["select", dataset, "-c", f"dir:{folder}", "-e", "knn", "--trust-remote-code", "--executor", "process"]
    code, out, _ = run(capfd, *arguments, "--json", "-")
    assert code == 0
    assert json.loads(out)["rows"]


def test_the_demo_prints_its_leaderboard_and_nothing_else_where_it_is_told_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def quickly(dataset: Any, candidates: Any, **settings: Any) -> ms.Leaderboard:
        named = settings["estimators"]
        light = {"estimators": named if isinstance(named, str) else named[:1], "top_k": 0}
        return ms.select(dataset, candidates[:3], **settings | light)

    monkeypatch.setattr("modelselect.cli.demonstration.select", quickly)
    code, out, err = run(capsys, "demo", "--json", "-")
    assert code == 0
    assert len(json.loads(out)["rows"]) == 3
    assert "Leaderboard" in err
    assert not list(tmp_path.glob("-"))
