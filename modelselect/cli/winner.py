"""Where the command `select` keeps the fine-tuned winner: a folder, a repository on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelselect.leaderboard.leaderboard import Leaderboard
    from modelselect.report.answer import Kept

UNDER_A_BUDGET = 3
"""Number of candidates to fine-tune, at most, where a budget decides how many can be."""


@dataclass
class Destination:
    """What the options `--save`, `--push` and `--public` ask for.

    Attributes:
        folder: to save the winner in, if any.
        repository: on the Hub to push the winner to, if any.
        public: whether a new repository is public.
        trust_remote_code: whether the winner may run the code that it brings.
        is_saved: whether the winner is in the folder.
        is_pushed: whether the winner is in the repository.
    """

    folder: Path | None
    repository: str | None
    public: bool
    trust_remote_code: bool
    is_saved: bool = False
    is_pushed: bool = False

    @property
    def saved(self) -> str | None:
        """The folder of the winner, if the winner is in it."""
        return str(self.folder) if self.is_saved else None

    @property
    def kept(self) -> Kept:
        """Where the winner is by now."""
        from modelselect.report.answer import Kept

        return Kept(winner=self.saved, repository=self.repository if self.is_pushed else None)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raises what `keep` would raise of folder, repository and token: before the work, not after it."""
        from modelselect import hub
        from modelselect.cli.terminal import note
        from modelselect.errors import InvalidInputError
        from modelselect.verification import export

        if self.public and self.repository is None:
            raise InvalidInputError("--public applies to --push; add --push OWNER/NAME, or leave out --public")
        if self.folder is not None and export.check_place(self.folder):
            note(
                f"{self.folder} holds a saved model. It stays if it is the winner of this run; else this run ends with "
                "an error once its results are in the store.",
                settings,
            )
        if self.repository is not None:
            hub.Repository(self.repository, "model").check_may_write()

    def settings(self, given: dict[str, Any]) -> dict[str, Any]:
        """The keywords of `select()`, with the number of candidates to fine-tune if the command line has none."""
        if given.get("top_k") or (self.folder is None and self.repository is None):
            return given
        return {**given, "top_k": UNDER_A_BUDGET if "budget" in given else 1}

    def keep(self, board: Leaderboard) -> Iterator[str]:
        """Saves and pushes the winner, and says where it is: a line for each.

        Raises:
            CandidateError: no candidate could be fine-tuned.
        """
        from modelselect.errors import CandidateError

        if self.folder is None and self.repository is None:
            return
        best = board.best
        if best.fine_tuned is None:
            raise CandidateError(f"the winner is not saved: {_why_not(board)}")
        if self.folder is not None:
            best.save(self.folder, trust_remote_code=self.trust_remote_code)
            self.is_saved = True
            yield f"winner saved to {self.folder}"
        if self.repository is not None:
            address = best.push_to_hub(
                self.repository, private=not self.public, trust_remote_code=self.trust_remote_code
            )
            self.is_pushed = True
            yield f"winner pushed: {address}"


def _why_not(board: Leaderboard) -> str:
    """Why no candidate was fine-tuned."""
    failed = [row for row in board.ranked if "verify" in row.failures]
    if failed:
        return f"fine-tuning {failed[0].candidate} failed ({failed[0].failures['verify'].reason})"
    if board.provenance.get("budget") is not None:
        return (
            "the budget left nothing for fine-tuning. Give a larger --budget: what is computed already is not repeated"
        )
    return "no candidate was fine-tuned"
