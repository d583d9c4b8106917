"""The command `select`: what it passes on, and what it refuses."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import modelselect as ms
from modelselect.benchmarking import running
from modelselect.cli import app
from modelselect.host.lookup import POOL_VARIABLE
from modelselect.report.answer import closing_lines
from modelselect.selection import funnel
from tests.cli.conftest import run
from tests.evaluation.material import images

pytestmark = pytest.mark.usefixtures("cache")

REFUSED = [
    (["--executor", "nonsense"], "unknown executor 'nonsense'"),
    (["--batch-size", "0"], "batch_size is 0"),
    (["--resamples", "1"], "resamples is 1"),
    (["--max-latency-ms", "-1"], "max_latency_ms is -1.0"),
    (["--confidence", "2", "--budget", "1m"], "confidence is 2.0"),
    (["--estimators", " , "], "estimators is empty"),
    (["--thumbnails"], "--thumbnails applies to a page"),
]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as stopped:
        app.main([str(argument) for argument in arguments])
    assert stopped.value.code == app.EXIT_BAD_USAGE
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str, more: list[str]
) -> None:
    assert words in refusal(capsys, "select", tmp_path, "-c", "embedded:*", *arguments, *more)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The keywords that the command line passes on."""
    found: dict[str, Any] = {}

    def remember(*_: Any, **settings: Any) -> None:
        found.update(settings)
        found.pop("confirm", None)
        raise ms.errors.InvalidInputError("enough")

    monkeypatch.setattr(funnel, "select", remember)
    monkeypatch.setattr(running, "benchmark", remember)
    return found


def test_what_is_left_out_is_left_to_the_settings(capsys: pytest.CaptureFixture[str], passed: dict[str, Any]) -> None:
    refusal(capsys, "select", "data", "-c", "embedded:*")
    assert passed == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--probe-size", "all"], {"probe_size": None}),
        (["--probe-size", "none"], {"probe_size": None}),
        (["--probe-size", "50"], {"probe_size": 50}),
        (["-e", "logme, knn"], {"estimators": "logme, knn"}),
        (["-e", "all"], {"estimators": "all"}),
        (["--no-history"], {"history": False}),
        (["-q"], {"progress": False}),
        (["--license", "mit", "--license", "cc-by*"], {"license": ["mit", "cc-by*"]}),
        (["-k", "2", "--verify", "head", "--compile"], {"top_k": 2, "verify": "head", "compile": True}),
        (["--tune", "8", "--epochs", "5"], {"tune": 8, "epochs": 5}),
        (["--cache-dir", "store"], {"cache_dir": Path("store")}),
    ],
)
def test_options_become_keywords(
    capsys: pytest.CaptureFixture[str], passed: dict[str, Any], arguments: list[str], expected: dict[str, Any]
) -> None:
    refusal(capsys, "select", "data", "-c", "embedded:*", *arguments)
    assert passed == expected


def test_a_benchmark_takes_what_it_lacked(capsys: pytest.CaptureFixture[str], passed: dict[str, Any]) -> None:
    given = ["--precision", "bfloat16", "--batch-size", "8", "--compile", "--max-corrupt", "0.5"]
    refusal(capsys, "benchmark", "embedded:*", "data", "--truth", "truth.csv", *given)
    expected = {"precision": "bfloat16", "batch_size": 8, "compile": True, "max_corrupt": 0.5}
    assert {name: passed[name] for name in expected} == expected


def test_a_size_that_is_no_number_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "select", "data", "-c", "embedded:*", "--probe-size", "some")
    assert "--probe-size" in said
    assert "is no whole number" in said


