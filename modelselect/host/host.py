"""Finds plugins, registers what they provide, and isolates their faults: one bad plugin never stops the rest."""

from __future__ import annotations

import contextlib
import copy
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

import pluggy

from modelselect.architectures.encoder import Encoder
from modelselect.candidates.pools import Pool
from modelselect.candidates.zoo import Zoo
from modelselect.errors import PluginError, UnknownNameError, contained
from modelselect.estimators.estimator import Estimator
from modelselect.executor import Executor
from modelselect.extraction.extractor import Extractor
from modelselect.host import hookspecs
from modelselect.host.entry_points import (
    PLUGINS_VARIABLE,
    PROJECT,
    chosen_names,
    distribution_of,
    installed,
    is_chosen,
    kind_in_name,
    plain_name,
    shipped_first,
)
from modelselect.host.hookspecs import CONTRACT, RESERVED_COMMANDS
from modelselect.host.patience import EVENT_SECONDS, SECONDS_VARIABLE, PluginTimeoutError, load_seconds, within
from modelselect.host.validation import KINDS, one_line, singular, validate_plugin
from modelselect.protocols.protocol import Protocol
from modelselect.ranking.report_section import ReportSection
from modelselect.tasks.task import Task
from modelselect.utils.process_state import unchanged
from modelselect.utils.versions import DISTRIBUTION, __version__

T = TypeVar("T")

MOST_BROUGHT = 10_000
"""Objects of one kind that a plugin may bring. An answer without an end must not fill the memory."""


