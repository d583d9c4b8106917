"""Whose code an estimator is: shipped, or a plugin's, which its failures name and which is interrupted if it hangs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from modelselect.errors import Failure, ModelSelectError, NoExceptionError, Stage, blamed
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.extraction.extractor import Extractor
from modelselect.host.host import Plugin, get_host
from modelselect.host.patience import SCORE_VARIABLE, PluginTimeoutError, score_seconds, within
from modelselect.utils.process_state import unchanged
from modelselect.utils.versions import DISTRIBUTION

_OURS = __name__.partition(".")[0]


def failure_of(stage: Stage, error: Exception, estimator: Estimator) -> Failure:
    """The failure. An error that is not one of modelselect's own names the plugin, unless the plugin is shipped."""
    failure, plugin = Failure.from_exception(stage, error), plugin_of(estimator)
    is_own = isinstance(error, ModelSelectError) and not isinstance(error, NoExceptionError | PluginTimeoutError)
    if is_own or plugin is None or plugin.distribution == DISTRIBUTION:
        return failure
    return Failure(failure.stage, f"{failure.reason} (from {plugin.owner})", failure.error)


def is_shipped(estimator: Estimator) -> bool:
    """True for an estimator that comes with modelselect."""
    plugin = plugin_of(estimator)
    return plugin is not None and plugin.distribution == DISTRIBUTION


def given_to(estimator: Estimator, evidence: Evidence) -> Evidence:
    """The evidence as the estimator gets it: copies of its own, unless it is shipped."""
    return evidence if is_shipped(estimator) else evidence.private(estimator.reads)


@contextlib.contextmanager
def bounded(estimator: Estimator) -> Iterator[None]:
    """Code of the estimator. Unless it is shipped, it is interrupted after some time, and what it changes is put back.

    See `within` and `unchanged` for the limits.

    Raises:
        PluginTimeoutError: the code took longer.
        InvalidInputError: the variable for the bound holds no number.
    """
    if is_shipped(estimator):
        yield
        return
    try:
        with unchanged(), within(score_seconds()):
            yield
    except PluginTimeoutError as error:
        raise PluginTimeoutError(
            f"{estimator.name} hangs, or is slow: {error}. If it is only slow, set {SCORE_VARIABLE}"
        ) from error


@contextlib.contextmanager
def extracting(extractor: Extractor) -> Iterator[None]:
    """Code of the extractor. Unless it is shipped, errors that are not ours name the plugin, and what it changes is put
    back; nothing is loaded meanwhile.

    Raises:
        PluginError: the extractor of a plugin raised something that is none of our errors.
    """
    plugin = get_host().owner("extractors", extractor.name)
    if plugin.distribution == DISTRIBUTION:
        yield
        return

    def says(reason: str) -> str:
        return f"the extractor {extractor.name!r} failed: {reason} (from {plugin.owner})"

    with unchanged(imports=True), blamed(says):
        yield


def plugin_of(estimator: Estimator) -> Plugin | None:
    """The plugin whose code the estimator is; None if no plugin brings it.

    A task may put another class in the place of a registered estimator: one of the same package and name, or one of
    modelselect that holds the estimator in an attribute `estimator`, as `OneVsRest` does.
    """
    host = get_host()
    registered = host.registered("estimators", estimator.name).get(estimator.name)
    if type(registered) is type(estimator):
        return host.owner("estimators", estimator.name)
    held = getattr(estimator, "estimator", None)
    if _package(estimator) == _OURS and isinstance(held, Estimator):
        return plugin_of(held)
    if registered is not None and _package(registered) == _package(estimator):
        return host.owner("estimators", estimator.name)
    return None


def _package(estimator: Estimator) -> str:
    return type(estimator).__module__.partition(".")[0]
