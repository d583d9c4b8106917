"""The contract between the host and its plugins: every hook that a plugin may implement.

A plugin is a module or an object under the entry-point group `modelselect`. It implements any of these hooks with
`@modelselect.hookimpl`. The examples below are run by the tests.

A hook that gets another name keeps its old specification for a release, with `warn_on_impl=DeprecationWarning(...)`:
pluggy warns the author of each plugin that uses it, and the host asks both. A renamed argument has `warn_on_impl_args`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from modelselect.architectures.encoder import Encoder
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.pools import Pool
from modelselect.candidates.zoo import Zoo
from modelselect.errors import Failure
from modelselect.estimators.estimator import Estimator
from modelselect.executor import Executor
from modelselect.extraction.extractor import Extractor
from modelselect.host.entry_points import PROJECT
from modelselect.protocols.protocol import Protocol
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.report_section import ReportSection
from modelselect.tasks.task import Task

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of that name."""

CONTRACT = 1
"""The version of what plugins and the host expect of each other. It grows when a plugin has to change.

A plugin may say which version it was written for: `modelselect_contract = 1` in the module, or on the object, that the
entry point names. Another version is a fault of the plugin, which is then not used.
"""

RESERVED_COMMANDS = (
    "benchmark",
    "demo",
    "doctor",
    "embed",
    "estimators",
    "features",
    "history",
    "new",
    "plugins",
    "pools",
    "predict",
    "report",
    "reproduce",
    "search",
    "select",
    "serve",
    "store",
    "tasks",
    "zoos",
)
"""Names of the shipped commands: a plugin's command cannot have one of these names."""


@hookspec
def modelselect_register_zoos() -> Sequence[Zoo]:
    """Zoos to search for candidates and to load them from.

    >>> import modelselect
    >>> class Shelf(modelselect.Zoo):
    ...     name = "shelf"
    ...     def search(self, pattern):
    ...         return [modelselect.Candidate("shelf", "tiny", metadata={"parameters": 1000})]
    ...     def load(self, candidate, *, trust_remote_code=False):
    ...         raise modelselect.errors.CandidateError("nothing is on this shelf yet")
    >>> @modelselect.hookimpl
    ... def modelselect_register_zoos():
    ...     return [Shelf()]
    >>> [candidate.id for candidate in modelselect_register_zoos()[0].search("*")]
    ['shelf:tiny']
    """
    raise NotImplementedError


@hookspec
def modelselect_register_extractors() -> Sequence[Extractor]:
    """Extractors, each for one kind of device. The first that supports a backbone on the chosen device is used.

    An extractor for devices that torch does not know is named after their kind: `device="tpu:0"` needs `tpu`.

    >>> import modelselect
    >>> class Tpu(modelselect.Extractor):
    ...     name = "tpu"
    ...     def supports(self, backbone, device):
    ...         return device.split(":")[0] == "tpu"
    ...     def extract(
    ...         self, backbone, probe, fields, *, device, batch_size, precision, compile, spool, sink, progress
    ...     ):
    ...         raise modelselect.errors.CandidateError("not on this machine")
    >>> @modelselect.hookimpl
    ... def modelselect_register_extractors():
    ...     return [Tpu()]
    >>> modelselect_register_extractors()[0].supports(None, "cuda:0")
    False
    """
    raise NotImplementedError


@hookspec
def modelselect_register_estimators() -> Sequence[Estimator]:
    """Estimators: evidence in, transferability score out.

    >>> import modelselect
    >>> class Spread(modelselect.Estimator):
    ...     name = "spread"
    ...     requires = frozenset({"features"})
    ...     citation = "A. Author: Spread is all you need, 2026."
    ...     def score(self, evidence):
    ...         return {"spread": evidence.features.std()}
    >>> @modelselect.hookimpl
    ... def modelselect_register_estimators():
    ...     return [Spread()]
    >>> modelselect.score([[0.0], [2.0]], None, modelselect_register_estimators()[0])
    1.0
    """
    raise NotImplementedError


@hookspec
def modelselect_register_executors() -> Sequence[Executor]:
    """Executors, which run the work on candidates: in this process, in others, on other machines.

    >>> import modelselect
    >>> class Backwards(modelselect.Executor):
    ...     name = "backwards"
    ...     def map(self, function, items):
    ...         for item in reversed(list(items)):
    ...             yield modelselect.Outcome.of(function, item)
    >>> @modelselect.hookimpl
    ... def modelselect_register_executors():
    ...     return [Backwards()]
    >>> [outcome.value for outcome in modelselect_register_executors()[0].map(abs, [-1, 2])]
    [2, 1]
    """
    raise NotImplementedError


@hookspec
def modelselect_register_architecture_encoders() -> Sequence[Encoder]:
    """Encoders, which turn architectures' graphs into vectors.

    >>> import modelselect, networkx, numpy
    >>> class Size(modelselect.archi2vec.Encoder):
    ...     name = "size"
    ...     def encode(self, graphs):
    ...         return numpy.array([[graph.number_of_nodes()] for graph in graphs], dtype=numpy.float32)
    >>> @modelselect.hookimpl
    ... def modelselect_register_architecture_encoders():
    ...     return [Size()]
    >>> modelselect_register_architecture_encoders()[0].encode([networkx.path_graph(3, networkx.DiGraph)]).tolist()
    [[3.0]]
    """
    raise NotImplementedError


