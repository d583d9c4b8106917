"""The model card states the choice and its sources."""

from __future__ import annotations

from tests.report.material import evil_board


def test_the_model_card_tells_the_choice_and_cites_the_methods() -> None:
    card = evil_board().model_card()
    assert "Best: model-00, 90% (±2) on held-out rows" in card
    assert "verified accuracy (chance 25%)" in card
    assert "verified accuracy (chance 25%)" in evil_board().to_markdown()
    assert "You et al., 2021" in card
    assert "and 8 more" in card
    assert "<script" not in card
    assert "private.png" not in card  # names of files stay in the board
