"""Limits: what a candidate may cost at most, and under which licences it may come."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from modelselect.candidates.candidate import Candidate, license_of
from modelselect.errors import InvalidInputError


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost at most. A candidate over a limit gets no rank; its status gives the reason.

    Attributes:
        max_parameters: number of parameters.
        max_latency_ms: milliseconds for one row on this device.
        license: globs; the licence has to match one of them, in upper or lower case. Empty: any licence, or none.

    >>> limits = Limits.of(max_parameters=1_000_000, license="cc-by*")
    >>> limits.parameters_exceeded(2_500_000)
    '2,500,000 parameters, 2.5 times max_parameters=1,000,000'
    >>> limits.license_refused("CC-BY-4.0"), limits.license_refused("mit")
    (None, "the licence is 'mit'; allowed: cc-by*")
    """

    max_parameters: int | None = None
    max_latency_ms: float | None = None
    license: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        max_parameters: int | None = None,
        max_latency_ms: float | None = None,
        license: str | Sequence[str] | None = None,
    ) -> Limits:
        """Checked limits.

        Raises:
            InvalidInputError: a limit is not a positive number, or a licence is not a text.
        """
        for name, limit in (("max_parameters", max_parameters), ("max_latency_ms", max_latency_ms)):
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
                raise InvalidInputError(f"{name} is {limit!r}; expected a number above 0, or None for no limit")
        globs = () if license is None else (license,) if isinstance(license, str) else tuple(license)
        if not all(isinstance(glob, str) and glob.strip() for glob in globs) or (license is not None and not globs):
            raise InvalidInputError(f"license is {license!r}; expected 'apache-2.0', 'cc-by*' or a list of such globs")
        return cls(max_parameters, max_latency_ms, tuple(glob.strip() for glob in globs))

    def __bool__(self) -> bool:
        return bool(self.max_parameters is not None or self.max_latency_ms is not None or self.license)

    def __str__(self) -> str:
        """`max_parameters=1000000, license=mit`."""
        given = {k: ",".join(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v}
        return ", ".join(f"{name}={value}" for name, value in given.items())

    def parameters_exceeded(self, parameters: int) -> str | None:
        """Why this number of parameters exceeds the limit; None if it does not."""
        if self.max_parameters is None or parameters <= self.max_parameters:
            return None
        excess = _times(parameters / self.max_parameters)
        return f"{parameters:,} parameters, {excess} max_parameters={self.max_parameters:,}"

    def latency_exceeded(self, latency_ms: float) -> str | None:
        """Why this latency exceeds the limit; None if it does not."""
        if self.max_latency_ms is None or latency_ms <= self.max_latency_ms:
            return None
        excess = _times(latency_ms / self.max_latency_ms)
        return f"{latency_ms:.3g} ms for one row, {excess} max_latency_ms={self.max_latency_ms:g}"

    def license_refused(self, license: str | None) -> str | None:
        """Why the licence is refused; None if it is allowed."""
        if not self.license:
            return None
        allowed = ", ".join(self.license)
        if license is None:
            return f"the licence is unknown; allowed: {allowed}"
        if any(fnmatch.fnmatchcase(license.lower(), glob.lower()) for glob in self.license):
            return None
        near = next((glob for glob in self.license if license.lower().startswith(glob.lower())), None)
        hint = "" if near is None else f"; did you mean '{near}*'?"
        return f"the licence is {license!r}; allowed: {allowed}{hint}"

    def exceeded_before_loading(self, candidate: Candidate, parameters: int | None) -> str | None:
        """Why a candidate exceeds a limit, from what is known before loading it; None if nothing known does."""
        refused = self.license_refused(license_of(candidate))
        if refused is None and parameters is not None:
            refused = self.parameters_exceeded(parameters)
        return refused


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio < 100 else f"{ratio:,.0f} times"
