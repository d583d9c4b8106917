"""From a folder of images to predictions: `select --save`, then `predict`, each as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.errors import InvalidInputError
from tests.cli.conftest import run
from tests.hub.server import Hub
from tests.verification.tuned import tuned_row


def modelselect(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelselect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ}, check=False)


def test_a_folder_of_images_becomes_a_model_that_another_process_uses(
    dataset: Path, cache: Path, tmp_path: Path
) -> None:
    asked = ["-c", "embedded:plain.letters", "-e", "centroid", "--epochs", "8"]
    for _ in range(2):  # the second time as after a kill: the winner is there already
        done = modelselect("select", dataset, *asked, "--save", "winner", "--report", "page.html", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Next: modelselect predict winner photo.jpg"
    assert "ms.load(&#39;winner&#39;)" in (tmp_path / "page.html").read_text()
    board = ms.Leaderboard.load(tmp_path / "page.json")
    assert board.best.verified_accuracy is not None
    (cache).rename(tmp_path / "gone")  # what the folder needs is in the folder
    done = modelselect("predict", "winner", dataset, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 16
    assert sum(each["label"] == Path(each["input"]).parent.name for each in found) >= 13
    assert found[0]["probabilities"].keys() == {"dark", "light"}


@pytest.fixture
def winner(here: Path) -> str:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    return "winner"


def test_unreadable_files_are_named_and_only_nothing_at_all_is_a_failure(
    capsys: pytest.CaptureFixture[str], dataset: Path, winner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    Path("bad.png").write_bytes(b"no image")
    code, out, err = run(capsys, "predict", winner, dataset / "dark" / "0.png", "bad.png", "missing.png")
    assert code == 0
    assert "could not be read: no such file" in out
    assert "2 of 3 inputs could not be read" in err
    assert run(capsys, "predict", winner, "bad.png")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["winner"], "there is nothing to predict"),
        (["winner", "--text", "a text"], "takes images, not texts"),
        (["winer", "a.png"], "there is no model 'winer' here"),
        (["winner", "a.png", "--device", "abacus"], "abacus"),
        (["embedded:resnet.letters", "a.png"], "is not fine-tuned"),
    ],
)
def test_bad_usage_is_one_message(
    capsys: pytest.CaptureFixture[str], winner: str, arguments: list[str], words: str
) -> None:
    code, _, err = run(capsys, "predict", *arguments)
    assert code == app.EXIT_BAD_USAGE
    assert words in " ".join(err.split())


# --- what select asks for before the work ----------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_folder_that_cannot_be_written_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path
) -> None:
    Path("winner").mkdir()
    Path("winner", "mine").write_text("precious")
    for folder, words in (("winner", "holds something already"), ("winner/mine/x", "cannot be written")):
        code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*", "--save", folder)
        assert code == app.EXIT_BAD_USAGE
        assert words in " ".join(err.split())
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*", "--public")
    assert "--public applies to --push" in " ".join(err.split())
    assert not cache.exists()


@pytest.mark.usefixtures("here")
def test_of_two_things_that_cannot_be_written_both_are_said(
    capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise InvalidInputError(f"no space for {'the page' if __ else 'the winner'}")

    monkeypatch.setattr(ms.Leaderboard, "report", full)
    monkeypatch.setattr("modelselect.verification.export.write", lambda *_, **__: full())
    asked = ["-c", "embedded:plain.letters", "-e", "centroid", "--epochs", "1", "--report", "page.html"]
    code, out, err = run(capsys, "select", dataset, *asked, "--save", "winner")
    assert code == app.EXIT_BAD_USAGE
    assert "plain.letters" in out
    assert err.index("error: no space for the winner") < err.index("error: no space for the page")
    assert Path("page.json").is_file()


def test_a_token_that_may_not_write_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], hub: Hub, dataset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["select", dataset, "-c", "embedded:plain*", "--push"]
    for token, name, words in (
        (None, "writer/winner", "run `hf auth login`"),
        ("hf_nobody", "writer/winner", "does not accept your token"),
        ("hf_writer", "else/winner", "belongs to 'else', and your token to writer; give a repository of yours"),
        ("hf_writer", "a/b/c", "is no model repository's name"),
    ):
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        code, _, err = run(capsys, *asked, name)
        assert code == app.EXIT_BAD_USAGE
        assert words in " ".join(err.split())
    assert not cache.exists()


def test_the_winner_is_pushed_into_a_private_repository(
    capsys: pytest.CaptureFixture[str], hub: Hub, dataset: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    asked = ["-c", "embedded:plain.letters", "-e", "centroid", "--epochs", "1", "--budget", "20m"]
    code, out, err = run(capsys, "select", dataset, *asked, "--push", "writer/winner")
    assert code == 0
    assert out.splitlines()[-1] == "Next: modelselect predict writer/winner photo.jpg"
    assert "winner pushed: " in err
    repository = hub.repositories["models", "writer/winner"]
    assert repository.private
    assert {"config.json", "model.safetensors", "modelselect.json"} <= repository.commits[-1][1].keys()
    assert 'ms.load("writer/winner")' in repository.commits[-1][1]["README.md"].decode()
