"""Finds plugins, registers what they bring, and keeps their faults apart: one bad plugin never stops the rest."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from modelselect import hookspecs
from modelselect.candidates import Zoo
from modelselect.errors import PluginError, UnknownNameError
from modelselect.estimator import Estimator
from modelselect.evidence import FIELDS
from modelselect.executor import Executor

if TYPE_CHECKING:
    from modelselect.archi2vec import Encoder
    from modelselect.extraction import Extractor

DISTRIBUTION = "modelselect-automl"
"""The distribution that ships the host and the shipped plugins."""

PLUGINS_VARIABLE = "MODELSELECT_PLUGINS"
"""Which plugins of others to load, by entry point or distribution, comma-separated. Unset: all. Empty: none."""

KINDS = ("zoos", "extractors", "estimators", "executors", "architecture_encoders", "commands")
"""What a plugin may register; the hook is `modelselect_register_<kind>`."""

PLUGIN_FAULTS = (Exception, SystemExit)
"""What a plugin's code may raise without ending more than itself; an interrupt by the user is none of it."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
T = TypeVar("T")


@dataclass
class Plugin:
    """One plugin, what it brought, and what is wrong with it.

    Attributes:
        name: the entry point's name.
        distribution, version: who ships it.
        registered: names by kind, for what the host took.
        faults: one line for each thing that went wrong; empty for a good plugin.
        implementation: the module or object whose hooks are called; None if it was refused.
    """

    name: str
    distribution: str = "unknown"
    version: str = "unknown"
    registered: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    implementation: object | None = field(default=None, repr=False)

    @property
    def owner(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


class Host:
    """What is registered, by kind and name. `Host.load()` asks every installed plugin; `register` adds one by hand."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.zoos: dict[str, Zoo] = {}
        self.extractors: dict[str, Extractor] = {}
        self.estimators: dict[str, Estimator] = {}
        self.executors: dict[str, Executor] = {}
        self.architecture_encoders: dict[str, Encoder] = {}
        self.commands: dict[str, Any] = {}
        self._owners: dict[tuple[str, str], Plugin] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    @classmethod
    def load(cls) -> Host:
        """A host with every installed plugin: the shipped ones first, then others by name."""
        host = cls()
        points = list(entry_points(group=hookspecs.PROJECT))
        for point in sorted(filter(_is_chosen, points), key=_shipped_first):
            host._load(point)
        installed = {_plain(name) for point in points for name in (point.name, _distribution(point)[0])}
        for name in sorted(name for name in _chosen_names() or () if _plain(name) not in installed):
            fault = f"{PLUGINS_VARIABLE} names it, and no plugin or distribution of that name is installed"
            host.plugins.append(Plugin(name, faults=[fault]))
        return host

    def register(self, plugin: object, name: str, distribution: str = "unknown", version: str = "unknown") -> Plugin:
        """Registers what one plugin (a module or an object with hook implementations) brings.

        Returns:
            The record of it. Faults are in it, never raised.
        """
        record = Plugin(name, distribution, version)
        self.plugins.append(record)
        known = self._manager.is_registered(plugin)
        try:
            self._manager.register(plugin, name=f"{distribution}/{name}")
            self._manager.check_pending()
            _refuse_unmarked_hooks(plugin)
        except PLUGIN_FAULTS as error:
            record.faults.append(f"its hooks are wrong: {_one_line(error)}")
            if not known and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            return record
        record.implementation = plugin
        for kind in KINDS:
            self._collect(record, kind)
        return record

    def notify(self, event: str, **arguments: Any) -> None:
        """Calls `modelselect_<event>` of each plugin on its own; one that raises is noted in its record."""
        for record in self.plugins:
            try:
                self._call(record, f"modelselect_{event}", **arguments)
            except PLUGIN_FAULTS as error:
                fault = f"modelselect_{event} raised {_one_line(error)}"
                if fault not in record.faults:
                    record.faults.append(fault)

    def zoo(self, name: str) -> Zoo:
        by_alias = {alias: zoo for zoo in self.zoos.values() for alias in (zoo.name, *zoo.aliases)}
        return _look_up("zoo", name, by_alias)

    def extractor(self, name: str) -> Extractor:
        return _look_up("extractor", name, self.extractors)

    def estimator(self, name: str) -> Estimator:
        return _look_up("estimator", name, self.estimators)

    def executor(self, name: str) -> Executor:
        return _look_up("executor", name, self.executors)

    def encoder(self, name: str) -> Encoder:
        return _look_up("architecture encoder", name, self.architecture_encoders)

    def owner(self, kind: str, name: str) -> Plugin:
        """The plugin that brought `name`."""
        return self._owners[kind, name]

    def _load(self, point: EntryPoint) -> None:
        distribution, version = _distribution(point)
        try:
            plugin = point.load()
        except PLUGIN_FAULTS as error:
            fault = f"cannot be imported from {point.value!r}: {_one_line(error)}"
            self.plugins.append(Plugin(point.name, distribution, version, faults=[fault]))
            return
        self.register(plugin, point.name, distribution, version)

    def _collect(self, record: Plugin, kind: str) -> None:
        hook = f"modelselect_register_{kind}"
        try:
            answers = self._call(record, hook)
            brought = [item for answer in answers for item in _named(answer, kind)]
        except PLUGIN_FAULTS as error:
            record.faults.append(f"{hook} raised {_one_line(error)}")
            return
        for name, item in brought:
            try:
                self._add(record, kind, name, item)
            except PluginError as error:
                record.faults.append(str(error))
            except PLUGIN_FAULTS as error:
                record.faults.append(f"{name!r} among the {kind} cannot be registered: {_one_line(error)}")

    def _add(self, record: Plugin, kind: str, name: object, item: Any) -> None:
        _validate(kind, name, item)
        assert isinstance(name, str)
        if kind == "commands" and name in _shipped_commands():
            raise PluginError(
                f"the command name {name!r} is taken: {record.owner} registers it, and it is one of {DISTRIBUTION}'s "
                f"own; that of {DISTRIBUTION} is kept. Rename the plugin's."
            )
        names = (name, *item.aliases) if kind == "zoos" else (name,)
        for taken in names:
            if (kind, taken) in self._owners:
                other = self._owners[kind, taken]
                raise PluginError(
                    f"the {_singular(kind)} name {taken!r} is taken: {record.owner} and {other.owner} both register "
                    f"it; that of {other.owner} is kept. Rename one of them, or leave one out with {PLUGINS_VARIABLE}."
                )
        for taken in names:
            self._owners[kind, taken] = record
        getattr(self, kind)[name] = item
        record.registered.setdefault(kind, []).append(name)

    def _call(self, record: Plugin, hook: str, **arguments: Any) -> list[Any]:
        """The answers of this plugin alone: pluggy would end the whole call at the first that raises."""
        if record.implementation is None:
            return []
        others = [p for p in self._manager.get_plugins() if p is not record.implementation]
        answers: list[Any] = self._manager.subset_hook_caller(hook, others)(**arguments)
        return answers


@cache
def get_host() -> Host:
    """The host of this process, with every installed plugin."""
    return Host.load()


def _chosen_names() -> list[str] | None:
    """What the environment variable names; None where it is not set."""
    chosen = os.environ.get(PLUGINS_VARIABLE)
    return None if chosen is None else [name.strip() for name in chosen.split(",") if name.strip()]


def _is_chosen(point: EntryPoint) -> bool:
    distribution, names = _distribution(point)[0], _chosen_names()
    if names is None or distribution == DISTRIBUTION:
        return True
    return not {_plain(point.name), _plain(distribution)}.isdisjoint(map(_plain, names))


def _plain(name: str) -> str:
    """A name as package indexes compare it: `My_Plugin` is `my-plugin`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _shipped_first(point: EntryPoint) -> tuple[bool, str, str]:
    return _distribution(point)[0] != DISTRIBUTION, point.name, point.value


def _distribution(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "unknown", "unknown"
    return point.dist.metadata["Name"] or "unknown", point.dist.version or "unknown"


def _refuse_unmarked_hooks(plugin: object) -> None:
    for name in dir(plugin):
        member = getattr(plugin, name) if name.startswith("modelselect_") else None
        if callable(member) and not hasattr(member, "modelselect_impl"):
            raise PluginError(f"{name} looks like a hook but is not marked; decorate it with @modelselect.hookimpl")


def _named(answer: Any, kind: str) -> Iterable[tuple[object, Any]]:
    """(name, item) of what a hook returned: a mapping for commands, a sequence of named things for the rest."""
    if kind == "commands" and isinstance(answer, Mapping):
        return list(answer.items())
    return [(getattr(item, "name", None), item) for item in answer]


def _validate(kind: str, name: object, item: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
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
    elif isinstance(item, Estimator):
        _validate_estimator(item)
    elif kind == "commands":
        _validate_command(name, item)


def _validate_aliases(zoo: Zoo) -> None:
    aliases: object = zoo.aliases
    if not isinstance(aliases, tuple | list) or not all(isinstance(a, str) and _NAME.fullmatch(a) for a in aliases):
        raise PluginError(
            f"zoo {zoo.name!r} has the aliases {aliases!r}; expected a tuple of names in lower-case letters, digits, _ "
            "and -, or () for none"
        )


def _validate_estimator(estimator: Estimator) -> None:
    name = estimator.name
    if not hasattr(estimator, "requires"):
        raise PluginError(
            f"estimator {name!r} has no requires; set it to a frozenset of the evidence fields that it cannot do "
            f"without, of: {', '.join(FIELDS)}"
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
            raise PluginError(f"estimator {name!r} reads {unknown}; known evidence fields: {', '.join(FIELDS)}")
    if not getattr(estimator, "citation", ""):
        raise PluginError(f"estimator {name!r} has no citation; say which paper or practice it comes from")


def _validate_command(name: str, command: Any) -> None:
    import typer

    try:
        typer.main.get_command(command)
    except PLUGIN_FAULTS as error:
        raise PluginError(
            f"command {name!r} cannot be built: {_one_line(error)}. Give its typer.Typer at least one command or a "
            "callback, with parameters of types that Typer knows."
        ) from None


def _shipped_commands() -> Collection[str]:
    """Names of the command line's own, from the command line itself. Only asked for where a plugin brings commands."""
    import typer

    from modelselect import cli

    shipped: Any = typer.main.get_command(cli.app)
    return set(shipped.commands)


def _expected_class(kind: str) -> type:
    if kind == "commands":
        import typer

        return typer.Typer
    from modelselect.archi2vec import Encoder
    from modelselect.extraction import Extractor

    classes: dict[str, type] = {
        "zoos": Zoo,
        "extractors": Extractor,
        "estimators": Estimator,
        "executors": Executor,
        "architecture_encoders": Encoder,
    }
    return classes[kind]


def _singular(kind: str) -> str:
    return kind.replace("_", " ").removesuffix("s")


def _look_up(kind: str, name: str, registered: Mapping[str, T]) -> T:
    if name not in registered:
        raise UnknownNameError(kind, name, registered)
    return registered[name]


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
