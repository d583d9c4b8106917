"""What a published experiment needs is known without a download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelselect.errors import SearchError
from modelselect.host.host import get_host
from modelselect.reproducing.needs import CANNOT, DOWNLOADS, HERE, needs_of, proxies_away, state_of

DOCUMENTS = ("Z. Wang", "M. Chadal", "Anonymous", "F. Gutierrez", "J. Bai")


def test_every_experiment_of_the_five_documents_has_a_state_and_a_reason() -> None:
    states = {}
    for protocol in get_host().protocols.values():
        needs = needs_of(protocol)
        for experiment in protocol.experiments:
            state, reason = state_of(protocol, experiment, needs)
            assert state in (HERE, DOWNLOADS, CANNOT)
            assert reason or state == HERE, (protocol.name, experiment)
            states[protocol.name, experiment.where, experiment.shows] = state
    assert {p.document.split(",")[0].split(":")[0] for p in get_host().protocols.values()} == set(DOCUMENTS)
    assert len(states) == sum(len(p.experiments) for p in get_host().protocols.values())
    assert states["fennec-architectures", "Figures 8 and 11", "vectors of the architectures"] == HERE


def test_data_of_the_user_count_as_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = get_host().protocol("ncti-few-rows")
    assert needs_of(protocol).datasets_away == ("sun397",)
    (tmp_path / "sun397").mkdir()
    monkeypatch.setenv("MODELSELECT_DATA", str(tmp_path))
    assert needs_of(protocol).datasets == ("sun397",)


def test_what_is_in_no_zoo_is_named_with_its_place() -> None:
    needs = needs_of(get_host().protocol("itm"))
    assert "github.com/microsoft/SimMIM" in needs.absent["simmim-vit-b16"]
    assert any("SimMIM" in sentence for sentence in needs.sentences())
    terms = needs_of(get_host().protocol("persistence")).terms
    assert terms["source"] == "the terms on its page have to be accepted"


def test_what_no_command_downloads_is_said() -> None:
    protocol = get_host().protocol("fennec-parc")
    needs = needs_of(protocol)
    assert len(needs.here) + len(needs.away) == 32
    assert any("By hand: the weights of 28 networks" in sentence for sentence in needs.sentences())
    assert state_of(protocol, protocol.experiments[0], needs)[1].endswith("some by hand")


def test_proxies_count_as_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = get_host().protocol("fennec-proxies")
    dinov2 = "timm:vit_giant_patch14_dinov2.lvd142m"

    def unreachable(pattern: str) -> None:
        raise SearchError(f"{pattern} could not be looked up")

    monkeypatch.setattr(get_host().zoo("hub"), "search", unreachable)
    away = proxies_away(protocol)
    assert list(away) == [method.proxy for method in protocol.methods]
    assert away["hub:openai/clip-vit-large-patch14"] == 0
    assert away[dinov2] > 10**8
    needs = needs_of(protocol)
    assert dinov2 not in {candidate.unversioned_id for candidate in needs.away}
    fewer = needs_of(replace(protocol, methods=protocol.methods[:1]))
    assert needs.download_bytes == fewer.download_bytes + sum(away.values())
    assert any(dinov2 in sentence for sentence in needs.sentences())
    assert "3 proxies" in state_of(protocol, protocol.experiments[0], needs)[1]
    assert not proxies_away(replace(protocol, methods=(replace(protocol.methods[0], estimator="knn"),)))
