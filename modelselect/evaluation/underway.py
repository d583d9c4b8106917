"""Which estimator is at work on a candidate: what a process that has ended leaves of it says whose code ended it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.estimators.estimator import Estimator
from modelselect.executor import WORKER_DIED


@dataclass(frozen=True)
class Underway:
    """Notes in a folder, one for each candidate that an estimator scores at present.

    Attributes:
        folder: where the notes are.
        ended: why an estimator has no score of a candidate, by the candidate's id and the estimator's name: each has
            ended a process.
    """

    folder: Path
    ended: dict[str, dict[str, Failure]] = field(default_factory=dict)

    @contextlib.contextmanager
    def at(self, candidate: Candidate, estimator: Estimator) -> Iterator[None]:
        """Leaves a note if the process ends meanwhile. On a machine without the folder, none."""
        note = self._note(candidate)
        with contextlib.suppress(OSError):
            note.write_text(estimator.name, encoding="utf-8")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                note.unlink()

    def blames(self, candidate: Candidate, failure: Failure) -> bool:
        """Whether an estimator was at work when a process ended, and is from now on left out for this candidate."""
        if failure.error != WORKER_DIED:
            return False
        try:
            name = self._note(candidate).read_text(encoding="utf-8")
            self._note(candidate).unlink()
        except OSError:
            return False
        ended = self.ended.setdefault(candidate.id, {})
        if name in ended:
            return False
        ended[name] = Failure(Stage.SCORE, f"{failure.reason} (while {name} scored)", WORKER_DIED)
        return True

    def _note(self, candidate: Candidate) -> Path:
        return self.folder / f"{hashlib.sha256(candidate.id.encode()).hexdigest()[:32]}.scored"
