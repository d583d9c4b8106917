"""`~` is the home folder wherever a path is taken, and a user who does not exist is no reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelselect as ms
from modelselect.errors import ModelSelectError
from modelselect.history import History
from modelselect.store import Store
from modelselect.store.files import user_path
from modelselect.utils.paths import expanded

NOBODY = "~nobody-of-this-name/x"


def test_the_home_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/data") == tmp_path / "data"


@pytest.mark.parametrize(
    "call",
    [
        lambda: ms.Probe.of(NOBODY),
        lambda: ms.search(f"dir:{NOBODY}"),
        lambda: ms.search(f"checkpoint:{NOBODY}.pt"),
        lambda: ms.load(NOBODY),
    ],
)
def test_a_path_of_a_user_who_does_not_exist_is_one_error(
    call: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelSelectError):
        call()  # type: ignore[operator]


def test_a_store_and_a_history_may_have_such_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELSELECT_CACHE", NOBODY)
    assert Store().path == tmp_path / NOBODY
    assert History(NOBODY).path == tmp_path / NOBODY


def test_an_account_without_a_home_folder_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "MODELSELECT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ModelSelectError, match="Set MODELSELECT_CACHE"):
        user_path("MODELSELECT_CACHE", "cache")
