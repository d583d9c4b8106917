"""The graph of a candidate, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect.architectures.graph_json import to_json
from modelselect.architectures.trace import input_of, trace, trace_skeleton, trace_somewhere
from modelselect.candidates.candidate import Candidate
from modelselect.errors import CandidateError, Failure, ModelSelectError, Stage, contained
from modelselect.host.host import get_host
from modelselect.host.lookup import zoo_version
from modelselect.store.store import Store
from modelselect.utils.versions import numeric_versions

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class TracingTask:
    """Traces one architecture, or finds its graph in the store. Called by executors."""

    cache_dir: Path
    trust_remote_code: bool = False

    def __call__(self, candidate: Candidate) -> str:
        store = Store(self.cache_dir)
        key = store.key(
            "graph",
            candidate=candidate.id,
            zoo=zoo_version(candidate),
            versions=numeric_versions(),
        )
        entry = store.get(key)
        if entry is not None:
            return str(entry.metadata["graph"])
        graph = to_json(trace_candidate(candidate, trust_remote_code=self.trust_remote_code))
        store.put(key, {}, {"graph": graph})
        return graph


def trace_candidate(candidate: Candidate, *, trust_remote_code: bool = False) -> networkx.DiGraph[int]:
    """The graph of a candidate, built without weights if its zoo can do this, and loaded otherwise.

    Raises:
        CandidateError: the candidate cannot be built or traced; the message says which candidate, and why.

    >>> import modelselect as ms
    >>> trace_candidate(ms.search("embedded:*")[0]).nodes[0]
    {'operation': 'Convolution'}
    """
    zoo = get_host().zoo(candidate.zoo)
    try:
        with contained():
            module = zoo.skeleton(candidate, trust_remote_code=trust_remote_code)
            if module is None:
                module = zoo.load(candidate, trust_remote_code=trust_remote_code).module
                return trace_somewhere(module, **input_of(candidate))
            try:
                return trace_skeleton(module, **input_of(candidate))
            except CandidateError:
                module = zoo.skeleton(candidate, trust_remote_code=trust_remote_code)
                return trace(module, **input_of(candidate), device="cpu")
    except ModelSelectError as error:
        error.add_note(f"while tracing {candidate.id}")
        raise
    except Exception as error:  # a zoo may raise anything
        reason = Failure.from_exception(Stage.LOAD, error).reason
        raise CandidateError(f"the architecture of {candidate.id} cannot be built ({reason})") from error
