"""Whose code an estimator is: shipped, or a plugin's, which its failures name and which is interrupted if it hangs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from modelselect.errors import Failure, ModelSelectError, NoExceptionError, Stage
from modelselect.estimators.estimator import Estimator
from modelselect.host.host import Plugin, get_host
from modelselect.host.patience import SCORE_VARIABLE, PluginTimeoutError, score_seconds, within
from modelselect.utils.versions import DISTRIBUTION


def failure_of(stage: Stage, error: Exception, estimator: Estimator) -> Failure:
    """The failure. An error that is not one of modelselect's own names the plugin, unless the plugin is shipped."""
    failure, plugin = Failure.from_exception(stage, error), _plugin_of(estimator)
    is_own = isinstance(error, ModelSelectError) and not isinstance(error, NoExceptionError | PluginTimeoutError)
    if is_own or plugin is None or plugin.distribution == DISTRIBUTION:
        return failure
    return Failure(failure.stage, f"{failure.reason} (from {plugin.owner})", failure.error)


def is_shipped(estimator: Estimator) -> bool:
    """True for an estimator that comes with modelselect."""
    plugin = _plugin_of(estimator)
    return plugin is not None and plugin.distribution == DISTRIBUTION


@contextlib.contextmanager
def bounded(estimator: Estimator) -> Iterator[None]:
    """Code of the estimator. It is interrupted after some time, unless it is shipped; see `within` for the limits.

    Raises:
        PluginTimeoutError: the code took longer.
        InvalidInputError: the variable for the bound holds no number.
    """
    try:
        with within(0.0 if is_shipped(estimator) else score_seconds()):
            yield
    except PluginTimeoutError as error:
        raise PluginTimeoutError(
            f"{estimator.name} hangs, or is slow: {error}. If it is only slow, set {SCORE_VARIABLE}"
        ) from error


def _plugin_of(estimator: Estimator) -> Plugin | None:
    """The plugin that registered this kind of estimator; None if no plugin did."""
    host = get_host()
    registered = host.estimators.get(estimator.name)
    return host.owner("estimators", estimator.name) if type(registered) is type(estimator) else None
