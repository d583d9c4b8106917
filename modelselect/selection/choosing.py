"""Which candidates a run takes, and what they cost, before anything is downloaded or loaded.

Candidates that the caller names are all taken; where they exceed the bounds, the caller is asked. Where the caller
names none, or gives a limit, the most promising ones within the bounds are taken.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.expression import LAYERS
from modelselect.candidates.zoo import BYTES_PER_PARAMETER
from modelselect.errors import InvalidInputError
from modelselect.estimators.posterior import Pool, Weigher, posterior
from modelselect.evaluation.request import Request
from modelselect.evaluation.task import ScoringTask
from modelselect.evaluation.timing import decode_seconds, macs_per_second
from modelselect.evidence.linear_algebra import Vector
from modelselect.extraction.devices import free_memory
from modelselect.extraction.inputs import InputCache
from modelselect.host.defaults import DEFAULT_ESTIMATORS
from modelselect.host.host import get_host
from modelselect.selection.affordable import fine_tuning_seconds
from modelselect.selection.bounded import time_left
from modelselect.selection.rounds import planned_rounds
from modelselect.store.store import Store
from modelselect.utils.progress import Progress
from modelselect.utils.text import duration, in_bytes, printable
from modelselect.verification.footprint import states_bytes

PLACES = 8
"""Candidates that share the bounds where the caller gives no limit. One that takes more than its share would leave few
others to choose from."""

REPEATED = 0.3
"""What each further candidate of a family, or of an architecture, loses, in deviations of the pool: so that others have
a chance."""

PATCH = 16
TOKENS = 128
"""Each parameter counts as used once for each patch of 16 x 16 pixels, as in a ViT-B/16, or for each of 128 tokens. For
most convolutional networks this gives up to four times too many multiply-accumulates, and rarely too few."""

INFERENCE_BYTES = 2 * BYTES_PER_PARAMETER
"""Memory for each parameter: its value and as much for a batch. Fine-tuning takes as much for a batch, too."""

SLOW_DEVICE = 1e9
"""Multiply-accumulates a second that any device manages. What takes little time at this speed needs no measurement."""


@dataclass(frozen=True)
class Choice:
    """What is to be said of the candidates that a run takes.

    Attributes:
        statement: what was chosen and what it costs, in sentences; empty where the caller named all candidates.
        excess: by how much the candidates that the caller named exceed the bounds; empty if they do not.
        record: the choice as plain data, for the provenance; None where the caller named all candidates.
    """

    statement: tuple[str, ...] = ()
    excess: str = ""
    record: Mapping[str, Any] | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a plan says of the choice."""
        return (*self.statement, *((f"{self.excess} {_CHEAPER}.",) if self.excess else ()))


@dataclass(frozen=True)
class _Costs:
    """What some candidates take before they are ranked, (n,) each.

    Attributes:
        candidates: in this order.
        downloads: bytes; NaN if unknown.
        macs: multiply-accumulates of one row; NaN if unknown.
        passes: rows that are passed forward: none if the store has the result.
        speed: multiply-accumulates a second of the device; infinite if no pass takes long.
        decoding: seconds to decode the probe once.
        share: of the forward passes, what rounds make of them: 1 without rounds.
    """

    candidates: Sequence[Candidate]
    downloads: Vector
    macs: Vector
    passes: Vector
    speed: float
    decoding: float
    share: float = 1.0

    @property
    def seconds(self) -> Vector:
        """(n,) of the forward passes, with rounds in the mean over the candidates; 0 where they are unknown."""
        seconds: Vector = self.share * np.nan_to_num(self.macs) * self.passes / self.speed
        return seconds

    def if_taken(self, request: Request, count: int) -> _Costs:
        """The costs if this number of candidates is ranked: of rounds, in which only the better half goes on."""
        if not request.settings.rounds or not count:
            return self
        rounds = planned_rounds(request, [1.0] * count)
        return replace(self, share=sum(each.passes for each in rounds) / (count * len(request.probe)))

    def of(self, taken: Sequence[Candidate]) -> _Costs:
        """The costs of some of the candidates."""
        ids = {candidate.id for candidate in taken}
        there = [index for index, candidate in enumerate(self.candidates) if candidate.id in ids]
        return replace(
            self,
            candidates=[self.candidates[index] for index in there],
            downloads=self.downloads[there],
            macs=self.macs[there],
            passes=self.passes[there],
        )

    @property
    def total_seconds(self) -> float:
        """Of decoding once, and of all forward passes."""
        return float(self.seconds.sum()) + (self.decoding if self.passes.any() else 0.0)

    @property
    def total_text(self) -> str:
        """`1.2 GB to download and about 4 min`."""
        known, unknown = float(np.nansum(self.downloads)), int(np.isnan(self.downloads).sum())
        size = in_bytes(known) if known else "nothing"
        more = f" (and {unknown} of unknown size)" if unknown else ""
        time = _about(self.total_seconds) if self.passes.any() else "nothing"
        return f"{size} to download{more}, {time} to compute"


