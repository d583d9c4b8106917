"""Test classes to inherit: each check of the kit becomes a test of its own.

    class TestSpread(modelselect.testing.EstimatorTests):
        estimator = Spread()

pytest finds a method for each check that applies. Nothing here needs pytest: any runner that calls the methods whose
names start with `test_` will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from modelselect.architectures.encoder import Encoder
from modelselect.candidates.pools import Pool
from modelselect.candidates.zoo import Zoo
from modelselect.estimators.estimator import Estimator
from modelselect.executor import Executor
from modelselect.extraction.extractor import Extractor
from modelselect.protocols.protocol import Protocol
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.report_section import ReportSection
from modelselect.tasks.task import Task
from modelselect.testing.checks import Check, run_checks
from modelselect.testing.commands import command_checks
from modelselect.testing.encoders import encoder_checks
from modelselect.testing.estimators import estimator_checks
from modelselect.testing.executors import executor_checks
from modelselect.testing.extractors import extractor_checks
from modelselect.testing.pools import pool_checks
from modelselect.testing.protocols import protocol_checks
from modelselect.testing.report_sections import report_section_checks
from modelselect.testing.tasks import task_checks
from modelselect.testing.zoos import zoo_checks

if TYPE_CHECKING:
    import typer


class PluginTests:
    """The base of the classes below. A subclass that names what is tested gets one method `test_...` for each check.

    Attributes:
        expected_failures: reasons, by the names of checks that cannot pass. These checks still run, and one that
            passes fails its test, so that no reason outlives its cause.
    """

    expected_failures: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @classmethod
    def checks(cls) -> Iterable[Check]:
        """The checks that apply, or none while the class does not name what is tested."""
        return ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        checks = dict(cls.checks())
        unknown = sorted(set(cls.expected_failures) - set(checks)) if checks else []
        if unknown:
            raise TypeError(
                f"{cls.__name__}.expected_failures names {', '.join(unknown)}; the checks are: {', '.join(checks)}"
            )
        for name, check in checks.items():
            expected = {name: cls.expected_failures[name]} if name in cls.expected_failures else {}
            setattr(cls, f"test_{name}", _test(cls.__name__, name, check, expected))


def _test(subject: str, name: str, check: Callable[[], None], expected: Mapping[str, str]) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        __tracebackhide__ = True
        run_checks(subject, [(name, check)], expected)

    test.__name__ = f"test_{name}"
    test.__doc__ = name.replace("_", " ") + "."
    return test


class EstimatorTests(PluginTests):
    """The checks of an estimator, as tests.

    Attributes:
        estimator: the instance to be registered.

    >>> import modelselect
    >>> class Spread(modelselect.Estimator):
    ...     name = "spread"
    ...     requires = frozenset({"features"})
    ...     citation = "A. Author: Spread is all you need, 2026"
    ...     def score(self, evidence):
    ...         return {"spread": evidence.features.std(dtype="float64")}
    >>> class TestSpread(EstimatorTests):
    ...     estimator = Spread()
    >>> TestSpread().test_key_is_stable()
    """

    estimator: ClassVar[Estimator | None] = None

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.estimator is None else estimator_checks(cls.estimator)


class ZooTests(PluginTests):
    """The checks of a zoo, as tests.

    Attributes:
        zoo: the instance to be registered.
        pattern: the part after the colon of an expression; it has to match. The first candidate is loaded.
        trust_remote_code: as for `Zoo.load`.
    """

    zoo: ClassVar[Zoo | None] = None
    pattern: ClassVar[str] = "*"
    trust_remote_code: ClassVar[bool] = False

    @classmethod
    def checks(cls) -> Iterable[Check]:
        if cls.zoo is None:
            return ()
        return zoo_checks(cls.zoo, cls.pattern, trust_remote_code=cls.trust_remote_code)


class ExtractorTests(PluginTests):
    """The checks of an extractor, as tests.

    Attributes:
        extractor: the instance to be registered.
        device: a device that the extractor supports on this machine.
    """

    extractor: ClassVar[Extractor | None] = None
    device: ClassVar[str] = "cpu"

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.extractor is None else extractor_checks(cls.extractor, cls.device)


class ExecutorTests(PluginTests):
    """The checks of an executor, as tests.

    Attributes:
        executor: the instance to be registered.
    """

    executor: ClassVar[Executor | None] = None

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.executor is None else executor_checks(cls.executor)


class EncoderTests(PluginTests):
    """The checks of an architecture encoder, as tests.

    Attributes:
        encoder: the instance to be registered.
    """

    encoder: ClassVar[Encoder | None] = None

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.encoder is None else encoder_checks(cls.encoder)


class PoolTests(PluginTests):
    """The checks of a pool, as tests.

    Attributes:
        pool: the instance to be registered.
        zoos: zoos whose members of the pool are searched for.
    """

    pool: ClassVar[Pool | None] = None
    zoos: ClassVar[tuple[Zoo, ...]] = ()

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.pool is None else pool_checks(cls.pool, *cls.zoos)


class ProtocolTests(PluginTests):
    """The checks of a protocol, as tests.

    Attributes:
        protocol: the instance to be registered.
        zoos: zoos in which its candidates are searched for.
        estimators: estimators that must take the settings of its methods.
    """

    protocol: ClassVar[Protocol | None] = None
    zoos: ClassVar[tuple[Zoo, ...]] = ()
    estimators: ClassVar[tuple[Estimator, ...]] = ()

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.protocol is None else protocol_checks(cls.protocol, cls.zoos, cls.estimators)


class ReportSectionTests(PluginTests):
    """The checks of a report section, as tests.

    Attributes:
        section: the instance to be registered.
        board: a leaderboard about which the section has something to say; None for an example.
    """

    section: ClassVar[ReportSection | None] = None
    board: ClassVar[Ranking | None] = None

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.section is None else report_section_checks(cls.section, cls.board)


class TaskTests(PluginTests):
    """The checks of a task, as tests.

    Attributes:
        task: the instance to be registered.
        data: a small labelled dataset that suits the task, as for `select()`; None for an example of each kind of
            targets.
    """

    task: ClassVar[Task | None] = None
    data: ClassVar[Any] = None

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.task is None else task_checks(cls.task, cls.data)


class CommandTests(PluginTests):
    """The checks of a command, as tests.

    Attributes:
        name: the name under which the command is registered.
        app: the Typer application.
    """

    name: ClassVar[str] = ""
    app: ClassVar[typer.Typer | None] = None

    @classmethod
    def checks(cls) -> Iterable[Check]:
        return () if cls.app is None else command_checks(cls.name, cls.app)
