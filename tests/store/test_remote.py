"""A store that machines share: what one writes, the others read; what fails there costs nothing here."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelselect.errors import InvalidInputError
from modelselect.store import Store
from modelselect.store import remote as remotes
from modelselect.store.remote import Remote, front_of, url_of

KEY = Store.key("features", candidate="a")
ROWS = {"features": np.arange(12.0).reshape(3, 4)}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    remotes._remote.cache_clear()
    return tmp_path


def another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, the cache folder is another one, and nothing is remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    remotes._remote.cache_clear()


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path / 'shared'}"
    elif request.param == "memory":
        import fsspec

        yield "memory://store"
        fsspec.filesystem("memory").rm("/store", recursive=True)
    else:
        pytest.importorskip("s3fs", reason="s3fs is not installed")
        server = pytest.importorskip("moto.server", reason="moto is not installed")
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        running.start()
        address = "http://{}:{}".format(*running.get_host_and_port())
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket/store"
        running.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def test_what_one_machine_writes_another_reads(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Store(url).put(KEY, ROWS, {"seconds": 1.5})
    here = Store(url).path
    another_machine(tmp_path, monkeypatch)
    there = Store(url)
    assert there.path != here
    assert list(there.entries()) == []
    assert there.contains(KEY)
    found = there.get(KEY)
    assert found is not None
    assert np.array_equal(found.arrays["features"], ROWS["features"])
    assert found.metadata == {"seconds": 1.5}
    assert [entry.key for entry in there.entries()] == [KEY]  # and is kept here
    assert there.get(Store.key("features", candidate="b")) is None
    assert not there.contains(Store.key("scores", candidate="a"))
    assert [record for record in caplog.records if record.name.startswith("modelselect")] == []


def test_a_store_that_is_named_by_its_folder_knows_the_place_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path / 'shared'}"
    Store(Store(url).path).put(KEY, ROWS)  # as workers do, which get the folder
    assert len(list((tmp_path / "shared" / "entries" / "features").glob("*/*.safetensors"))) == 1
    assert Store(tmp_path / "shared").get(KEY) is not None  # the place itself is a store
    assert list((tmp_path / "shared" / "partial").iterdir()) == []
    another_machine(tmp_path, monkeypatch)
    monkeypatch.setenv("MODELSELECT_CACHE", url)
    assert Store().get(KEY) is not None


def test_an_entry_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path / 'shared'}"
    Store(url).put(KEY, ROWS, {"by": "one"})
    (file,) = (tmp_path / "shared" / "entries").rglob("*.safetensors")
    before = file.stat()
    another_machine(tmp_path, monkeypatch)
    Store(url).put(KEY, ROWS, {"by": "two"})
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_damaged_entry_of_the_place_is_never_believed_and_then_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"file://{tmp_path / 'shared'}"
    Store(url).put(KEY, ROWS)
    (file,) = (tmp_path / "shared" / "entries").rglob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    another_machine(tmp_path, monkeypatch)
    store = Store(url)
    assert store.get(KEY) is None
    assert "is damaged (the checksum does not match)" in caplog.text
    assert list(store.entries()) == []
    store.put(KEY, ROWS)
    assert file.read_bytes() != content
    another_machine(tmp_path / "third", monkeypatch)
    assert Store(url).get(KEY) is not None


def test_an_entry_under_the_name_of_another_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, other = f"file://{tmp_path / 'shared'}", Store.key("features", candidate="b")
    Store(url).put(KEY, ROWS)
    (file,) = (tmp_path / "shared" / "entries").rglob("*.safetensors")
    digest = other.partition("-")[2]
    target = file.parents[1] / digest[:2] / f"{digest}.safetensors"
    target.parent.mkdir(exist_ok=True)
    file.rename(target)
    another_machine(tmp_path, monkeypatch)
    assert Store(url).get(other) is None


def test_a_place_that_fails_is_one_line_and_the_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shared").write_text("not a folder")
    store = Store(f"file://{tmp_path / 'shared'}")
    with caplog.at_level(logging.WARNING):
        for candidate in "abc":
            key = Store.key("features", candidate=candidate)
            assert store.get(key) is None
            store.put(key, ROWS)
            assert store.get(key) is not None
    assert len(caplog.records) == 1
    assert f"the shared store file://{tmp_path / 'shared'} cannot be " in caplog.text
    (tmp_path / "shared").unlink()
    remotes._remote.cache_clear()  # as in the next process
    assert store.share() == 3
    another_machine(tmp_path, monkeypatch)
    assert Store(store.shared_at).get(KEY) is not None


def test_what_is_of_this_machine_only_stays_here(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path / 'shared'}")
    for kind in remotes.NOT_SHARED:
        store.put(Store.key(kind, at="x"), {}, {"names": []})
    assert not (tmp_path / "shared").exists()


def test_removing_frees_this_machine_only(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path / 'shared'}")
    store.put(KEY, ROWS)
    assert store.evict(max_bytes=0) > 0
    assert store.size() == 0
    assert store.get(KEY) is not None


def test_another_process_reads_through_the_same_folder(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'shared'}"
    program = f"""
import numpy as np
from modelselect.store import Store
Store().put({KEY!r}, {{"features": np.ones((2, 2))}})
"""
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"MODELSELECT_CACHE": url}, check=True)
    found = Store(url).get(KEY)
    assert found is not None
    assert found.arrays["features"].shape == (2, 2)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("gopher://x/y", "which fsspec does not know"), ("C:/store", None), ("folder", None), ("s3:", None)],
)
def test_what_is_no_address_is_a_folder_or_an_error(given: str, expected: str | None, tmp_path: Path) -> None:
    if expected is None:
        assert url_of(given) is None
    else:
        with pytest.raises(InvalidInputError, match=expected):
            Store(given)


def test_no_message_shows_a_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Remote("sftp://me:secret@host.invalid/store")
    assert "secret" not in repr(place)
    folder = front_of("memory://me:secret@host/store")
    assert (folder / remotes.MARK).stat().st_mode & 0o077 == 0
    assert "secret" not in str(Store(folder).shared_at)


def test_the_command_names_the_place_and_brings_it_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from modelselect.cli.app import main

    url = f"file://{tmp_path / 'shared'}"
    Store(url).put(KEY, ROWS)
    with pytest.raises(SystemExit):
        main(["store", "--cache-dir", url, "--share"])
    assert f"shared with other machines at {url}; 1 of these entries are there" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["store", "--cache-dir", str(tmp_path / "alone"), "--share"])
    assert "is a folder of its own; --share needs a shared place" in " ".join(capsys.readouterr().err.split())