def chosen(request: Request) -> tuple[Request, Choice]:
    """The request with the candidates that the run takes, and what is to be said of them.

    The choice of an earlier run with the same arguments is kept: what that run has downloaded costs nothing any more,
    and the next run would otherwise take more and larger candidates.

    Raises:
        InvalidInputError: no candidate is within the bounds.
    """
    if request.offer is None and request.settings.limit is None:
        return request, Choice(excess=_excess(request))
    usable, unfit = _fitting(request)
    costs = _costs(request, usable, measured=True)
    taken = _decided(request, costs)
    unsearched = [candidate for candidate in request.pool if candidate.id in request.unsearched]
    return replace(request, pool=[*taken, *unsearched]), _described(request, taken, costs, unfit)


def agree(request: Request, choice: Choice) -> None:
    """Says what was chosen, and asks where named candidates exceed the bounds: before anything is spent.

    Raises:
        InvalidInputError: the answer is no.
    """
    settings = request.settings
    progress = Progress(settings.progress)
    for line in choice.statement:
        progress.say(printable(line))
    if choice.excess and settings.confirm is None:
        warnings.warn(f"{choice.excess} {_CHEAPER}; {_LISTED}", stacklevel=3)
    elif choice.excess and settings.confirm is not None and not settings.confirm(f"{choice.excess} Go on?"):
        raise InvalidInputError(f"{choice.excess} Nothing was downloaded. To go on, add --yes. {_CHEAPER}; {_LISTED}")


_CHEAPER = (
    f"limit={PLACES} (--limit {PLACES}) takes the most promising within the bounds; max_download= and max_time= "
    "(--max-download, --max-time) set the bounds"
)
_LISTED = "plan() (--dry-run) lists the costs."


_OWN_CODE = (
    "with code of their own, which could do anything on this computer (to rank these too, if you trust the authors: "
    "trust_remote_code=True, --trust-remote-code)"
)


def promises(candidates: Sequence[Candidate]) -> Vector:
    """(n,) how good the candidates are expected to be before any is downloaded, in deviations of this pool.

    The default estimator weighs what it knows of them: published results, accuracy on ImageNet, size. If it weighs
    nothing, all candidates are equal.
    """
    estimator = get_host().registered("estimators", DEFAULT_ESTIMATORS[0]).get(DEFAULT_ESTIMATORS[0])
    if not isinstance(estimator, Weigher):
        return np.zeros(len(candidates))
    known = Pool(tuple(each.unversioned_id for each in candidates), tuple(each.metadata for each in candidates))
    return posterior(estimator.pieces([{}] * len(candidates), known), len(candidates)).mean


