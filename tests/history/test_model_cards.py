"""Model cards on the Hub become results of their base models, each once."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import HfApi

import modelselect as ms
from modelselect.history import History, mine, model_cards
from tests.history.conftest import card, publish
from tests.hub.server import Hub


def test_published_fine_tunings_become_results_of_their_base_models(hub: Hub, history: History) -> None:
    publish(hub, "a/flowers", card("oxford_flowers102", 0.95, split="test"))
    publish(hub, "b/food", card("food101", 88.5, base="microsoft/resnet-50", config="default"))
    publish(hub, "c/plain", {"tags": [], "pipeline_tag": "image-classification"})
    publish(hub, "d/text", card("imdb", 0.9) | {"pipeline_tag": "text-classification"})
    added = mine(history)
    assert (added.new, added.rejected) == (2, {})
    found = {(r.candidate, r.dataset): (r.value, r.settings) for r in history.results()}
    assert found == {
        ("hub:google/vit", "hub:oxford_flowers102"): (0.95, {"fine_tuned": "a/flowers", "split": "test"}),
        ("hub:microsoft/resnet-50", "hub:food101"): (0.885, {"fine_tuned": "b/food"}),
    }


def test_reports_that_cannot_be_believed_are_rejected_with_a_count(hub: Hub, history: History) -> None:
    for number in range(12):
        publish(hub, f"good/{number}", card("food101", 0.80 + 0.01 * number, base=f"base/{number}"))
    publish(hub, "bad/base", card("food101", 0.9, base=None))
    publish(hub, "bad/nameless", card("imagefolder", 0.9))
    publish(hub, "bad/much", card("food101", 930))
    publish(hub, "bad/nothing", card("food101", 0.0))
    publish(hub, "bad/words", card("food101", "very good"))
    publish(hub, "bad/huge", card("food101", 10**400))
    publish(hub, "bad/surrogate", card("food\ud800", 0.9))
    publish(hub, "bad/surrogate-base", card("food101", 0.85, base="google/\ud800"))
    publish(hub, "bad/tag", card("food101", 0.85, base=None) | {"tags": [5, None]})
    publish(hub, "bad/far", card("food101", 0.02, base="base/far"))
    publish(hub, "bad/other", card("food101", 0.5, metric="f1"))
    publish(hub, "bad/card", {"model-index": [{"results": "none"}], "pipeline_tag": "image-classification"})
    added = mine(history)
    assert added.new == 12
    assert added.rejected == {
        "no base model": 2,
        "dataset without a name": 2,
        "accuracy outside 0 to 100 per cent": 2,
        "accuracy is no number": 2,
        "a name holds half a surrogate pair": 1,
        "far from what others report": 1,
    }


def test_the_hub_is_read_page_by_page_once_and_then_only_what_is_new(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(model_cards, "_PAGE", 4)
    for number in range(10):
        publish(hub, f"some/{number}", card("food101", 0.5, base=f"base/{number}"), day=number + 1)
    assert mine(history, limit=3, pause=0).new == 3  # a run that ends early
    assert mine(history, pause=0).new == 7
    publish(hub, "some/new", card("food101", 0.6, base="base/new"), day=20)
    again = mine(history, pause=0)
    assert (again.new, again.known) == (1, 0)  # stops where the last pass began


def test_a_hub_that_fails_on_the_way_loses_nothing(hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(model_cards, "_PAGE", 2)

    class Failing:
        def list_models(self, **asked: Any) -> Any:

            yield from list(HfApi().list_models(**asked))[:4]
            raise ConnectionError("the line is dead")

    for number in range(6):
        publish(hub, f"some/{number}", card("food101", 0.5, base=f"base/{number}"), day=number + 1)
    with pytest.raises(ms.errors.HistoryError, match="the line is dead"):
        mine(history, pause=0, api=Failing())
    assert len(history.results()) == 4
    assert mine(history, pause=0).new == 2


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[" * 100_000, b"null", b"[1, 2]", b'["a"]'])
def test_an_answer_that_is_none_is_one_error(hub: Hub, history: History, body: bytes) -> None:
    hub.misbehave("GET /api/models", rewrite=lambda _: body)
    with pytest.raises(ms.errors.HistoryError, match=r"the Hub could not be read to the end: .*run the command again"):
        mine(history, pause=0)


def test_a_silent_hub_is_not_waited_for_without_end(
    hub: Hub, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cards, "PAGE_SECONDS", 1.0)
    hub.misbehave("GET /api/models", silent=60)
    with pytest.raises(ms.errors.HistoryError, match="there is no answer after 1 s"):
        mine(history, pause=0)