@dataclass
class Plugin:
    """One plugin, what it provides, and its faults.

    Attributes:
        name: the entry point's name.
        distribution, version: the distribution that ships it.
        registered: names by kind, for everything that was accepted.
        faults: one line for each fault; empty for a good plugin.
        contract: the version of the contract that the plugin says it was written for; None if it says nothing.
        seconds: how long importing the plugin and asking for what it registers took.
        implementation: the module or object whose hooks are called; None if the plugin was refused, or did not answer
            in time.
        is_silent: whether a question to one of its zoos took too long. They are asked nothing more.
    """

    name: str
    distribution: str = "unknown"
    version: str = "unknown"
    registered: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    contract: int | None = None
    seconds: float = 0.0
    implementation: object | None = field(default=None, repr=False)
    is_silent: bool = False

    @property
    def owner(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


class Registered(Generic[T]):
    """What is registered of one kind, by name. The shipped plugins of a kind are imported when somebody reads it."""

    def __set_name__(self, owner: type[Host], kind: str) -> None:
        self.kind = kind

    def __get__(self, host: Host, owner: type[Host]) -> dict[str, T]:
        return host.registered(self.kind)


class Host:
    """What is registered, by kind and name. `Host.load()` finds every installed plugin; `register` adds one plugin.

    A shipped plugin is imported when its kind is asked for, since importing all takes longer than most commands do. If
    a plugin of somebody else is installed, all are imported at once: it may bring any kind.
    """

    zoos = Registered[Zoo]()
    extractors = Registered[Extractor]()
    estimators = Registered[Estimator]()
    executors = Registered[Executor]()
    architecture_encoders = Registered[Encoder]()
    pools = Registered[Pool]()
    report_sections = Registered[ReportSection]()
    protocols = Registered[Protocol]()
    tasks = Registered[Task]()
    commands = Registered[Any]()

    def __init__(self) -> None:
        self.found: list[Plugin] = []
        self._registered: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._owners: dict[tuple[str, str], Plugin] = {}
        self._waiting: dict[str, dict[str, tuple[Plugin, EntryPoint]]] = {}
        self._lock = threading.RLock()
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)

    @classmethod
    def load(cls) -> Host:
        """A host with every installed plugin: the shipped ones first, then the others by name."""
        host = cls()
        points, damaged = installed()
        for point in sorted(filter(is_chosen, points), key=shipped_first):
            record = Plugin(point.name, *distribution_of(point))
            host.found.append(record)
            if record.distribution == DISTRIBUTION and (kind := kind_in_name(point)) in KINDS:
                host._waiting.setdefault(kind, {})[point.name.partition(".")[2]] = record, point
            else:
                host._import_waiting()
                host._load(record, point)
        there = {plain_name(name) for point in points for name in (point.name, distribution_of(point)[0])}
        named = [name.removeprefix("-") for name in chosen_names() or ()]
        for name in sorted(name for name in named if plain_name(name) not in there):
            fault = f"{PLUGINS_VARIABLE} names {name!r}, but no plugin or distribution of that name is installed"
            host.found.append(Plugin(name, faults=[fault]))
        host.found += [Plugin(name, faults=[fault]) for name, fault in damaged.items()]
        return host

    @property
    def plugins(self) -> list[Plugin]:
        """Every plugin, with what it brings and with its faults. `found` does not import those that nobody asked."""
        self._import_waiting()
        return self.found

    def registered(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """What is registered of a kind, by name. With a name, this may be all that is known to be registered so far.

        Args:
            kind: one of `KINDS`.
            name: what the caller wants to read. A shipped plugin is often called after what it brings.
        """
        known = self._registered[kind]
        with self._lock:
            waiting = self._waiting.get(kind, {})
            if name is not None and name not in known and name in waiting:
                self._load(*waiting.pop(name))
            if waiting and (name is None or name not in known):
                while waiting:
                    self._load(*waiting.pop(next(iter(waiting))))
                self._registered[kind] = known = self._in_order(kind)
        return known

    def brought_by(self, plugin: str, kind: str) -> dict[str, Any]:
        """What a shipped plugin and all plugins of others bring of a kind, and maybe more, by name.

        Args:
            plugin: the second half of its name: `static` for `estimators.static`.
            kind: one of `KINDS`.
        """
        with self._lock:
            if plugin in (waiting := self._waiting.get(kind, {})):
                self._load(*waiting.pop(plugin))
        return self._registered[kind]

    def _in_order(self, kind: str) -> dict[str, Any]:
        """What is registered of a kind, in the order of the plugins, whichever was imported first."""
        place = {id(record): index for index, record in enumerate(self.found)}
        names = sorted(self._registered[kind], key=lambda name: place[id(self._owners[kind, name])])
        return {name: self._registered[kind][name] for name in names}

    def register(self, plugin: object, name: str, distribution: str = "unknown", version: str = "unknown") -> Plugin:
        """Registers what one plugin (a module or an object with hook implementations) provides.

        Returns:
            The plugin's record. Faults are added to it, never raised.
        """
        self._import_waiting()
        record = Plugin(name, distribution, version)
        self.found.append(record)
        self._register(record, plugin)
        return record

    def _register(self, record: Plugin, plugin: object) -> None:
        known = self._manager.is_registered(plugin)
        seconds = seconds_for(record)
        try:
            with asking(record, seconds):
                record.contract = _contract_of(plugin)
                self._manager.register(plugin, name=f"{record.distribution}/{record.name}")
                self._manager.check_pending()
                _refuse_unmarked_hooks(plugin)
        except Exception as error:
            record.faults.append(f"its hooks are wrong: {_reason(record, error)}")
            if not known and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            return
        record.implementation = plugin
        for kind in KINDS:
            self._collect(record, kind, seconds)

    def notify(self, event: str, **arguments: Any) -> None:
        """Calls `modelselect_<event>` of each plugin separately; a fault is added to the plugin's record.

        The shipped plugins hear no events.

        Each plugin gets copies of its own, so that it cannot change what the run and other plugins see.
        """
        hook = f"modelselect_{event}"
        for record in self.found:
            if record.implementation is None or record.distribution == DISTRIBUTION:
                continue
            try:
                with asking(record, EVENT_SECONDS):
                    if hasattr(record.implementation, hook):
                        self._call(record, hook, **copy.deepcopy(arguments))
            except PluginTimeoutError as error:
                record.implementation = None
                record.faults.append(f"{hook}: {error}; the plugin hears of no more events in this run")
            except Exception as error:
                fault = f"{hook} raised {one_line(error)}"
                if fault not in record.faults:
                    record.faults.append(fault)

    def zoo(self, name: str) -> Zoo:
        zoos: dict[str, Zoo] = self.registered("zoos", name)
        by_alias = {alias: zoo for zoo in zoos.values() for alias in (zoo.name, *zoo.aliases)}
        return self._look_up("zoo", name, by_alias)

    def extractor(self, name: str) -> Extractor:
        extractors: dict[str, Extractor] = self.registered("extractors", name)
        return self._look_up(singular("extractors"), name, extractors)

    def estimator(self, name: str) -> Estimator:
        estimators: dict[str, Estimator] = self.registered("estimators", name)
        return self._look_up(singular("estimators"), name, estimators)

    def executor(self, name: str) -> Executor:
        executors: dict[str, Executor] = self.registered("executors", name)
        return self._look_up(singular("executors"), name, executors)

    def encoder(self, name: str) -> Encoder:
        architecture_encoders: dict[str, Encoder] = self.registered("architecture_encoders", name)
        return self._look_up(singular("architecture_encoders"), name, architecture_encoders)

    def pool(self, name: str) -> Pool:
        pools: dict[str, Pool] = self.registered("pools", name)
        return self._look_up(singular("pools"), name, pools)

    def protocol(self, name: str) -> Protocol:
        protocols: dict[str, Protocol] = self.registered("protocols", name)
        return self._look_up(singular("protocols"), name, protocols)

    def task(self, name: str) -> Task:
        tasks: dict[str, Task] = self.registered("tasks", name)
        return self._look_up(singular("tasks"), name, tasks)

    def _look_up(self, kind: str, name: str, registered: Mapping[str, T]) -> T:
        if name not in registered:
            faulty = [f"{plugin.owner}: {plugin.faults[0]}" for plugin in self.found if plugin.faults]
            hint = f"Perhaps a plugin with a fault brings it; {'; '.join(faulty[:3])}" if faulty else ""
            raise UnknownNameError(kind, name, registered, hint)
        return registered[name]

    def owner(self, kind: str, name: str) -> Plugin:
        """The plugin that registered `name`."""
        self.registered(kind, name)
        return self._owners[kind, name]

    def _import_waiting(self) -> None:
        for kind in KINDS:
            self.registered(kind)

    def _load(self, record: Plugin, point: EntryPoint) -> None:
        seconds = seconds_for(record)
        begun = time.perf_counter()
        try:
            with asking(record, seconds):
                plugin = point.load()
        except Exception as error:
            record.faults.append(f"cannot be imported from {point.value!r}: {_reason(record, error)}")
        else:
            self._register(record, plugin)
        record.seconds = time.perf_counter() - begun

    def _collect(self, record: Plugin, kind: str, seconds: float) -> None:
        hook = f"modelselect_register_{kind}"
        try:
            with asking(record, seconds):
                answers = self._call(record, hook)
                brought = [item for answer in answers for item in _named(answer, kind)]
        except PluginTimeoutError as error:
            record.implementation = None
            record.faults.append(f"{hook}: {_reason(record, error)}; the plugin is asked nothing more")
            return
        except Exception as error:
            record.faults.append(f"{hook} raised {one_line(error)}")
            return
        for name, item in brought:
            try:
                with asking(record, seconds):
                    self._add(record, kind, name, item)
            except Exception as error:
                if isinstance(error, PluginError) and not isinstance(error, PluginTimeoutError):
                    record.faults.append(one_line(error))
                    continue
                record.faults.append(f"{name!r} among the {kind} cannot be registered: {_reason(record, error)}")

    def _add(self, record: Plugin, kind: str, name: object, item: Any) -> None:
        validate_plugin(kind, name, item)
        assert isinstance(name, str)
        if kind == "commands" and name in RESERVED_COMMANDS:
            raise PluginError(
                f"the command name {name!r} is reserved by {DISTRIBUTION}, but {record.owner} registers it; "
                f"{DISTRIBUTION}'s own command is kept. Rename the plugin's command."
            )
        names = (name, *item.aliases) if kind == "zoos" else (name,)
        for taken in names:
            if (kind, taken) in self._owners:
                other = self._owners[kind, taken]
                raise PluginError(
                    f"the {singular(kind)} name {taken!r} is taken: {record.owner} and {other.owner} both register "
                    f"it; that of {other.owner} is kept. Rename one, or exclude one of the plugins with "
                    f"{PLUGINS_VARIABLE}."
                )
        for taken in names:
            self._owners[kind, taken] = record
        self._registered[kind][name] = item
        record.registered.setdefault(kind, []).append(name)

    def _call(self, record: Plugin, hook: str, **arguments: Any) -> list[Any]:
        """The answers of this plugin only: pluggy would stop a call of all plugins at the first that raises."""
        if record.implementation is None:
            return []
        others = [p for p in self._manager.get_plugins() if p is not record.implementation]
        answers: list[Any] = self._manager.subset_hook_caller(hook, others)(**arguments)
        return answers


@cache
def get_host() -> Host:
    """The host of this process, with every installed plugin."""
    return Host.load()


@contextlib.contextmanager
def asking(plugin: Plugin, seconds: float) -> Iterator[None]:
    """Code of the plugin has this time, ends nothing but itself, and moves no setting of the process.

    Args:
        plugin: whose code it is. What modelselect itself brings moves nothing, so nothing is put back.
        seconds: the bound; 0 for none.
    """
    is_shipped = plugin.distribution == DISTRIBUTION
    with contextlib.nullcontext() if is_shipped else unchanged(imports=True), within(seconds), contained():
        yield


def seconds_for(record: Plugin) -> float:
    """The bound for the code of a plugin; 0, which is none, for what modelselect itself brings."""
    return 0.0 if record.distribution == DISTRIBUTION else load_seconds()


def _reason(record: Plugin, error: Exception) -> str:
    """One line for a fault at the import or in a registration."""
    if not isinstance(error, PluginTimeoutError):
        return one_line(error)
    return f"{error}. If it is only slow, set {SECONDS_VARIABLE}; {PLUGINS_VARIABLE}=-{record.name} leaves it out"


def _contract_of(plugin: object) -> int | None:
    """The version of the contract that a plugin states, which has to be this one; None if it states none."""
    stated = getattr(plugin, "modelselect_contract", None)
    if stated is None or (stated == CONTRACT and isinstance(stated, int)):
        return stated
    raise PluginError(
        f"modelselect_contract is {stated!r}, but {DISTRIBUTION} {__version__} has contract {CONTRACT}; install a "
        "version of the plugin, or of modelselect, that fits"
    )


def _refuse_unmarked_hooks(plugin: object) -> None:
    for name in dir(plugin):
        member = getattr(plugin, name) if name.startswith("modelselect_") else None
        if callable(member) and not hasattr(member, "modelselect_impl"):
            raise PluginError(
                f"{name} looks like a hook but is not marked as one; decorate it with @modelselect.hookimpl"
            )


def _named(answer: Any, kind: str) -> Iterable[tuple[object, Any]]:
    """(name, item) pairs from a hook's answer: a mapping for commands, a sequence of named objects otherwise."""
    if kind == "commands" and isinstance(answer, Mapping):
        return list(answer.items())
    items = list(itertools.islice(answer, MOST_BROUGHT + 1))
    if len(items) > MOST_BROUGHT:
        raise PluginError(f"it brings more than {MOST_BROUGHT:,} {kind}; bring fewer")
    return [(getattr(item, "name", None), item) for item in items]
