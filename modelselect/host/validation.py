"""Checks everything that a plugin registers, before it is accepted."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import fields
from typing import Any

from modelselect.agreement import Agreement
from modelselect.architectures.encoder import Encoder
from modelselect.candidates.pools import POOL, Pool
from modelselect.candidates.zoo import Zoo
from modelselect.errors import Failure, PluginError, Stage, contained
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import FIELDS
from modelselect.executor import Executor
from modelselect.extraction.extractor import Extractor
from modelselect.protocols.protocol import SCORE, Protocol
from modelselect.ranking.report_section import ReportSection
from modelselect.tasks.metrics import Metric
from modelselect.tasks.task import Task
from modelselect.utils.target_kinds import TARGET_KINDS
from modelselect.utils.text import REGISTERED_NAME

KINDS = (
    "zoos",
    "extractors",
    "estimators",
    "executors",
    "architecture_encoders",
    "pools",
    "report_sections",
    "protocols",
    "tasks",
    "commands",
)
"""The kinds of objects that a plugin may register; the hook is `modelselect_register_<kind>`."""

MEASURES = {field.name for field in fields(Agreement)} - {"k", "n", "left_out"}
"""The figures of an agreement, which a protocol may measure."""


def validate_plugin(kind: str, name: object, item: Any) -> None:
    if not isinstance(name, str) or not REGISTERED_NAME.fullmatch(name):
        raise PluginError(
            f"{item!r} among the {kind} has the name {name!r}; expected lower-case letters, digits, _ and -"
        )
    expected = _expected_class(kind)
    if not isinstance(item, expected):
        package = expected.__module__.split(".")[0]
        raise PluginError(
            f"{name!r} among the {kind} is a {type(item).__name__}; expected a {package}.{expected.__name__}"
        )
    if isinstance(item, Zoo):
        _validate_aliases(item)
        if POOL in (name, *item.aliases):
            raise PluginError(f"zoo {name!r} is called {POOL!r}, which stands for pools in expressions; rename the zoo")
    elif isinstance(item, Pool):
        _validate_pool(item)
    elif isinstance(item, Protocol):
        _validate_protocol(item)
    elif isinstance(item, Estimator):
        _validate_estimator(item)
    elif isinstance(item, Extractor):
        _validate_extractor(item)
    elif isinstance(item, ReportSection):
        _validate_report_section(item)
    elif isinstance(item, Task):
        _validate_task(item)
    elif kind == "commands":
        _validate_command(name, item)


def _validate_aliases(zoo: Zoo) -> None:
    aliases: object = zoo.aliases
    if not isinstance(aliases, tuple | list) or not all(
        isinstance(a, str) and REGISTERED_NAME.fullmatch(a) for a in aliases
    ):
        raise PluginError(
            f"zoo {zoo.name!r} has the aliases {aliases!r}; expected a tuple of names in lower-case letters, digits, _ "
            "and -, or () for none"
        )


def _validate_pool(pool: Pool) -> None:
    members: object = pool.members
    if not isinstance(members, tuple) or not members or not all(isinstance(m, str) and ":" in m for m in members):
        raise PluginError(
            f"pool {pool.name!r} has members = {members!r}; expected a tuple of candidate expressions such as "
            "('timm:resnet18.a1_in1k',)"
        )
    if any(member.startswith(f"{POOL}:") for member in members):
        raise PluginError(f"pool {pool.name!r} has a pool among its members; list the members of that pool instead")


def _validate_protocol(protocol: Protocol) -> None:
    runs = [protocol.methods, protocol.training, protocol.architectures, protocol.picture]
    if not protocol.obstacle and not any(runs):
        raise PluginError(
            f"protocol {protocol.name!r} has nothing to run; give it methods, training, architectures or a "
            "picture, or experiments whose obstacle says why they cannot be run"
        )
    unknown = sorted({*protocol.measures, *(p.measure for p in protocol.published if p.measure != SCORE)} - MEASURES)
    if unknown:
        raise PluginError(
            f"protocol {protocol.name!r} has the measure {unknown[0]!r}; expected one of {', '.join(sorted(MEASURES))}"
        )


def _validate_estimator(estimator: Estimator) -> None:
    name = estimator.name
    if not hasattr(estimator, "requires"):
        raise PluginError(
            f"estimator {name!r} has no requires; set it to a frozenset of the evidence fields that it needs. Known "
            f"fields: {', '.join(FIELDS)}"
        )
    for attribute in ("requires", "optional", "reads"):
        fields: object = getattr(estimator, attribute)
        if not isinstance(fields, Set) or not all(isinstance(field, str) for field in fields):
            raise PluginError(
                f"estimator {name!r} has {attribute} = {fields!r}; expected a set of names, such as "
                "frozenset({'features', 'labels'})"
            )
        unknown = sorted(fields - set(FIELDS))
        if unknown:
            raise PluginError(
                f"estimator {name!r} reads {', '.join(unknown)}; known evidence fields: {', '.join(FIELDS)}"
            )
    kinds: object = estimator.targets
    if not isinstance(kinds, Set) or not kinds <= set(TARGET_KINDS):
        raise PluginError(
            f"estimator {name!r} has targets = {kinds!r}; expected a set of kinds of labels: {', '.join(TARGET_KINDS)}"
        )
    if not getattr(estimator, "citation", ""):
        raise PluginError(f"estimator {name!r} has no citation; name the paper or practice that it comes from")


def _validate_extractor(extractor: Extractor) -> None:
    """The keys of all numbers hold the libraries of all extractors that are not asked for by name."""
    on_request: object = extractor.on_request
    if not isinstance(on_request, bool):
        raise PluginError(f"extractor {extractor.name!r} has on_request = {on_request!r}; expected True or False")
    library: object = "" if on_request else extractor.library
    if not isinstance(library, str):
        raise PluginError(f"extractor {extractor.name!r} has library = {library!r}; expected a text")


def _validate_report_section(section: ReportSection) -> None:
    title: object = getattr(section, "title", None)
    if not isinstance(title, str) or not title.strip():
        raise PluginError(f"report section {section.name!r} has the title {title!r}; expected a heading, as a text")


def _validate_task(task: Task) -> None:
    kinds: object = getattr(task, "targets", None)
    if not isinstance(kinds, tuple) or not kinds or not set(kinds) <= set(TARGET_KINDS):
        raise PluginError(
            f"task {task.name!r} has targets = {kinds!r}; expected a tuple of kinds of targets: "
            f"{', '.join(TARGET_KINDS)}"
        )
    metrics: object = getattr(task, "metrics", None)
    if not isinstance(metrics, tuple) or not metrics or not all(isinstance(metric, Metric) for metric in metrics):
        raise PluginError(f"task {task.name!r} has metrics = {metrics!r}; expected a tuple of Metric")


def _validate_command(name: str, command: Any) -> None:
    import typer

    try:
        with contained():
            typer.main.get_command(command)
    except Exception as error:
        raise PluginError(
            f"command {name!r} cannot be built: {one_line(error)}. Give its typer.Typer at least one command or a "
            "callback, and use only parameter types that Typer supports."
        ) from None


def _expected_class(kind: str) -> type:
    if kind == "commands":
        import typer

        return typer.Typer
    classes: dict[str, type] = {
        "zoos": Zoo,
        "extractors": Extractor,
        "estimators": Estimator,
        "executors": Executor,
        "architecture_encoders": Encoder,
        "pools": Pool,
        "report_sections": ReportSection,
        "protocols": Protocol,
        "tasks": Task,
    }
    return classes[kind]


def singular(kind: str) -> str:
    return kind.replace("_", " ").removesuffix("s")


def one_line(error: BaseException) -> str:
    """The kind and the text of an error, as a failure shows them."""
    return Failure.from_exception(Stage.RUN, error).reason