def guessed_macs(candidate: Candidate) -> float:
    """Multiply-accumulates of one row, from the metadata; NaN if these do not say how large the network is.

    >>> guessed_macs(Candidate("timm", "vit", metadata={"parameters": 86_000_000, "input_size": (3, 224, 224)}))
    16856000000.0
    """
    known = candidate.metadata
    if isinstance(macs := known.get("macs"), int):
        return float(macs)
    if not isinstance(parameters := known.get("parameters"), int):
        return math.nan
    size = known.get("input_size")
    uses: float = TOKENS
    if known.get("modality") != "text":
        sides = size[-2:] if isinstance(size, tuple) and len(size) == 3 else (224, 224)
        uses = max(math.prod(sides) / PATCH**2, 1.0)
    return parameters * uses


def _fitting(request: Request) -> tuple[list[Candidate], dict[str, list[str]]]:
    """The candidates that may be loaded, pass the limits and fit into the memory; the ids of the others, by reason."""
    limits, free = request.limits, free_memory(request.device)
    usable: list[Candidate] = []
    unfit: dict[str, list[str]] = {}
    for candidate in request.pool:
        parameters = candidate.metadata.get("parameters")
        if candidate.id in request.unsearched:
            continue
        if candidate.metadata.get("remote_code") and not request.settings.trust_remote_code:
            unfit.setdefault(_OWN_CODE, []).append(candidate.id)
        elif limits.exceeded_before_loading(candidate, parameters) is not None or _trains_in_too_much(
            request, candidate
        ):
            unfit.setdefault(f"not within the limits ({limits})", []).append(candidate.id)
        elif isinstance(parameters, int) and free is not None and _bytes_taken(request, parameters) > free:
            unfit.setdefault(f"too large for the memory of {request.device}", []).append(candidate.id)
        else:
            usable.append(candidate)
    if not usable and not request.unsearched:
        none = "no candidate" if len(request.pool) == 1 else f"none of {len(request.pool)} candidates"
        raise InvalidInputError(f"{none} can be taken: {_reasons(unfit)}.")
    return usable, unfit


def _trains_in_too_much(request: Request, candidate: Candidate) -> bool:
    """Whether weights, gradients and moments alone exceed the limit: not of a layer, which is only a part of them."""
    settings, parameters = request.settings, candidate.metadata.get("parameters")
    if candidate.zoo == LAYERS or not isinstance(parameters, int):
        return False
    least = states_bytes(parameters, settings.recipe, settings.verify, request.device)
    return request.limits.training_memory_exceeded("training", least, or_more=True) is not None


def _bytes_taken(request: Request, parameters: int) -> int:
    """Memory that scoring and fine-tuning take, at least."""
    settings = request.settings
    if not settings.fine_tunes:
        return INFERENCE_BYTES * parameters
    batch = BYTES_PER_PARAMETER * parameters
    return states_bytes(parameters, settings.recipe, settings.verify, request.device) + batch


def _costs(request: Request, candidates: Sequence[Candidate], *, measured: bool) -> _Costs:
    """What the candidates take; the device is measured only if that can matter, or is asked for."""
    task = ScoringTask(request.context(InputCache(None)))
    passes = np.array([task.preview(each, trace=False).passes for each in candidates], dtype=np.float64)
    loaded = (passes > 0) | request.settings.fine_tunes
    sizes = [request.bytes_to_download(each) if needed else 0 for each, needed in zip(candidates, loaded, strict=True)]
    macs = np.array([guessed_macs(each) for each in candidates])
    work = float(np.nansum(macs * passes))
    quick = not measured and work / SLOW_DEVICE <= request.settings.bounds.seconds
    return _Costs(
        candidates,
        np.array([math.nan if size is None else size for size in sizes], dtype=np.float64),
        macs,
        passes,
        math.inf if quick or not work else macs_per_second(request.device),
        0.0 if quick or not work else decode_seconds(request.probe),
    )


