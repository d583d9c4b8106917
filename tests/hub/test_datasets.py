"""Datasets of the Hub as probes, through the real client: what is there is drawn, and what is not says why."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import DatasetError
from tests.hub.server import Hub


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, bytes]:
    """A training and a test split as Parquet files; images of class b are lighter."""
    import datasets
    from PIL import Image

    rng = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    files = {}
    for split, count in (("train", 60), ("test", 20)):
        labels = [index % 2 for index in range(count)]
        pixels = [rng.integers(0, 128, (16, 16, 3), dtype=np.uint8) + np.uint8(128 * label) for label in labels]
        content = {"image": [Image.fromarray(image) for image in pixels], "label": labels}
        path = tmp_path / f"{split}.parquet"
        datasets.Dataset.from_dict(content, features=features).to_parquet(path)
        files[f"data/{split}-00000-of-00001.parquet"] = path.read_bytes()
    return files


def test_a_dataset_of_the_hub_is_a_probe_of_its_training_split(hub: Hub, rows: dict[str, bytes]) -> None:
    hub.dataset("me/shades", rows)
    probe = ms.Probe.of("me/shades")
    assert (len(probe), list(probe.class_names or [])) == (60, ["a", "b"])
    means = np.array([np.asarray(probe.item(index)).mean() for index in range(len(probe))])
    assert ((means > 128) == (probe.labels == 1)).all()


def test_a_configuration_of_a_dataset_is_named_behind_a_colon(hub: Hub, rows: dict[str, bytes]) -> None:
    entries = [f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in ("light", "dark")]
    card = "".join(["---\nconfigs:\n", *entries, "---\n"])
    train, test = rows.values()
    hub.dataset("me/shades", {"README.md": card.encode(), "light.parquet": train, "dark.parquet": test})
    assert len(ms.Probe.of("me/shades:light")) == 60
    assert len(ms.Probe.of("me/shades:dark")) == 20


def test_a_cut_connection_is_not_noticed(hub: Hub, rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.dataset("me/shades", rows)
    hub.misbehave("GET .*train.*parquet", times=1, cut=100)
    assert len(ms.Probe.of("me/shades")) == 60


@pytest.mark.parametrize("place", [0, 500])  # no Parquet file any more; a pixel of another colour
def test_a_file_that_arrives_damaged_is_an_error_once(hub: Hub, rows: dict[str, bytes], place: int) -> None:
    hub.dataset("me/shades", rows)
    hub.misbehave("GET .*train.*parquet", times=1, rewrite=lambda body: flipped(body, place))
    with pytest.raises(
        DatasetError, match=r"data/train-00000-of-00001.parquet of 'me/shades' arrived damaged: .*Run a"
    ):
        ms.Probe.of("me/shades")
    again = ms.Probe.of("me/shades")
    for file in Path("huggingface").rglob("*"):
        assert not file.is_symlink() or file.exists()
    assert len(again) == 60


def test_a_hub_that_falls_silent_while_it_lists_a_dataset_is_an_error(
    hub: Hub, rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.dataset("me/shades", rows)
    hub.misbehave("GET .*/tree/", silent=60)
    monkeypatch.setattr("modelselect.probe.huggingface.LISTING_SECONDS", 2.0)
    begun = time.monotonic()
    with pytest.raises(DatasetError, match=r"failed: TimeoutError: there is no answer after 2 s"):
        ms.Probe.of("me/shades")
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("request_", "fault"),
    [("HEAD", {"silent": 60}), ("GET", {"silent": 60}), ("GET", {"status": 429, "headers": {"Retry-After": "3600"}})],
)
def test_files_of_which_no_byte_arrives_are_not_waited_for(
    hub: Hub, rows: dict[str, bytes], request_: str, fault: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"me/{request_}-{len(fault)}".lower()  # a thread that waits still may fill a cache of the client
    hub.dataset(name, rows)
    hub.misbehave(f"{request_} .*resolve.*parquet", **fault)
    monkeypatch.setattr("modelselect.utils.downloads.STILL_SECONDS", 2.0)
    monkeypatch.setattr("modelselect.utils.downloads.LOOKED_AFTER", 0.5)
    begun = time.monotonic()
    with pytest.raises(DatasetError, match=r"failed: TimeoutError: no byte has arrived for 2 s. Run again later, or"):
        ms.Probe.of(name)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml", "dataset_infos.json"])
def test_a_description_without_bounds_is_not_read(
    hub: Hub, rows: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelselect.probe.hub_files.LARGEST_DESCRIPTION", 1000)
    hub.dataset("me/shades", {**rows, name: b" " * 1001})
    with pytest.raises(DatasetError, match=rf"^{name} of 'me/shades' has 1,001 bytes; expected at most 1,000"):
        ms.Probe.of("me/shades")
    assert not hub.count(f"GET .*resolve.*{name}")


@pytest.mark.parametrize("file", ["/etc/hostname", "http://127.0.0.1:1/x.csv", "../../x.csv", "zip://*.csv::/x.zip"])
def test_a_description_names_only_files_of_the_dataset(hub: Hub, rows: dict[str, bytes], file: str) -> None:
    card = f'---\nconfigs:\n- config_name: default\n  data_files: "{file}"\n---\n'
    hub.dataset("me/shades", {**rows, "README.md": card.encode()})
    with pytest.raises(DatasetError, match="names a file outside that folder"):
        ms.Probe.of("me/shades")


@pytest.mark.parametrize(
    ("request_", "fault", "advice"),
    [
        ("GET /api/datasets/me/shades", {"status": 500}, "The Hub fails: run again later"),
        ("GET /api/datasets/me/shades", {"status": 429}, "The Hub limits the rate of requests: run again later"),
        ("GET /api/datasets/me/shades", {"rewrite": lambda _: b"<html>log in</html>"}, "check HF_ENDPOINT"),
        ("GET .*parquet", {"rewrite": lambda _: b"<html>log in</html>"}, "check HF_ENDPOINT"),
        ("GET .*parquet", {"status": 403}, "The Hub refuses access: see {page}"),
    ],
)
def test_the_advice_fits_what_went_wrong(
    hub: Hub,
    rows: dict[str, bytes],
    request_: str,
    fault: dict[str, object],
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.dataset("me/shades", rows)
    hub.misbehave(request_, **fault)
    with pytest.raises(DatasetError) as caught:
        ms.Probe.of("me/shades")
    assert advice.format(page=f"{hub.url}/datasets/me/shades") in str(caught.value)
    assert "spelling" not in str(caught.value)


def test_rows_that_are_no_rows_say_what_is_wrong_with_them(hub: Hub) -> None:
    hub.dataset("me/shades", {"train.csv": b'a,b\n1,2,3\n1,2,3,4,5\n"'})
    with pytest.raises(DatasetError, match=r"ParserError: .*See .*/datasets/me/shades for what the dataset holds"):
        ms.Probe.of("me/shades")


def test_a_configuration_that_is_not_there_is_said(hub: Hub, rows: dict[str, bytes]) -> None:
    hub.dataset("me/shades", rows)
    with pytest.raises(DatasetError, match=r"Check the name of the configuration at .*/datasets/me/shades"):
        ms.Probe.of("me/shades:other")


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"gated": "auto"}, "Ask for access at {page}, then log in with `hf auth login`"),
        ({"private": True}, "if the dataset is private and you have access, log in with `hf auth login`"),
        ({"script": True}, "The dataset is made by code, which is not run here"),
        (None, "Check the spelling (a folder's path, or 'owner/name[:config]' as at {page})"),
    ],
)
def test_what_is_not_given_says_what_to_do(
    hub: Hub, rows: dict[str, bytes], facts: dict[str, object] | None, message: str, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    if facts is not None:
        files = {"shades.py": f"open({str(marker)!r}, 'w')".encode()} if facts.pop("script", False) else rows
        hub.dataset("me/shades", files, **facts)
    with pytest.raises(DatasetError) as caught:
        ms.Probe.of("me/shades")
    assert message.format(page=f"{hub.url}/datasets/me/shades") in str(caught.value)
    assert not marker.exists()


def test_offline_a_cached_dataset_works_and_another_says_what_to_do(
    hub: Hub, rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.dataset("me/shades", rows)
    online = ms.Probe.of("me/shades")
    for setting in ("huggingface_hub.constants.HF_HUB_OFFLINE", "datasets.config.HF_HUB_OFFLINE"):
        monkeypatch.setattr(setting, True)
    assert ms.Probe.of("me/shades").fingerprint == online.fingerprint
    with pytest.raises(DatasetError, match=r"Without a network, download the dataset on another machine"):
        ms.Probe.of("me/other")
