"""The test Hub speaks as the real one does, so far as the real clients can tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from tests.hub import models
from tests.hub.server import Hub


def test_a_model_is_listed_described_and_downloaded_by_the_real_client(hub: Hub) -> None:
    files = models.timm_files()
    repository = hub.model("me/tiny", files, library_name="timm", license="mit", downloads=7)
    api = HfApi()
    (listed,) = api.list_models(author="me", expand=["sha", "downloads", "safetensors", "tags"])
    assert (listed.id, listed.sha, listed.downloads) == ("me/tiny", repository.sha, 7)
    assert {"timm", "license:mit", "safetensors"} <= set(listed.tags or [])
    assert api.list_repo_files("me/tiny") == list(files)
    folder = Path(snapshot_download("me/tiny"))
    assert models.files_of(folder) == files


def test_safetensors_headers_are_read_without_the_weights(hub: Hub) -> None:
    from safetensors.torch import load

    files = models.timm_files()
    hub.model("me/tiny", files)
    found = HfApi().get_safetensors_metadata("me/tiny")
    counts = {"F32": 0, "I64": 0}
    for tensor in load(files["model.safetensors"]).values():
        counts["F32" if tensor.is_floating_point() else "I64"] += tensor.numel()
    assert found.parameter_count == {dtype: count for dtype, count in counts.items() if count}
    listed = HfApi().model_info("me/tiny", expand=["safetensors"]).safetensors
    assert listed is not None
    assert listed.total == sum(counts.values())


def test_a_long_listing_comes_in_pages(hub: Hub) -> None:
    for index in range(2500):
        hub.model(f"me/model-{index}", {}, downloads=index)
    names = [model.id for model in HfApi().list_models(sort="downloads")]
    assert names == [f"me/model-{index}" for index in reversed(range(2500))]
    assert hub.count("GET /api/models") == 3


def test_older_commits_stay_readable(hub: Hub) -> None:
    repository = hub.model("me/tiny", {"a.txt": b"old"})
    old = repository.sha
    repository.commit({"a.txt": b"new"})
    assert [Path(HfApi().hf_hub_download("me/tiny", "a.txt", revision=r)).read_text() for r in (old, "main")] == [
        "old",
        "new",
    ]


def test_a_folder_is_uploaded_to_a_dataset_repository(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "history"
    (folder / "deep").mkdir(parents=True)
    (folder / "rows.jsonl").write_text('{"score": 1}\n')
    (folder / "deep" / "rows.parquet").write_bytes(bytes(range(256)) * 40)  # of a kind that goes to LFS
    api = HfApi(token="hf_writer")
    api.create_repo("me/history", repo_type="dataset")
    api.create_repo("me/history", repo_type="dataset", exist_ok=True)
    first = api.upload_folder(repo_id="me/history", repo_type="dataset", folder_path=folder)
    assert first.oid == hub.repositories["datasets", "me/history"].sha
    copy = Path(snapshot_download("me/history", repo_type="dataset"))
    assert {k: v for k, v in models.files_of(copy).items() if k != ".gitattributes"} == models.files_of(folder)


def test_a_commit_on_an_old_parent_is_refused(hub: Hub) -> None:
    repository = hub.dataset("me/history", {"rows.jsonl": b"1\n"})
    parent = repository.sha
    api = HfApi(token="hf_writer")

    def push(content: bytes) -> None:
        api.create_commit(
            "me/history",
            [CommitOperationAdd("rows.jsonl", content)],
            commit_message="more",
            repo_type="dataset",
            parent_commit=parent,
        )

    push(b"1\n2\n")
    with pytest.raises(HfHubHTTPError, match="412"):
        push(b"1\n3\n")
    assert repository.commits[-1][1]["rows.jsonl"] == b"1\n2\n"


def test_who_may_not_write_does_not(hub: Hub) -> None:
    repository = hub.dataset("me/history", {"rows.jsonl": b"1\n"})
    with pytest.raises(HfHubHTTPError, match="401"):
        HfApi(token="hf_nobody").upload_file(
            path_or_fileobj=b"2\n", path_in_repo="rows.jsonl", repo_id="me/history", repo_type="dataset"
        )
    assert repository.commits[-1][1]["rows.jsonl"] == b"1\n"