def _excess(request: Request) -> str:
    """By how much the candidates that the caller named exceed the bounds, in a sentence; empty if they do not.

    Where nothing is downloaded, nothing is asked: a run can be stopped at any time, and the next one continues.
    """
    settings, bounds = request.settings, request.settings.bounds
    pool = [
        each
        for each in request.pool
        if each.id not in request.unsearched
        and request.limits.exceeded_before_loading(each, each.metadata.get("parameters")) is None
    ]
    if all(request.bytes_to_download(each) == 0 for each in pool):
        return ""
    kept = 1.0 if settings.recall is None else min(settings.recall / len(pool), 1.0)
    costs = _costs(request, pool, measured=False).if_taken(request, max(round(kept * len(pool)), 1))
    download, seconds = kept * float(np.nansum(costs.downloads)), kept * costs.total_seconds
    too_long = settings.budget is None and seconds > bounds.seconds
    if not download or (download <= bounds.download and not too_long):
        return ""
    time = f" and about {duration(seconds)} to compute on {request.device}" if costs.speed < math.inf else ""
    count = round(kept * len(pool))
    many = "1 candidate" if count == 1 else f"{count} candidates"
    return f"{many}: {in_bytes(download)} to download{time}, but the bounds are {bounds}."


def _decided(request: Request, costs: _Costs) -> list[Candidate]:
    """The candidates to take, in the order given; as an earlier run with the same arguments decided.

    A run that only ranked decides for a later one that fine-tunes, too: so that one may rank first, and verify later.
    """
    settings, bounds = request.settings, request.settings.bounds
    store = Store(request.store.path)

    def key(fine_tunes: bool) -> str:
        return Store.key(
            "choice",
            candidates=sorted(candidate.id for candidate in costs.candidates),
            fingerprint=request.probe.fingerprint,
            limit=settings.limit,
            bounds=str(bounds),
            device=request.device,
            fine_tunes=fine_tunes,
            **({"rounds": True} if settings.rounds else {}),  # which make room for more candidates
        )

    for fine_tunes in (settings.fine_tunes, not settings.fine_tunes):
        if (entry := store.get(key(fine_tunes))) is not None:
            ids = set(entry.metadata["taken"])
            break
    else:
        ids = {costs.candidates[index].id for index in _within_bounds(request, costs)}
        store.put(key(settings.fine_tunes), {}, {"taken": sorted(ids)})
    return [candidate for candidate in costs.candidates if candidate.id in ids]


def _within_bounds(request: Request, costs: _Costs) -> list[int]:
    """The places of the most promising candidates that fit the bounds together.

    Rounds save more, the more candidates there are. So where fewer fit than were counted on, they are chosen again.
    """
    expected = min(request.settings.limit or PLACES, len(costs.candidates))
    while True:
        taken = _most_promising(request, costs.if_taken(request, expected))
        if not request.settings.rounds or len(taken) >= expected:
            return taken
        expected = len(taken)


def _most_promising(request: Request, costs: _Costs) -> list[int]:
    """The places of the candidates that fit the bounds with these costs.

    One after another is taken: of those that take no more than a fair share of what is left, the most promising. If
    there is none, fewer candidates share the rest.
    """
    bounds, limit = request.settings.bounds, request.settings.limit
    needs = np.stack([np.nan_to_num(costs.downloads), costs.seconds])
    left = np.array([bounds.download, max(bounds.seconds - costs.decoding, 0.0)])
    most = min(limit or len(costs.candidates), len(costs.candidates))
    if most == len(costs.candidates) and (needs.sum(axis=1) <= left).all():
        return list(range(most))
    values = promises(costs.candidates).copy()
    kinds = [
        np.array([str(each.metadata.get(name) or each.id) for each in costs.candidates])
        for name in ("family", "architecture")
    ]
    taken: list[int] = []
    places = limit or PLACES
    while len(taken) < most:
        share = left / max(places - len(taken), 1)
        allowed = np.asarray((needs <= share[:, None]).all(axis=0))
        allowed[taken] = False
        if allowed.any():
            best = int(np.argmax(np.where(allowed, values, -np.inf)))
            taken.append(best)
            left -= needs[:, best]
            for kind in kinds:
                values[kind == kind[best]] -= REPEATED
        elif places > len(taken) + 1:
            places -= 1
        else:
            break
    if not taken and costs.candidates:
        least = int(np.argmin(needs[0]))
        raise InvalidInputError(
            f"no candidate fits the bounds of {bounds}: {costs.candidates[least].unversioned_id}, the smallest, has "
            f"{in_bytes(needs[0, least])} to download and takes about {duration(float(needs[1, least]))}. Raise "
            "max_download= or max_time= (--max-download, --max-time), or show fewer rows with probe_size= "
            "(--probe-size)."
        )
    return taken


