"""What a protocol needs, and what of it is here: candidates, datasets, bytes and hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modelselect.candidates.candidate import Candidate
from modelselect.errors import ModelSelectError
from modelselect.history.proxy import named_proxy
from modelselect.host.host import get_host
from modelselect.host.lookup import pools, search
from modelselect.host.questions import bytes_to_download
from modelselect.probe.named import PREFIX, find_dataset
from modelselect.protocols.protocol import Experiment, Method, Protocol
from modelselect.utils.text import counted, in_bytes, listed

State = Literal["runs here", "needs downloads", "cannot"]
HERE: State = "runs here"
DOWNLOADS: State = "needs downloads"
CANNOT: State = "cannot"

FEWEST_CANDIDATES = 2


@dataclass(frozen=True)
class Needs:
    """What a protocol needs.

    Attributes:
        here: candidates that are on this machine.
        away: candidates that have to be downloaded.
        absent: what belongs to the experiment and is in no zoo, and where it is.
        datasets: names of the datasets that are on this machine.
        datasets_away: names of those that have to be downloaded.
        proxies_away: proxies that have to be downloaded, and their bytes; 0 if unknown.
        unreadable: datasets that cannot be used, and why.
        download_bytes: of everything that has to be downloaded and whose size is known.
        hours: rough time of a whole run on one GPU.
        terms: what has to be done before a download, by dataset.
        by_hand: which of the weights and data no command downloads, and where they are.
    """

    here: tuple[Candidate, ...] = ()
    away: tuple[Candidate, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    datasets_away: tuple[str, ...] = ()
    proxies_away: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    download_bytes: int = 0
    hours: float = 0.0
    terms: Mapping[str, str] = field(default_factory=dict)
    by_hand: str = ""

    @property
    def can_run(self) -> bool:
        """Whether something can be run without a download."""
        return len(self.here) >= FEWEST_CANDIDATES and bool(self.datasets)

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be downloaded."""
        return not (self.away or self.datasets_away or self.proxies_away)

    def sentences(self) -> list[str]:
        """What is needed, in words."""
        said = []
        if not self.is_complete:
            size = f" (about {in_bytes(self.download_bytes)})" if self.download_bytes else ""
            what = [counted(len(self.away), "candidate")] if self.away else []
            what += [f"the datasets {listed(self.datasets_away, 12)}"] if self.datasets_away else []
            what += [f"the proxies {listed(tuple(self.proxies_away), 12)}"] if self.proxies_away else []
            said.append(f"To download: {' and '.join(what)}{size}.")
            said += [f"By hand: {self.by_hand}."] if self.by_hand else []
        if self.absent:
            first, place = next(iter(self.absent.items()))
            said.append(f"In no zoo: {len(self.absent)}, such as {first} ({place}).")
        said += [f"Not readable: {name}: {why}." for name, why in self.unreadable.items()]
        said += [f"Before the download of {name}: {what}." for name, what in self.terms.items()]
        said.append(f"Time of a whole run: about {self.hours:g} h on one GPU.")
        return said


def proxy_of(protocol: Protocol, method: Method) -> str | None:
    """The proxy that a method reads, its own or the protocol's; None if that is the default one, or it reads none."""
    estimator = get_host().estimators.get(method.estimator)
    reads = estimator is not None and "proxy_features" in estimator.reads
    return (method.proxy or protocol.proxy) if reads else None


def proxies_away(protocol: Protocol) -> dict[str, int]:
    """The proxies of a protocol that have to be downloaded, and their bytes; 0 if unknown."""
    away = {}
    for given in dict.fromkeys(proxy_of(protocol, method) for method in protocol.methods):
        if given is None:
            continue
        try:
            proxy = named_proxy(given)
            needed = bytes_to_download(get_host().zoo(proxy.zoo), proxy)
        except ModelSelectError:  # for example without a network; a run with downloads says the reason
            needed = None
        if needed != 0:
            away[given] = needed or 0
    return away


def needs_of(protocol: Protocol) -> Needs:
    """What a protocol needs. No network is asked for candidates of known names; proxies of the Hub are looked up."""
    host = get_host()
    here: list[Candidate] = []
    away: list[Candidate] = []
    absent: dict[str, str] = {}
    by_expression = {f"pool:{pool.name}": pool for pool in pools()}
    size = 0
    for expression in protocol.candidates:
        if expression in by_expression:
            absent |= by_expression[expression].absent
        try:
            found = search(expression)
        except ModelSelectError as error:
            absent[expression] = str(error)
            continue
        for candidate in found:
            needed = bytes_to_download(host.zoo(candidate.zoo), candidate)
            (away if needed != 0 else here).append(candidate)
            size += needed or 0
    datasets: list[str] = []
    datasets_away: list[str] = []
    unreadable: dict[str, str] = {}
    terms: dict[str, str] = {}
    sources = {} if protocol.source is None else {"source": protocol.source}
    for name, given in {**protocol.datasets, **sources}.items():
        if not given.startswith(PREFIX):
            datasets.append(name)
            continue
        named = find_dataset(given)
        if named.is_here:
            datasets.append(name)
        elif named.obstacle:
            unreadable[name] = named.obstacle
        else:
            datasets_away.append(name)
            size += named.size_bytes
            if named.needs:
                terms[name] = named.needs
    proxies = proxies_away(protocol)
    counted = {candidate.unversioned_id for candidate in away}
    size += sum(needed for proxy, needed in proxies.items() if proxy not in counted)
    return Needs(
        tuple(here),
        tuple(away),
        absent,
        tuple(name for name in datasets if name != "source"),
        tuple(datasets_away),
        proxies,
        unreadable,
        size,
        protocol.hours,
        terms,
        protocol.by_hand,
    )


def state_of(protocol: Protocol, experiment: Experiment, needs: Needs) -> tuple[State, str]:
    """Whether an experiment can be run on this machine, and why not."""
    if experiment.obstacle:
        return CANNOT, experiment.obstacle
    if protocol.architectures is not None or not protocol.datasets:
        return HERE, "no weights and no data are needed"
    if protocol.training is not None and not protocol.training.pretrained:
        named = find_dataset(next(iter(protocol.datasets.values())))
        return (HERE, "") if named.is_here else (DOWNLOADS, f"{named.expression}, {in_bytes(named.size_bytes)}")
    if needs.is_complete:
        return HERE, ""
    proxies = f"{counted(len(needs.proxies_away), 'proxy', 'proxies')}, " if needs.proxies_away else ""
    lacking = f"{counted(len(needs.away), 'candidate')}, {counted(len(needs.datasets_away), 'dataset')}, {proxies}"
    lacking += f"about {in_bytes(needs.download_bytes)}"
    return DOWNLOADS, lacking + (", some by hand" if needs.by_hand else "")
