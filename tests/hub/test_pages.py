"""The pages that need a Hub are run against one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.test_pages import OF_THE_HUB, blocks
from tests.hub import models
from tests.hub.server import Hub

PAGES = [
    page for page in sorted((REPOSITORY / "docs").rglob("*.md")) if OF_THE_HUB.search("".join(blocks(page, "python")))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # pages write into the working directory
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    facts = {"pipeline_tag": "image-classification", "license": "apache-2.0"}
    hub.model("timm/test_vit.made_here", models.timm_files(), library_name="timm", **facts)
    hub.model("microsoft/resnet-50", models.image_files("resnet"), library_name="transformers", **facts)
    namespace: dict[str, object] = {}
    for code in blocks(page, "python"):
        if "path/to" in code:  # the reader's own files
            continue
        exec(compile(code, str(page), "exec"), namespace)


def test_there_are_such_pages() -> None:
    assert {"search-the-hub", "private-and-gated-models", "publish-a-leaderboard"} <= {page.stem for page in PAGES}
