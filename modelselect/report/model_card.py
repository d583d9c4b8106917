"""The leaderboard as a section of a model card, in Markdown."""

from __future__ import annotations

from modelselect.ranking.cells import headings, text_rows
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.text import markdown_table
from modelselect.report.account import citations_of
from modelselect.report.answer import answer_text
from modelselect.report.names import ranked_by
from modelselect.utils.text import escaped, listed

CARD_ROWS = 5
"""Number of candidates in the section of a model card."""

SUMMARY_COLUMNS = ("rank", "candidate", "score", "probability_best", "verified_accuracy", "parameters")


def model_card(board: Ranking) -> str:
    """See `Leaderboard.model_card`."""
    best = [escaped(sentence) for sentence in answer_text(board)]
    cited = {name: text for name, text in citations_of(board).items() if name in ranked_by(board)}
    sections = ["## How the pre-trained model was chosen", " ".join(best)]
    if board.ranked:
        sections.append(summary(board, CARD_ROWS))
    sections.append(
        "Candidates were ranked by modelselect without fine-tuning them, "
        f"by {listed([escaped(name) for name in ranked_by(board)] or ['nothing'], 5)}."
    )
    if any(cited.values()):
        sections.append("\n".join(f"- {escaped(name)}: {escaped(text)}" for name, text in cited.items() if text))
    return "\n\n".join(sections) + "\n"


def summary(board: Ranking, most: int) -> str:
    """A Markdown table of the first ranked rows with their main columns, and the number of the other rows."""
    columns, rows = text_rows(board)
    kept = [i for i, column in enumerate(columns) if column in SUMMARY_COLUMNS]
    shown = [[row[i] for i in kept] for row in rows[: len(board.ranked)][:most]]
    table = markdown_table(headings(board, [columns[i] for i in kept]), shown).rstrip()
    more = len(board.rows) - len(shown)
    return table + (f"\n\nand {more} more." if more else "")
