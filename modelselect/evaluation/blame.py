"""Why an estimator has no score: its failure, with the plugin whose code raised."""

from __future__ import annotations

from modelselect.errors import Failure, ModelSelectError, NoExceptionError, Stage
from modelselect.estimators.estimator import Estimator
from modelselect.host.host import get_host
from modelselect.utils.versions import DISTRIBUTION


def failure_of(stage: Stage, error: Exception, estimator: Estimator) -> Failure:
    """The failure. An error that is not one of modelselect's own names the plugin, unless the plugin is shipped."""
    failure = Failure.from_exception(stage, error)
    host = get_host()
    if estimator.name not in host.estimators or type(host.estimators[estimator.name]) is not type(estimator):
        return failure
    plugin = host.owner("estimators", estimator.name)
    is_own = isinstance(error, ModelSelectError) and not isinstance(error, NoExceptionError)
    if is_own or plugin.distribution == DISTRIBUTION:
        return failure
    return Failure(failure.stage, f"{failure.reason} (from {plugin.owner})", failure.error)
