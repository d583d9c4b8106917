"""Completion by the Tab key: commands, options and names, quickly and as each shell takes words apart."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelselect.cli import completion
from modelselect.host.host import get_host
from tests.test_imports import HEAVY, loaded_after

SECONDS = 1.0


def names(shell: str, line: str) -> list[str]:
    """What is offered; fish also gets the help of each, after a tab."""
    return [offered.split("\t")[0] for offered in lines(shell, line)]


def answer(shell: str, line: str, words: list[str] | None = None) -> list[str]:
    """The words that the command line answers to the Tab key at the end of a line."""
    return " ".join(lines(shell, line, words)).split()


def lines(shell: str, line: str, words: list[str] | None = None) -> list[str]:
    split = words if words is not None else line.split(" ")
    asked = {
        "_MODELSELECT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(split),
        "COMP_CWORD": str(len(split) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-m", "modelselect"], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_commands_and_options_are_completed(shell: str) -> None:
    assert {"select", "search"} <= set(names(shell, "modelselect se"))
    assert "store" not in names(shell, "modelselect se")
    assert "--max-latency-ms" in answer(shell, "modelselect select data --max-la")


def test_the_names_are_those_of_the_host_though_no_plugin_is_imported() -> None:
    host = get_host()
    assert completion.estimators("") == ["all", *sorted(host.estimators)]
    zoos = {*host.zoos, *(alias for zoo in host.zoos.values() for alias in zoo.aliases)}
    expected = [f"pool:{name}" for name in sorted(host.pools)] + [f"{name}:" for name in sorted(zoos)]
    assert completion.candidates("") == expected
    code = "from modelselect.cli import completion; completion.estimators(''); completion.candidates('')"
    loaded = loaded_after(code)
    assert loaded.isdisjoint(HEAVY)
    assert not [name for name in loaded if name.startswith("modelselect_plugins.estimators.")]


def test_estimators_are_completed_after_a_comma_and_not_twice() -> None:
    assert "logme,knn" in completion.estimators("logme,k")
    assert "logme,logme" not in completion.estimators("logme,")
    assert answer("bash", "modelselect select data -e logm") == ["logme"]


def test_bash_which_splits_words_at_colons_gets_the_last_part() -> None:
    words = ["modelselect", "select", "data", "-c", "pool", ":", "images-f"]
    assert answer("bash", "", words) == ["images-fast"]
    assert set(answer("bash", "", words[:-1])) == set(get_host().pools)
    assert answer("zsh", "modelselect select data -c pool:images-f") == [
        "_arguments", "'*:", ":((\"pool\\\\:images-fast\"))'"
    ]  # fmt: skip


def test_the_script_of_each_shell_is_printed() -> None:
    for shell, part in (
        ("bash", "complete -o default"),
        ("zsh", "#compdef modelselect"),
        ("fish", "complete --command"),
    ):
        asked = os.environ | {"_MODELSELECT_COMPLETE": f"source_{shell}"}
        done = subprocess.run(
            [sys.executable, "-m", "modelselect"], env=asked, capture_output=True, text=True, check=True
        )
        assert part in done.stdout


def test_a_completion_takes_less_than_a_second() -> None:
    seconds = []
    for _ in range(3):  # the processor's time and the fastest of some, since the machine may be busy with other things
        begun = os.times()
        answer("fish", "modelselect select data -e lo")
        ended = os.times()
        seconds.append(ended.children_user + ended.children_system - begun.children_user - begun.children_system)
    assert min(seconds) < SECONDS, seconds
