"""The versions that enter the keys of stored numbers."""

from __future__ import annotations

from modelselect.estimators.estimator import Estimator
from modelselect.host.host import get_host


def extractor_versions() -> dict[str, str]:
    host = get_host()
    return {name: host.owner("extractors", name).version for name in host.extractors}


def plugin_version(estimator: Estimator) -> str | None:
    """Of the plugin that registered this kind of estimator; None where nobody did."""
    host = get_host()
    registered = host.estimators.get(estimator.name)
    return host.owner("estimators", estimator.name).version if type(registered) is type(estimator) else None