@hookspec
def modelselect_register_pools() -> Sequence[Pool]:
    """Pools: candidates under one name, which `pool:NAME` stands for in a candidate expression.

    >>> import modelselect
    >>> from modelselect.candidates.pools import Pool
    >>> @modelselect.hookimpl
    ... def modelselect_register_pools():
    ...     return [Pool("tiny", "Networks for tests.", "image", ("embedded:plain*", "embedded:vit*"))]
    >>> modelselect_register_pools()[0].members
    ('embedded:plain*', 'embedded:vit*')
    """
    raise NotImplementedError


@hookspec
def modelselect_register_report_sections() -> Sequence[ReportSection]:
    """Sections that are added to the page and to the Markdown of a leaderboard.

    >>> import modelselect
    >>> from modelselect.report import ReportSection, Text
    >>> class Count(ReportSection):
    ...     name = "count"
    ...     title = "How many there were"
    ...     def blocks(self, board):
    ...         return [Text(f"{len(board.rows)} candidates were compared.")]
    >>> @modelselect.hookimpl
    ... def modelselect_register_report_sections():
    ...     return [Count()]
    >>> modelselect_register_report_sections()[0].blocks(modelselect.Leaderboard.empty())[0].text
    '0 candidates were compared.'
    """
    raise NotImplementedError


@hookspec
def modelselect_register_protocols() -> Sequence[Protocol]:
    """Protocols: published experiments as data, which `modelselect reproduce NAME` runs.

    >>> import modelselect
    >>> from modelselect.protocols import Experiment, Method, Protocol
    >>> @modelselect.hookimpl
    ... def modelselect_register_protocols():
    ...     table = Experiment("Table 1", "agreement of two methods")
    ...     methods = (Method("LogME", "logme"), Method("NCTI", "ncti"))
    ...     return [Protocol("mine", "My table.", "A. Author: My paper, 2026.", (table,), methods=methods)]
    >>> modelselect_register_protocols()[0].methods[1].label
    'NCTI'
    """
    raise NotImplementedError


@hookspec
def modelselect_register_tasks() -> Sequence[Task]:
    """Tasks: what is to be predicted, which estimators apply, and how fine-tuning is judged.

    >>> import modelselect
    >>> from modelselect.tasks import MEAN_ABSOLUTE_ERROR, SPEARMAN, SquaredError, Task
    >>> class Count(Task):
    ...     name = "count"
    ...     summary = "A number of things."
    ...     targets = ("numbers",)
    ...     metrics = (SPEARMAN, MEAN_ABSOLUTE_ERROR)
    ...     objective = SquaredError()
    ...     by_default = False
    >>> @modelselect.hookimpl
    ... def modelselect_register_tasks():
    ...     return [Count()]
    >>> modelselect_register_tasks()[0].metric.title
    'Spearman correlation'
    """
    raise NotImplementedError


@hookspec
def modelselect_register_commands() -> Mapping[str, typer.Typer]:
    """Sub-commands for the command line, by name.

    >>> import modelselect, typer
    >>> @modelselect.hookimpl
    ... def modelselect_register_commands():
    ...     app = typer.Typer()
    ...     @app.command()
    ...     def count(upto: int = 3) -> None:
    ...         "Count things."
    ...         print(*range(1, upto + 1))
    ...     return {"count": app}
    >>> list(modelselect_register_commands())
    ['count']
    """
    raise NotImplementedError


@hookspec
def modelselect_candidate_scored(candidate: Candidate, scores: Mapping[str, Any]) -> None:
    """Called when a candidate has its scores. `scores` holds each estimator's components by the estimator's name.

    Under a budget it is called for a candidate once in each round, with the scores on that round's rows.

    >>> import modelselect
    >>> @modelselect.hookimpl
    ... def modelselect_candidate_scored(candidate, scores):
    ...     print(candidate.id, scores["logme"]["logme"])
    >>> modelselect_candidate_scored(modelselect.Candidate("shelf", "tiny"), {"logme": {"logme": 0.5}})
    shelf:tiny 0.5
    """


@hookspec
def modelselect_candidate_failed(candidate: Candidate, failure: Failure) -> None:
    """Called when a candidate gets no scores at all.

    >>> import modelselect
    >>> @modelselect.hookimpl
    ... def modelselect_candidate_failed(candidate, failure):
    ...     print(f"{candidate}: {failure.reason}")
    >>> failure = modelselect.errors.Failure("load", "gated; ask for access on its page")
    >>> modelselect_candidate_failed(modelselect.Candidate("hub", "a/b"), failure)
    hub:a/b: gated; ask for access on its page
    """


@hookspec
def modelselect_selection_finished(leaderboard: Ranking) -> None:
    """Called once at the end of `select()`, with its answer, a `Leaderboard`.

    >>> import modelselect
    >>> @modelselect.hookimpl
    ... def modelselect_selection_finished(leaderboard):
    ...     print(len(leaderboard.rows), "candidates")
    >>> modelselect_selection_finished(modelselect.Leaderboard.empty())
    0 candidates
    """