def test_select_writes_a_leaderboard_that_can_be_read_back(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    path = tmp_path / "board.json"
    arguments = ["select", dataset, "-c", "embedded:plain*", "-c", "embedded:vit*", "-e", "logme, knn"]
    code, out, _ = run(capsys, *arguments, "--json", path)
    board = ms.Leaderboard.load(path)
    assert code == 0
    assert f"Best: {board.best.candidate.name}, " in out
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
    known = json.loads(run(capsys, "estimators", "--json")[1])
    shipped = {
        e["name"] for e in known if e["requires"] != ["metadata"] and (not e["targets"] or "classes" in e["targets"])
    }
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
        (["-c", "resnett.letters"], "no zoo knows 'resnett.letters'. Did you mean 'resnet.letters'"),
        (["-c", "embedded:*", "--device", "abacus"], "abacus"),
        (["-c", "embedded:*", "--verify", "head"], "add --top-k 3"),
        (["-c", "embedded:*", "--epochs", "3", "--dry-run"], "--epochs applies to fine-tuning"),
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


def test_what_was_left_out_of_the_dataset_is_said(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    (dataset / "dark" / "1.png").write_bytes(b"no image")  # not among the rows that are held out
    for more in ([], ["--dry-run"]):
        code, out, _ = run(capsys, "select", dataset, "-c", "embedded:plain*", *more)
        assert code == 0
        assert "dark/1.png" in " ".join(out.split())
        code, out, err = run(capsys, "select", dataset, "-c", "embedded:plain*", "--json", "-", *more)
        assert code == 0
        assert json.loads(out)
        assert "dark/1.png" in err


def test_the_advice_about_columns_works_when_typed(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    files = sorted(dataset.rglob("*.png"))
    lines = [f"{file},{file},{file.parent.name},{file.parent.name[0]}" for file in files]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["photo,copy,kind,short", *lines]))
    words = ["select", table, "-c", "embedded:plain*", "-e", "logme", "-q"]
    for option, value, expected in (
        ("--label", "kind", "no label column found among photo (string), copy (string)"),
        ("--input", "photo", "the columns 'photo' and 'copy' all hold images"),
    ):
        code, _, err = run(capsys, *words)
        assert code == app.EXIT_BAD_USAGE
        assert expected in " ".join(err.split())
        assert f"(on the command line: {option} NAME)" in " ".join(err.split())
        words += [option, value]
    assert run(capsys, *words)[0] == 0


def test_two_columns_for_pairs_reach_the_settings(capsys: pytest.CaptureFixture[str], passed: dict[str, Any]) -> None:
    run(capsys, "select", ".", "-c", "embedded:*", "--input", "premise,hypothesis", "--label", "label")
    assert (passed["input"], passed["label"]) == ("premise,hypothesis", "label")


def test_an_unwritable_path_is_refused_before_the_work(
    capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path
) -> None:
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*", "--json", dataset / "nowhere" / "board.json")
    assert code == app.EXIT_BAD_USAGE
    assert "cannot be written" in err
    assert not cache.exists()


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


def test_the_command_line_prints_the_estimators_agreement_below_the_board(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["select", str(dataset), "-c", "embedded:plain*", "-e", "knn,centroid", "--quiet", "--agreement"]
    with pytest.raises(SystemExit) as stopped:
        app.main([*words, "--cache-dir", str(tmp_path / "cache")])
    assert not stopped.value.code
    below = capsys.readouterr().out.partition("weighted Kendall")[2]
    assert "knn" in below
    assert "100" in below
    with pytest.raises(SystemExit) as stopped:
        app.main([*words, "--json", "-"])
    assert stopped.value.code == app.EXIT_BAD_USAGE


def test_limits_are_options_of_the_command_line(tmp_path: Path, quickly: None) -> None:

    for index, (pixels, label) in enumerate(zip(*images(), strict=True)):
        path = tmp_path / "data" / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    arguments = ["select", str(tmp_path / "data"), "-c", "embedded:*", "-e", "h_score", "--no-history", "--quiet"]
    limits = ["--max-parameters", "23000", "--license", "mit", "--license", "apache*", "--max-latency-ms", "10000"]
    with pytest.raises(SystemExit) as stopped:
        app.main([*arguments, *limits, "--costs", "--json", str(tmp_path / "board.json")])
    assert not stopped.value.code
    board = ms.Leaderboard.load(tmp_path / "board.json")
    assert {row.candidate.name for row in board.ranked} == {
        c.name for c in ms.search("embedded:*") if c.metadata["parameters"] <= 23_000
    }
    assert all(row.latency_ms for row in board.ranked)
    given = json.loads((tmp_path / "board.json").read_text())["provenance"]["settings"]["limits"]
    asked = {name: value for name, value in given.items() if value}
    assert asked == {"max_parameters": 23000, "max_latency_ms": 10000.0, "license": ["mit", "apache*"]}


def test_a_folder_alone_is_enough(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POOL_VARIABLE, "embedded:plain*,embedded:vit*")
    code, out, err = run(capsys, "select", dataset)
    assert code == 0
    assert "Candidates: 3 of 3 from your own pool MODELSELECT_POOL" in err
    assert "vit.letters" in out
    code, _, err = run(capsys, "select", dataset, "--dry-run", "--json", tmp_path / "plan.json", "--limit", "2")
    assert code == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert len(plan["rows"]) == 2
    assert "Left out: 1 less promising" in plan["remarks"][-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["resnet.letters", "plain.letters"],
        ["-c", "resnet.letters", "plain.letters"],
        ["-c", "resnet.letters,plain.letters"],
        ["-c", "resnet.letters", "-c", "plain.letters"],
    ],
)
def test_candidates_follow_the_dataset_or_the_option(
    capsys: pytest.CaptureFixture[str], dataset: Path, arguments: list[str]
) -> None:
    code, out, _ = run(capsys, "select", dataset, *arguments, "-e", "logme", "--json", "-", "--no-history")
    assert code == 0
    assert {row["candidate"]["name"] for row in json.loads(out)["rows"]} == {"resnet.letters", "plain.letters"}


def test_without_a_terminal_131_networks_are_refused_with_their_size_and_what_to_do(
    capsys: pytest.CaptureFixture[str], dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    begun = refusal(capsys, "select", dataset, "-c", "timm:resnet*")
    assert re.search(r"131 candidates: 40\.\d GB to download and about .* but the bounds are 2 GB and 10 min", begun)
    for advice in ("add --yes", "--limit 8", "--max-download, --max-time", "--dry-run"):
        assert advice in begun


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("n", False)])
def test_on_a_terminal_the_command_asks(
    capsys: pytest.CaptureFixture[str], dataset: Path, monkeypatch: pytest.MonkeyPatch, answer: str, goes_on: bool
) -> None:
    asked: list[str] = []

    def confirm(question: str, *, err: bool) -> bool:
        asked.append(question)
        return answer == "y"

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr(funnel, "_opened", lambda *_: pytest.fail("begun", pytrace=False))
    words = ["select", dataset, "timm:resnet18.a1_in1k", "--max-download", "1MB"]
    if goes_on:
        with pytest.raises(pytest.fail.Exception, match="begun"):
            run(capsys, *words)
    else:
        assert "Nothing was downloaded" in refusal(capsys, *words)
    assert asked == ["1 candidate: 46.8 MB to download, but the bounds are 1 MB and 10 min. Go on?"]
    with pytest.raises(pytest.fail.Exception, match="begun"):
        run(capsys, *words, "--yes")
    assert len(asked) == 1


