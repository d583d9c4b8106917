"""The card of a published model shows text as text."""

from __future__ import annotations

import pytest
import yaml

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from tests.hub import models
from tests.hub.server import Hub
from tests.verification.tuned import agrees, batch_of, tuned_row

pytestmark = pytest.mark.usefixtures("here")


def test_it_is_published_with_a_card_that_shows_text_as_text(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.model("me/vit", models.image_files("vit"), library_name="transformers", license="mit", tags=["license:mit"])
    row, expected = tuned_row("hub:me/vit")
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    row.push_to_hub("writer/winner")
    files = hub.repositories["models", "writer/winner"].commits[-1][1]
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"} <= files.keys()
    card = files["README.md"].decode()
    assert card.startswith("---\n")
    header = yaml.safe_load(card.split("---")[1])
    assert header == {
        "tags": ["modelselect", "transformers"], "library_name": "transformers",
        "pipeline_tag": "image-classification", "license": "mit", "base_model": "me/vit",
    }  # fmt: skip
    assert "<script>" not in card.split("---", 2)[2]
    assert "90.0% (95% interval 80.0% to 95.0%; guessing gives " in card
    found = Row(*ms.search("hub:writer/winner")).load()
    assert agrees(found.read(found.module, batch_of(found)).logits, expected)  # type: ignore[arg-type]
