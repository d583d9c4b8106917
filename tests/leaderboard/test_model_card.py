"""The card of a published model shows text as text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import modelselect as ms
from modelselect import hub as client
from modelselect.errors import HubError
from modelselect.leaderboard.leaderboard import Row
from modelselect.leaderboard.model_card import card
from modelselect.verification.fine_tuned import FineTuned
from modelselect.verification.signature import Signature
from tests.hub import models
from tests.hub.server import Hub
from tests.verification.tuned import NAMES, agrees, batch_of, put, tuned_row

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
    assert 'ms.load("writer/winner")' in card
    found = Row(*ms.search("hub:writer/winner")).load()
    assert agrees(found.read(found.module, batch_of(found)).logits, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["writer/winner", "hub:writer/winner"])
def test_what_was_pushed_predicts_by_its_name_though_only_we_can_load_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    row, expected = tuned_row("embedded:resnet.letters")
    row.push_to_hub("writer/winner")
    repository = hub.repositories["models", "writer/winner"]
    repository.commit({**repository.commits[-1][1], "harm.py": b"raise SystemExit", "harm.bin": b"\x80"})
    found = ms.load(name)
    assert agrees(found.read(found.module, batch_of(found)).logits, expected)  # type: ignore[arg-type]
    assert found.class_names == NAMES
    assert not hub.count("harm")


def test_a_winner_of_files_that_are_too_large_is_not_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    row, _ = tuned_row("embedded:resnet.letters")
    row.push_to_hub("writer/winner")
    files = hub.repositories["models", "writer/winner"].commits[-1][1]
    for bound, value, said in (
        ("LARGEST_DESCRIPTION", 20, r"holds a \S+\.json of [\d,]+ bytes; expected at most 20"),
        ("_MOST_FILES", 2, r"holds [3-9] files of a winner; expected at most 2"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(client, bound, value)
            with pytest.raises(HubError, match=said):
                ms.load("writer/winner")
    usage = shutil.disk_usage("/")._replace(free=len(files["model.safetensors"]))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(HubError, match=r"takes [\d,]+ bytes, and [\d,]+ are free"):
            ms.load("writer/winner")
    assert not hub.count("resolve.*(safetensors|modelselect.json)")
    assert ms.load("writer/winner").class_names == NAMES


def test_a_model_that_is_no_winner_is_loaded_as_before(hub: Hub) -> None:
    hub.model("me/vit", models.image_files("vit"), library_name="transformers")
    assert ms.load("hub:me/vit").signature is None
    hub.close()
    assert ms.load("hub:me/vit").signature is None, "from the cache"


def test_the_card_does_not_tell_where_a_folder_lay(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    row, _ = tuned_row(put(str(tmp_path / "secret" / "vit"), models.image_files("vit")))
    row.push_to_hub("writer/winner")
    files = hub.repositories["models", "writer/winner"].commits[-1][1]
    assert "directory:vit@" in files["README.md"].decode().replace("\\", "")
    assert not [name for name, content in files.items() if b"secret" in content]


@pytest.mark.parametrize(
    ("modality", "kind", "expected"),
    [
        ("audio", "classes", "audio-classification"),
        ("text", "label_sets", "text-classification"),
        ("image", "numbers", None),
    ],
)
def test_the_pipeline_is_that_of_the_inputs_and_numbers_have_none(
    modality: str, kind: str, expected: str | None
) -> None:
    tuned = FineTuned({}, ("a", "b"), "full", Signature(("a", "b"), modality, target_kind=kind))
    header = yaml.safe_load(card(Row(ms.Candidate("hub", "me/x")), tuned, {"model_type": "x"}, "me/x").split("---")[1])
    assert header.get("pipeline_tag") == expected


def test_the_card_of_a_model_of_parts_calls_no_other_metric_accuracy_and_predicts_no_boxes() -> None:
    measured = {"verified_accuracy": 0.5, "verified_interval": (0.4, 0.6)}
    for unit, use in (("pixel", 'model.predict("photo.jpg")'), ("box", "model.module.body")):
        tuned = FineTuned({}, ("a", "b"), "full", Signature(("a", "b"), "image", unit=unit))
        text = card(Row(ms.Candidate("hub", "me/x"), **measured), tuned, {}, "me/x")
        assert "Accuracy on held-out rows" not in text
        assert use in text
        assert ("predict" in text) == (unit == "pixel")


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"[]", b'{"auth": null}', b'{"auth": {"accessToken": 3}}', b'{"name": "you", "orgs": [5]}']
)
def test_a_hub_that_does_not_say_who_somebody_is_is_one_error(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    hub.misbehave("whoami", rewrite=lambda _: answer)
    with pytest.raises(HubError, match="the Hub's answer cannot be understood"):
        client.Repository("writer/winner", "model").check_may_write()


def test_a_message_that_quotes_a_text_from_outside_is_of_bounded_length(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    hub.misbehave("whoami", rewrite=lambda body: body.replace(b'"writer"', b'"' + b"x" * 100_000 + b'"'))
    with pytest.raises(HubError, match="belongs to 'writer', and your token to xxx") as caught:
        client.Repository("writer/winner", "model").check_may_write()
    assert len(str(caught.value)) == 5_001