def _described(
    request: Request, taken: Sequence[Candidate], costs: _Costs, unfit: Mapping[str, Sequence[str]]
) -> Choice:
    settings, offer = request.settings, request.offer
    ids = {candidate.id for candidate in taken}
    spent = costs.of(taken).if_taken(request, len(taken))
    left_out = dict(unfit) if offer is None else {**offer.left_out, **unfit}
    rest, bounded = _rest(request, taken, costs)
    left_out.update(rest)
    offered = len(taken) + sum(map(len, left_out.values()))
    parts = {} if offer is None else {name: (len(ids & set(own)), len(own)) for name, own in offer.parts.items()}
    named = ", ".join(f"{count} of {name}" for name, (count, _) in parts.items() if count)
    what = "" if offer is None else f" from {offer.origin}" + (f" ({named})" if named else "")
    statement = [f"Candidates: {len(taken)} of {offered}{what}; {spent.total_text} on {request.device}."]
    if settings.budget is None and settings.fine_tunes:
        _, fine_tuning = fine_tuning_seconds(request, spent.macs[np.isfinite(spent.macs)].tolist(), spent.speed)
        if fine_tuning:
            most = time_left(settings, spent.total_seconds)
            less = ", with fewer epochs if more do not fit into max_time" if most < math.inf else ""
            time = _about(min(fine_tuning, most))
            statement.append(f"Fine-tuning {settings.top_k} of them takes {time} more{less}.")
    if left_out:
        raising = " max_download= and max_time= (--max-download, --max-time) set the bounds." if bounded else ""
        statement.append(f"Left out: {_reasons(left_out)}.{raising}")
    record = {
        "origin": None if offer is None else offer.origin,
        "limit": settings.limit,
        "taken": len(taken),
        "offered": offered,
        "download_bytes": int(np.nansum(spent.downloads)),
        "seconds": spent.total_seconds,
        "bounds": str(settings.bounds),
        "left_out": {reason: list(names) for reason, names in left_out.items()},
        "remarks": [printable(line) for line in (statement[0], *statement[-1:] * bool(left_out))],
    }
    return Choice(statement=tuple(statement), record=record)


def _rest(request: Request, taken: Sequence[Candidate], costs: _Costs) -> tuple[dict[str, list[str]], bool]:
    """The candidates that fit the device and were not taken, by the reason; and whether the bounds are one."""
    ids, settings = {candidate.id for candidate in taken}, request.settings
    most = settings.bounds.download, settings.bounds.seconds - costs.decoding
    needs = zip(costs.candidates, np.nan_to_num(costs.downloads), costs.seconds, strict=True)
    rest: dict[str, list[str]] = {}
    bounded = False
    for candidate, download, seconds in needs:
        if candidate.id in ids:
            continue
        too_large = download > most[0] or seconds > most[1]
        bounded = bounded or too_large or settings.limit != len(ids)
        if settings.limit != len(ids):
            reason = f"less promising, or too large for the bounds of {settings.bounds}"
        elif too_large:
            reason = f"too large for the bounds of {settings.bounds}"
        else:
            reason = f"less promising or more costly (limit={settings.limit}, --limit {settings.limit})"
        rest.setdefault(reason, []).append(candidate.id)
    return rest, bounded


def _about(seconds: float) -> str:
    """A time that is estimated: `about 4 min`."""
    return "less than 1 s" if seconds < 1 else f"about {duration(seconds)}"


def _reasons(left_out: Mapping[str, Sequence[str]]) -> str:
    """`24 less promising; 3 too large for the memory of cpu`."""
    counts = Counter({reason: len(names) for reason, names in left_out.items()})
    return "; ".join(f"{count} {reason}" for reason, count in counts.most_common())