def test_the_last_lines_are_the_answer_and_what_to_do_next(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    arguments = ["select", dataset, "-c", "embedded:plain*", "--no-history", "-q", "--json", tmp_path / "board.json"]
    code, out, err = run(capsys, *arguments, "--agreement")
    assert code == 0, err
    before, _, after = out.partition("Best: ")
    best = f"Best: {after}"
    assert before.endswith("\n\n")
    board = ms.Leaderboard.load(tmp_path / "board.json")
    assert " ".join(best.split()) == " ".join(" ".join(closing_lines(board)).split())
    if best.splitlines()[-1].startswith("  "):  # the command is in a line of its own
        assert closing_lines(board)[-1] == best.splitlines()[-1]
        best = "\n".join(best.splitlines()[:-1])
    assert "\nNext: " in best


@pytest.mark.parametrize(("together", "option"), [(True, ()), (True, ("--quiet",)), (False, ())])
def test_what_progress_has_said_stands_under_the_table_only_where_the_table_goes_elsewhere(
    capsys: pytest.CaptureFixture[str],
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
    option: tuple[str, ...],
) -> None:
    monkeypatch.setattr("modelselect.cli.select.errors_are_shown_with_it", lambda: together)
    asked = ("-c", "embedded:plain*", "-e", "centroid", "--limit", "1", "--no-history")
    code, out, err = run(capsys, "select", dataset, *asked, *option)
    assert code == 0, err
    said = ("Candidates: 1 of 2", "Left out: 1 less promising")
    assert [text in " ".join(out.split()) for text in said] == [not together or "--quiet" in option] * 2
    assert [text in err for text in said] == ["--quiet" not in option] * 2


def test_where_nothing_was_ranked_each_reason_is_said_once(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").write_text('{"builder": "own.py:build"}')
        save_file({"weight": torch.zeros(2)}, tmp_path / "models" / name / "model.safetensors")
    code, _, err = run(capsys, "select", dataset, "-c", f"dir:{tmp_path}/models/*", "-q")
    assert code == app.EXIT_NOTHING_RANKED
    assert err.count("runs its own code") == 1
    assert "Next: add --trust-remote-code (trust_remote_code=True) to rank 2 more" in " ".join(err.split())


def test_a_dry_run_leaves_the_leaderboard_of_an_earlier_report_as_it_is(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "page.json").write_text("the leaderboard")
    words = ["select", dataset, "-c", "embedded:plain*", "--report", tmp_path / "page.html", "--dry-run"]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "plain.letters" in out
    assert (tmp_path / "page.json").read_text() == "the leaderboard"
    assert not (tmp_path / "page.html").exists()


def test_the_board_of_a_command_has_the_command(
    capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path
) -> None:
    words = ["-c", "embedded:plain.letters", "--seed", "3", "--no-history"]
    assert run(capsys, "select", dataset, *words, "-q", "--json", tmp_path / "board.json")[0] == 0
    command = ms.Leaderboard.load(tmp_path / "board.json").provenance["command"]
    assert command[:3] == ["modelselect", "select", str(dataset)]
    assert " ".join(words[:4]) in " ".join(command)
    assert "--no-history" in command
