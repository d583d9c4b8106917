"""What estimators that go by the transfer history ask of it."""

from __future__ import annotations

from modelselect import Evidence
from modelselect.errors import NotApplicableError
from modelselect.history import HistoryView


def view_and_candidate(evidence: Evidence, estimator: str) -> tuple[HistoryView, str]:
    """The view of the history, and the candidate that it is about.

    Args:
        evidence: of the candidate.
        estimator: the name of the estimator that asks, for the message.

    Raises:
        NotApplicableError: there is no view, or it is about no candidate or one that it does not know.
    """
    view = evidence.history
    if not isinstance(view, HistoryView) or view.candidate is None:
        raise NotApplicableError(
            f"{estimator} needs to know which candidate is asked about: give history=History().view(proxy).about(pool, "
            "target).of_candidate(id), as select() does"
        )
    if view.candidate not in view.positions:
        raise NotApplicableError(f"{view.candidate} is neither in the history nor in the pool of the view")
    return view, view.candidate
