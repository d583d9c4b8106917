"""Limits: what a candidate may cost at most, what it has to read, and under which licences it may come."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from modelselect.candidates.candidate import Candidate, context_length_of, languages_of, license_of
from modelselect.candidates.licenses import CLASSES, why_not_in_class
from modelselect.errors import InvalidInputError
from modelselect.utils.text import in_bytes


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost at most. A candidate over a limit gets no rank; its status gives the reason.

    Attributes:
        max_parameters: number of parameters.
        max_latency_ms: milliseconds for one row on this device.
        license: globs, or names of `CLASSES`; the licence has to match one of them, in upper or lower case. Empty: any
            licence, or none.
        min_context_length: tokens; texts of this length have to be read whole.
        language: codes such as "de"; the candidate has to be for each of them. Empty: any.
        max_training_memory: bytes that fine-tuning may take.

    >>> limits = Limits.of(max_parameters=1_000_000, license="cc-by*")
    >>> limits.parameters_exceeded(2_500_000)
    '2,500,000 parameters, 2.5 times max_parameters=1,000,000'
    >>> limits.license_refused("CC-BY-4.0"), limits.license_refused("mit")
    (None, "the licence is 'mit'; allowed: cc-by*")
    """

    max_parameters: int | None = None
    max_latency_ms: float | None = None
    license: tuple[str, ...] = ()
    min_context_length: int | None = None
    language: tuple[str, ...] = ()
    max_training_memory: int | None = None

    @classmethod
    def of(
        cls,
        max_parameters: int | None = None,
        max_latency_ms: float | None = None,
        license: str | Sequence[str] | None = None,
        min_context_length: int | None = None,
        language: str | Sequence[str] | None = None,
        max_training_memory: int | None = None,
    ) -> Limits:
        """Checked limits.

        Raises:
            InvalidInputError: a limit is not a positive number, or a licence or a language is not a text.
        """
        numbers = {
            "max_parameters": max_parameters,
            "max_latency_ms": max_latency_ms,
            "min_context_length": min_context_length,
            "max_training_memory": max_training_memory,
        }
        for name, limit in numbers.items():
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
                raise InvalidInputError(f"{name} is {limit!r}; expected a number above 0, or None for no limit")
        return cls(
            max_parameters,
            max_latency_ms,
            _texts("license", license, "'apache-2.0', 'cc-by*', 'commercial' or a list of such globs"),
            min_context_length,
            _texts("language", language, "a code such as 'de', or a list of such codes"),
            max_training_memory,
        )

    def __bool__(self) -> bool:
        return self != Limits()

    def __str__(self) -> str:
        """`max_parameters=1000000, license=mit`."""
        given = {k: ",".join(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v}
        if self.max_training_memory is not None:
            given["max_training_memory"] = in_bytes(self.max_training_memory)
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

    def training_memory_exceeded(self, training: str, needed: int, *, or_more: bool = False) -> str | None:
        """Why fine-tuning takes more memory than the limit; None if it does not.

        Args:
            training: what is trained and how, in words.
            needed: bytes.
            or_more: whether that is only the least that it takes.
        """
        if self.max_training_memory is None or needed <= self.max_training_memory:
            return None
        excess, limit = _times(needed / self.max_training_memory), in_bytes(self.max_training_memory)
        least = "at least " if or_more else ""
        return f"{training} takes {least}{in_bytes(needed)}, {excess} max_training_memory={limit}"

    def license_refused(self, license: str | None) -> str | None:
        """Why the licence is refused; None if it is allowed."""
        if not self.license:
            return None
        classes = [name for name in self.license if name.lower() in CLASSES]
        missed = [why_not_in_class(license, name.lower()) for name in classes]
        globs = [glob for glob in self.license if glob not in classes]
        named = license is not None and any(fnmatch.fnmatchcase(license.lower(), glob.lower()) for glob in globs)
        if named or None in missed:
            return None
        allowed = ", ".join(self.license)
        if missed:
            return f"{missed[0]}; allowed: {allowed}"
        if license is None:
            return f"the licence is unknown; allowed: {allowed}"
        near = next((glob for glob in globs if license.lower().startswith(glob.lower())), None)
        hint = "" if near is None else f"; did you mean '{near}*'?"
        return f"the licence is {license!r}; allowed: {allowed}{hint}"

    def reading_refused(self, candidate: Candidate) -> str | None:
        """Why the candidate cannot read the texts that are asked for; None if it can, or if none are asked for."""
        if self.min_context_length is None and not self.language:
            return None
        if candidate.metadata.get("modality") == "image":
            return "it reads images, which have neither a length in tokens nor a language"
        length, least = context_length_of(candidate), self.min_context_length
        if least is not None and (length is None or length < least):
            known = "the length of text that it takes is unknown" if length is None else f"it takes {length:,} tokens"
            return f"{known}; asked for: min_context_length={least:,}"
        spoken = {code.lower() for code in languages_of(candidate)}
        missing = [code for code in self.language if code.lower() not in spoken | {s.split("-")[0] for s in spoken}]
        if not missing:
            return None
        known = f"its languages are {', '.join(sorted(spoken))}" if spoken else "its languages are unknown"
        if spoken == {"multilingual"}:
            known = "it says 'multilingual', and does not name its languages"
        return f"{known}; asked for: {', '.join(self.language)}"

    def exceeded_before_loading(self, candidate: Candidate, parameters: int | None) -> str | None:
        """Why a candidate exceeds a limit, from what is known before loading it; None if nothing known does."""
        refused = self.license_refused(license_of(candidate)) or self.reading_refused(candidate)
        if refused is None and parameters is not None:
            refused = self.parameters_exceeded(parameters)
        return refused


def _texts(name: str, given: str | Sequence[str] | None, expected: str) -> tuple[str, ...]:
    texts = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(text, str) and text.strip() for text in texts) or (given is not None and not texts):
        raise InvalidInputError(f"{name} is {given!r}; expected {expected}")
    return tuple(text.strip() for text in texts)


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio < 100 else f"{ratio:,.0f} times"
