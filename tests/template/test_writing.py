"""`modelselect new`: each kind of package can be built, installed, tested, and used in a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelselect.errors import InvalidInputError
from modelselect.template.writing import KINDS, LICENSES, write

HERE = Path(__file__).parents[2]

BUILD = """
import importlib, os, sys, tomllib
from pathlib import Path

for project in sys.argv[2:]:
    os.chdir(project)
    backend = tomllib.loads(Path("pyproject.toml").read_text())["build-system"]["build-backend"]
    importlib.import_module(backend).build_wheel(sys.argv[1])
"""


@pytest.mark.slow
def test_each_kind_passes_its_own_tests_once_it_is_installed(tmp_path: Path) -> None:
    """In an environment of their own, which sees the libraries of this one."""
    projects = [tmp_path / kind for kind in KINDS]
    for kind, project in zip(KINDS, projects, strict=True):
        write(kind, f"my_{kind}", project, author="Ada Lovelace")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = (tmp_path / "env").glob("lib/python3*/site-packages")
    seen = [str(HERE), str(HERE / "plugins"), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "seen.pth").write_text("\n".join(seen), encoding="utf-8")
    python = tmp_path / "env" / "bin" / "python"
    # One process builds all wheels, by the backend that each pyproject.toml names, as pip would in one process each.
    subprocess.run([sys.executable, "-c", BUILD, tmp_path, *projects], check=True, capture_output=True)
    wheels = sorted(tmp_path.glob("*.whl"))
    assert len(wheels) == len(KINDS)
    installing = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*installing, *wheels], check=True, cwd=tmp_path)
    # What this suite's own environment sets for plugins must not decide which plugins there are.
    there = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MODELSELECT_PLUGINS")}
    there |= {"MODELSELECT_CACHE": str(tmp_path / "store"), "MODELSELECT_HISTORY": str(tmp_path / "history")}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, "-m", *arguments], cwd=tmp_path, env=there, capture_output=True, text=True)

    tested = run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *projects)
    assert tested.returncode == 0, tested.stdout[-3000:] + tested.stderr[-2000:]
    listed = {plugin["name"]: plugin for plugin in json.loads(run("modelselect", "plugins", "--json").stdout)}
    for kind in KINDS:
        assert listed[f"my_{kind}"]["registered"], kind
        assert listed[f"my_{kind}"]["faults"] == []


def test_it_is_formatted_and_typed_as_the_project_is(tmp_path: Path) -> None:
    for kind in KINDS:
        write(kind, "my-first", tmp_path / kind)
    config = ["--config", str(HERE / "pyproject.toml"), "--ignore", "I,PLR0913,TID253"]
    checked = subprocess.run([sys.executable, "-m", "ruff", "check", *config, tmp_path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    formatted = [sys.executable, "-m", "ruff", "format", "--check", "--config", str(HERE / "pyproject.toml"), tmp_path]
    result = subprocess.run(formatted, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("license", LICENSES)
def test_the_licence_is_in_the_metadata_and_in_a_file(license: str, tmp_path: Path) -> None:
    write("estimator", "spread", tmp_path / "spread", license=license, author="Ada Lovelace")
    metadata = tomllib.loads((tmp_path / "spread" / "pyproject.toml").read_text(encoding="utf-8"))
    assert metadata["project"]["license"] == license
    text = (tmp_path / "spread" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text if license == "Apache-2.0" else "Ada Lovelace" in text


@pytest.mark.parametrize(
    ("kind", "name", "license", "message"),
    [
        ("estimators", "spread", "MIT", "Did you mean 'estimator'"),
        ("estimator", "Spread", "MIT", "lower-case"),
        ("estimator", "class", "MIT", "lower-case"),
        ("estimator", "../spread", "MIT", "lower-case"),
        ("estimator", "spread", "GPL", "MIT, BSD-3-Clause, Apache-2.0"),
    ],
)
def test_what_cannot_be_written_is_refused(kind: str, name: str, license: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        write(kind, name, tmp_path / "new", license=license)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="not an empty folder"):
        write("pool", "mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@given(author=st.text(max_size=30))
def test_any_author_gives_valid_metadata(author: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("author") / "new"
    write("pool", "mine", folder, author=author)
    metadata = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert metadata["project"]["authors"][0]["name"].strip()


def test_a_folder_that_cannot_be_written_is_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match=r"cannot write '.*/file/package': .* Give a writable folder"):
        write("estimator", "spread", tmp_path / "file" / "package")
