"""The head of a report: the model to take, one number, a verdict, one sentence, and four facts."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from modelselect.candidates.candidate import Candidate, license_of
from modelselect.ranking.blocks import UNKNOWN
from modelselect.ranking.expectation import SURE
from modelselect.ranking.notes import remarks_of
from modelselect.report.answer import answer_text, may_be_chance, smaller_and_as_good
from modelselect.report.costs import cost_of
from modelselect.report.subject import Subject
from modelselect.utils.text import in_bytes, listed, short_chance, short_number

CLEAR, PROBABLE, TOSS_UP, AT_CHANCE, NOT_VERIFIED, ONLY, NOTHING = (
    "clear winner",
    "probable winner",
    "toss-up",
    "at chance",
    "not verified",
    "the only candidate",
    "nothing ranked",
)

_TONES = {CLEAR: "good", PROBABLE: "good", TOSS_UP: "warn", AT_CHANCE: "bad", NOTHING: "bad"}


@dataclass(frozen=True)
class Badge:
    """A word of the verdict, and a class of the style sheet."""

    text: str
    tone: str


@dataclass(frozen=True)
class Tile:
    """One fact about the winner: a value and a note, which says how to get the value where it is not known."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Decision:
    """The answer in one look.

    Attributes:
        name: the model to take.
        link: the address of its page; None for none.
        number: the large number, and what it is.
        badges: the verdict.
        sentences: the answer; the first sentence first. Then what the reader must know of the dataset, and of the
            candidates, if they were chosen for the user.
        tiles: accuracy, size, latency and licence.
    """

    name: str
    link: str | None
    number: tuple[str, str]
    badges: list[Badge]
    sentences: list[str]
    tiles: list[Tile]


def decision(subject: Subject) -> Decision:
    """The head of the report."""
    board = subject.board
    remarks = [f"The dataset: {remark}" for remark in remarks_of(board, ["dataset"])]
    remarks += remarks_of(board, ["choice", "fine_tuning"])
    smaller = smaller_and_as_good(board)
    sentences = [*answer_text(board), *([] if smaller is None else [smaller]), *remarks]
    badges = [Badge(text, _TONES.get(kind, "soft")) for kind, text in verdict(subject)]
    if not board.ranked:
        return Decision("No model", None, (UNKNOWN, "nothing could be ranked"), badges, sentences, [])
    best = board.best
    return Decision(subject.called[0], page_of(best.candidate), _number(subject), badges, sentences, tiles(subject))


def verdict(subject: Subject) -> list[tuple[str, str]]:
    """The kinds and the texts of the verdict: how clear it is, and whether it was verified."""
    board = subject.board
    if not board.ranked:
        return [(NOTHING, NOTHING)]
    verified = board.best.verified_accuracy is not None
    unverified = [] if verified else [(NOT_VERIFIED, NOT_VERIFIED)]
    if may_be_chance(board):
        return [(AT_CHANCE, AT_CHANCE), *unverified]
    if len(board.ranked) == 1:
        return [(ONLY, ONLY), *unverified]
    if rivals := [subject.called[board.rows.index(row)] for row in board.rivals]:
        return [(TOSS_UP, f"toss-up with {listed(rivals, 2)}"), *unverified]
    equals = [subject.called[i] for i, row in enumerate(board.rows) if row.rank == 1][1:]
    if equals:
        return [(TOSS_UP, f"toss-up with {listed(equals, 2)}"), *unverified]
    if board.best.expectation is None or board.confidence is None:
        return unverified
    kind = CLEAR if board.confidence >= SURE else PROBABLE
    return [(kind, kind), *unverified]


def _number(subject: Subject) -> tuple[str, str]:
    best, confidence = subject.board.best, subject.board.confidence
    if best.verified_accuracy is not None:
        return subject.board.measure.text(best.verified_accuracy), f"{subject.board.metric} on held-out rows"
    if confidence is not None and best.expectation is not None:
        return short_chance(confidence), "probability of being the best"
    return UNKNOWN, "accuracy not measured"


def tiles(subject: Subject) -> list[Tile]:
    """Accuracy, size, latency and licence of the winner, each with a note."""
    best = subject.board.best
    measure, chance = subject.board.measure, subject.board.chance
    guessing = "" if chance is None else f"guessing reaches {measure.text(chance, 0)}"
    if best.verified_accuracy is None:
        accuracy = Tile(measure.heading, UNKNOWN, "not measured: fine-tune with top_k= (--top-k)")
    else:
        low, high = best.verified_interval or (None, None)
        interval = "" if low is None or high is None else f"95% interval {measure.text(low)} to {measure.text(high)}"
        notes = "; ".join(note for note in (interval, guessing) if note)
        accuracy = Tile(measure.heading, measure.text(best.verified_accuracy), notes)
    download = cost_of(best, "download_bytes")
    size = Tile(
        "Size",
        UNKNOWN if best.parameters is None else short_number(best.parameters),
        "the zoo does not know it"
        if best.parameters is None
        else "parameters" + ("" if download is None else f", {in_bytes(download)} to download"),
    )
    latency = Tile(
        "Latency",
        UNKNOWN if best.latency_ms is None else f"{best.latency_ms:.3g} ms",
        "measure it: costs=True (--costs)" if best.latency_ms is None else "for one row, on the device of this run",
    )
    licence = best.license or license_of(best.candidate)
    unknown = "the zoo does not know it" + ("; see the model's page" if page_of(best.candidate) else "")
    return [accuracy, size, latency, Tile("Licence", licence or UNKNOWN, "" if licence else unknown)]


def page_of(candidate: Candidate) -> str | None:
    """The address of a candidate's page; None if it has none.

    >>> page_of(Candidate("hub", "microsoft/resnet-50"))
    'https://huggingface.co/microsoft/resnet-50'
    """
    known = candidate.metadata.get("url")
    if isinstance(known, str) and known.startswith("https://"):
        return known
    name = quote(candidate.name.split("?")[0])
    if candidate.zoo in ("hub", "timm"):
        return f"https://huggingface.co/{name if candidate.zoo == 'hub' else f'timm/{name}'}"
    return None
