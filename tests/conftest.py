"""What all tests share: where the shared real weights, datasets and reference scores are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from modelselect import Backbone, Candidate, Zoo
    from modelselect.host.host import Host
    from tests.hub.server import Hub

# On a busy machine, an example may take any time.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")

# Idle threads sleep instead of spinning, as on the command line; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Processes that tests start keep their bytecode, as those of users do; else each compiles the whole package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests leave nothing in the user's transfer history; those that are about it give one of their own.
os.environ["MODELSELECT_HISTORY"] = ""

# Nor in the user's store. What lists of models remember there serves all tests of a process.
_STORE = tempfile.TemporaryDirectory(prefix="modelselect-tests-")
os.environ["MODELSELECT_CACHE"] = _STORE.name

# Nor do they read the user's atlas of architectures.
os.environ["MODELSELECT_ATLAS"] = os.path.join(_STORE.name, "atlas.safetensors")

# What is written need not outlive the machine.
os.fsync = lambda _: None  # type: ignore[assignment, misc]

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_path(*parts: str) -> Path:
    """A file or folder of the shared material; skips the test that asks where the material is absent.

    The environment variable MODELSELECT_SHARED names its folder; without it, the folder is next to the repository.
    """
    root = Path(os.environ.get("MODELSELECT_SHARED", REPOSITORY.parent / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{Path(*parts)} is not in the shared material ({root}); set MODELSELECT_SHARED to where it is")
    return path


@pytest.fixture(autouse=True, scope="session")
def embedded_networks_are_traced_once() -> Iterator[None]:
    """In each process: a network has the same graph every time, as the tests of `trace` check."""
    from modelselect.evaluation import description

    plain = description.trace_and_count
    known: dict[Any, Any] = {}

    def remembering(module: Any, **inputs: Any) -> Any:
        if type(module).__module__ != "modelselect_plugins.zoos.embedded.networks":
            return plain(module, **inputs)
        key = (
            repr(module),
            *((name, str(getattr(given, "shape", given))) for name, given in inputs.items() if name != "again"),
        )
        if key not in known:
            known[key] = plain(module, **inputs)
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(description, "trace_and_count", remembering)
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own, in place of the user's; there is none yet. For all tests of a file:

    `pytestmark = pytest.mark.usefixtures("cache")`.
    """
    path = tmp_path / "cache"
    monkeypatch.setenv("MODELSELECT_CACHE", str(path))
    return path


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are measured in a moment, and less precisely."""
    monkeypatch.setattr("modelselect.evaluation.timing.LATENCY_SECONDS", 0.02)
    monkeypatch.setattr("modelselect.evaluation.timing.THROUGHPUT_SECONDS", 0.02)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the candidates that the embedded zoo is asked to load, as they come."""
    from modelselect.host.host import get_host

    names: list[str] = []
    zoo = type(get_host().zoo("embedded"))
    load = zoo.load

    def noting(self: Zoo, candidate: Candidate, **settings: Any) -> Backbone:
        names.append(candidate.name)
        return load(self, candidate, **settings)

    monkeypatch.setattr(zoo, "load", noting)
    return names


@pytest.fixture
def use_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Host], None]]:
    """Makes a host the one of this process until the test ends: `use_host(host)`."""
    from modelselect.host.host import Host, get_host

    def use(host: Host) -> None:
        monkeypatch.setattr(Host, "load", classmethod(lambda cls: host))
        get_host.cache_clear()

    yield use
    monkeypatch.undo()
    get_host.cache_clear()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub of the test's own, empty, which every client in this process takes for the real one.

    The clients read their endpoint and their caches on import; this sets them again.
    """
    import datasets
    import huggingface_hub

    from tests.hub.server import Hub

    server = Hub()
    home = tmp_path / "huggingface"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", server.url)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, with a store in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    return tmp_path
