"""The file of options: where it is found, what it means, that the command line wins, and what is said of a bad one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modelselect.cli import app
from modelselect.cli.configuration import Configuration, read
from modelselect.errors import InvalidInputError, NothingRankedError
from modelselect.host.patience import within
from modelselect.selection import funnel


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The keywords that `select()` was called with; it ranks nothing."""
    found: dict[str, Any] = {}

    def select(dataset: Any, candidates: Any, **settings: Any) -> None:
        found.update(settings, environment=dict(os.environ))
        raise NothingRankedError("asked")

    monkeypatch.setattr(funnel, "select", select)
    return found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        app.main(["select", "data", "-c", "embedded:*", *arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_the_options_of_a_project_are_defaults_and_the_command_line_wins(here: Path, asked: dict[str, Any]) -> None:
    write(
        here / "pyproject.toml",
        '[tool.modelselect]\ntop-k = 3\nprobe_size = "all"\nestimators = ["logme", "knn"]\nbudget = 50000\n'
        'license = ["mit", "cc-by*"]\ncosts = true\nepochs = 7\n',
    )
    assert run("--top-k", "2", "--seed", "5") == app.EXIT_NOTHING_RANKED
    expected = {"top_k": 2, "probe_size": None, "estimators": "logme,knn", "budget": "50000", "seed": 5, "costs": True}
    assert {name: asked[name] for name in expected} == expected
    assert list(asked["license"]) == ["mit", "cc-by*"]
    assert asked["epochs"] == 7


def test_a_file_may_lower_the_bounds(here: Path, asked: dict[str, Any]) -> None:
    write(here / "modelselect.toml", "max-download = '500MB'\nmax-time = '2m'\n")
    run()
    assert (asked["max_download"], asked["max_time"]) == ("500MB", "2m")
    run("--max-time", "2h")
    assert asked["max_time"] == "2h"


def test_a_budget_of_a_file_is_said(here: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = write(here / "modelselect.toml", "budget = '20m'\n")
    run()
    assert asked["budget"] == "20m"
    assert f"{path} sets budget = 20m" in capsys.readouterr().err.replace("\n", "")
    run("--budget", "5m")
    assert asked["budget"] == "5m"
    assert "sets budget =" not in capsys.readouterr().err


def test_an_option_of_one_value_that_is_given_twice_is_said(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run("-e", "knn", "--estimators", "logme", "--license", "mit", "--license", "bsd", "--costs", "--costs")
    assert asked["estimators"] == "logme"
    said = capsys.readouterr().err
    assert "--estimators is given 2 times; the last counts: logme" in said
    assert said.count("is given") == 1


def test_without_a_file_nothing_changes(asked: dict[str, Any]) -> None:
    run()
    assert "top_k" not in asked
    assert "estimators" not in asked


def test_options_of_fine_tuning_wait_until_something_is_fine_tuned(here: Path, asked: dict[str, Any]) -> None:
    write(here / "modelselect.toml", 'verify = "head"\nepochs = 7\nconfidence = 0.8\n')
    assert run() == app.EXIT_NOTHING_RANKED
    assert "epochs" not in asked
    assert asked.keys().isdisjoint({"verify", "confidence"})
    run("--top-k", "2", "--budget", "20m")
    assert (asked["verify"], asked["confidence"], asked["epochs"]) == ("head", 0.8, 7)
    run("--save", "winner")
    assert (asked["verify"], asked["top_k"], asked["epochs"]) == ("head", 1, 7)


def test_pool_history_and_store_are_those_of_the_file_for_every_command(
    here: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODELSELECT_CACHE")
    monkeypatch.delenv("MODELSELECT_HISTORY")
    write(
        here / "modelselect.toml",
        'candidates = ["pool:images-fast", "embedded:*"]\nhistory = "off"\ncache-dir = "kept"\n',
    )
    (here / "deep").mkdir()
    monkeypatch.chdir(here / "deep")
    run()
    seen = asked["environment"]
    assert seen["MODELSELECT_POOL"] == "pool:images-fast,embedded:*"
    assert (seen["MODELSELECT_HISTORY"], seen["MODELSELECT_CACHE"]) == ("", str(here / "kept"))
    assert "MODELSELECT_POOL" not in os.environ
    monkeypatch.setenv("MODELSELECT_POOL", "timm:*")
    run()
    assert asked["environment"]["MODELSELECT_POOL"] == "timm:*"
    with pytest.raises(SystemExit):
        app.main(["store"])
    assert str(here / "kept") in capsys.readouterr().out


def test_the_nearest_file_counts_and_the_search_ends_at_the_repository_and_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = write(tmp_path / "modelselect.toml", "seed = 1\n")
    project = write(tmp_path / "project" / "pyproject.toml", "[tool.modelselect]\nseed = 2\n")
    write(tmp_path / "project" / "package" / "pyproject.toml", "[project]\nname = 'modelselect-user'\n")
    deep = tmp_path / "project" / "package" / "deep"
    deep.mkdir()
    assert read(deep) == Configuration(project, {"seed": "2"})
    own = write(tmp_path / "project" / "modelselect.toml", "seed = 3\n")
    assert read(deep) == Configuration(own, {"seed": "3"})
    own.unlink()
    project.unlink()
    assert read(deep).path == outer
    (tmp_path / "project" / ".git").mkdir()
    assert read(deep) == Configuration()
    (tmp_path / "project" / ".git").rmdir()
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    assert read(deep) == Configuration()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("topk = 3", r"sets 'topk', but there is no such option. Did you mean 'top-k'\?"),
        ("top-k = 3\ntop_k = 4", "sets 'top_k' twice"),
        ("[select]\ntop-k = 3", "holds the section 'select', but options stand without sections: move its lines up$"),
        ("candidates = 'a'\npool = 'b'", "sets 'pool' twice"),
        ("trust-remote-code = true", "lets candidates run their code. Only the command line may do this"),
        ("yes = true", "Only the command line may do this"),
        ("track = 'wandb'", "sends results to an experiment tracker. Only the command line may do this"),
        ("public = true", "publishes results. Only the command line may do this"),
        ("max-download = '40GB'", r"the bounds are 2 GB and 10 min. A file may only lower .* --max-download 40GB"),
        ("max_time = '2h'", "A file may only lower them"),
        ("max_time = 601", "A file may only lower them"),
        ("max-download = '40'", "sets 'max-download': '40' has no unit"),
        ("costs = 1", "sets 'costs' to 1; expected true or false"),
        ("top-k = true", "sets 'top-k' to True; expected text, a number, or a list of texts"),
        ("top-k = {a = 1}", "expected text, a number, or a list of texts"),
        ("estimators = [['logme']]", "expected text, a number, or a list of texts"),
        ("top-k = ", "is not valid TOML"),
        ("x = " + "[" * 5000, "is not valid TOML"),
        ("# " + "x" * 1_000_001, "has more than 1,000,000 bytes"),
        ("top-k = 0x" + "f" * 6000, "sets 'top-k' to a number with too many digits; expected text, a number"),
        ("top-k = 9223372036854775808", "sets 'top-k' to 9223372036854775808; expected text, a number"),
        ('cache-dir = "a\\u0000b"', r"sets 'cache-dir' to 'a\\x00b'; expected text, a number"),
        ("costs = '" + "x" * 5000 + "'", "sets 'costs' to 'x{99}…; expected true or false"),
        ("x" * 5000 + " = 1", "sets 'x{99}…, but there is no such option"),
        ("max-time = '" + "1" * 20_000 + "'", "sets 'max-time' to '1{99}…; expected text, a number"),
        ("max-time = 0x" + "f" * 6000, "sets 'max-time' to a number with too many digits; expected text, a number"),
        (".".join(["a"] * 20_000) + " = 1", "is not valid TOML: tables are nested too deeply"),
    ],
)
def test_a_bad_file_is_one_error_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "modelselect.toml", text)
    with pytest.raises(InvalidInputError, match=message) as raised:
        read(tmp_path)
    assert str(path) in str(raised.value)


def test_bytes_that_are_no_text_and_a_table_that_is_none_are_errors(tmp_path: Path) -> None:
    (tmp_path / "modelselect.toml").write_bytes(b"seed = 1 # \xff")
    with pytest.raises(InvalidInputError, match="not valid TOML"):
        read(tmp_path)
    (tmp_path / "modelselect.toml").unlink()
    write(tmp_path / "pyproject.toml", "[tool]\nmodelselect = 3\n")
    with pytest.raises(InvalidInputError, match=r"is 3; expected a table: \[tool.modelselect\]"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["[[[ broken", "# " + "x" * 1_000_001], ids=["broken", "large"])
def test_a_project_file_of_others_is_not_judged(tmp_path: Path, text: str) -> None:
    write(tmp_path / "pyproject.toml", text)
    (tmp_path / ".git").mkdir()
    assert read(tmp_path) == Configuration()


def test_a_project_file_that_cannot_be_read_is_that_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "pyproject.toml", "[tool.modelselect]\nseed = 1\n")
    (tmp_path / ".git").mkdir()

    def refused(path: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    assert read(tmp_path) == Configuration()


@pytest.mark.parametrize("name", ["modelselect.toml", "pyproject.toml"])
def test_a_link_to_the_endless_file_of_the_kernels_messages_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / name).symlink_to("/proc/kmsg")
    with within(5.0):
        assert not read(tmp_path).options


def test_an_empty_file_hides_those_above_it(tmp_path: Path) -> None:
    write(tmp_path / "modelselect.toml", "top-k = 3\n")
    (tmp_path / "inner").mkdir()
    assert read(tmp_path / "inner").options == {"top_k": "3"}
    (tmp_path / "inner" / "modelselect.toml").touch()
    assert not read(tmp_path / "inner").options


def test_an_error_about_a_value_names_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(here / "modelselect.toml", "top-k = 'three'\n")
    assert run() == app.EXIT_BAD_USAGE
    said = capsys.readouterr().err
    assert "--top-k" in said
    assert f"note: {path} sets top-k" in said


def test_help_and_doctor_work_in_spite_of_a_broken_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(here / "modelselect.toml", "top-k = \n")
    assert run("--help") == 0
    assert "--top-k" in capsys.readouterr().out
    for words in (["--version"], ["doctor", "--json"]):
        with pytest.raises(SystemExit) as stopped:
            app.main(words)
        assert not stopped.value.code
    assert f"{path} is not valid TOML" in capsys.readouterr().out
    path.write_text("top-k = 2\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        app.main(["doctor", "--json"])
    assert str(path) in capsys.readouterr().out


def test_verbose_names_the_file_and_what_it_sets(
    here: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(here / "modelselect.toml", "seed = 4\ntop-k = 3\n")
    run("--verbose")
    assert f"{path} sets seed, top-k" in capsys.readouterr().err


def test_a_home_or_a_folder_that_cannot_be_read_costs_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, **_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where a process has no home
    assert read(tmp_path) == Configuration()


def test_the_home_of_nobody_is_a_plain_path(here: Path) -> None:
    write(here / "modelselect.toml", 'cache-dir = "~no-such-user/kept"\n')
    assert read(here).options == {"cache_dir": str(here / "~no-such-user" / "kept")}
