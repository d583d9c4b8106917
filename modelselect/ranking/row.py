"""One candidate of a ranking, and the columns that a ranking has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.ranking.expectation import Expectation
from modelselect.utils.text import printable

FIRST_COLUMNS = ("rank", "candidate", "score")
EVIDENCE_COLUMNS = ("probability_best", "why")
"""These columns stand after `score` if the evidence about the candidates was weighed."""

COST_COLUMNS = (
    "latency_ms", "throughput", "memory_bytes", "training_memory_bytes", "license", "commercial_use", "download_bytes",
)  # fmt: skip
"""These columns stand before `seconds` if the costs of a candidate were measured."""

MEASURED_COLUMNS = ("latency_ms", "throughput", "memory_bytes", "training_memory_bytes")
"""These columns exist only if the user asked for them. A narrow terminal shows them before other columns."""

ZERO_SHOT_COLUMNS = ("zero_shot_accuracy",)
"""These columns stand before `brief_accuracy` if a candidate classifies without training."""

BRIEF_COLUMNS = ("brief_accuracy",)
"""These columns stand before `verified_accuracy` if a candidate was fine-tuned for one epoch."""

READING_COLUMNS = ("context_length", "languages")
"""These columns stand before `seconds` if zoos know them of a text encoder. They come from the metadata."""

LAST_COLUMNS = ("verified_accuracy", "parameters", "macs", "feature_dim", "seconds", "status")

COSTS = (
    "parameters", "macs", "feature_dim", "latency_ms", "memory_bytes", "training_memory_bytes", "download_bytes",
    "seconds",
)  # fmt: skip
"""The costs that quality can be compared with; less is better."""


MOST_MISTAKES = 60
"""Number of mistakes that a row names."""


@dataclass(frozen=True)
class RankedCandidate:
    """One candidate and what is known about it: rank, scores, costs, failures.

    Attributes:
        candidate: the candidate with its revision and metadata.
        rank: 1 is best; equal scores share a rank; None for a candidate that failed.
        score: the number that decides the rank; higher is better.
        standard_error: how much `score` would vary over other probes of this size; None if not measured.
        probability_best: probability that it is the best of the ranking after fine-tuning, by all evidence of the run.
        expectation: what all evidence says of its quality; None if it has no rank.
        predicted_rank: rank by score alone, before fine-tuning reordered the verified candidates.
        scores: the score of each estimator, by the estimator's name.
        standard_errors: the standard error of each estimator's score, by name, where it was measured.
        components: the components of each estimator's score, by the estimator's name.
        failures: why an estimator has no score for this candidate, by the estimator's name.
        failure: why the whole candidate failed.
        warnings: the warning that an estimator gave while it scored this candidate, by the estimator's name.
        verified_accuracy: accuracy on the held-out part after fine-tuning, from 0 to 1.
        verified_interval: the 95% interval of `verified_accuracy`.
        verified_metrics: every metric of the task on the same rows, by its name; empty for classification.
        brief_accuracy: accuracy after one epoch of fine-tuning, from 0 to 1, on training rows that the network had not
            trained on; None without `tune`.
        learning_curve: for each epoch of its fine-tuning, the number of the epoch, the mean cross-entropy while it
            trained, and the accuracy on rows that it had not trained on; None where that was not measured.
        confusion: of the best candidate, (class, predicted class, number of held-out rows) where there are any. The
            classes are numbers in the dataset's list of classes.
        mistakes: of the best candidate, (row, its name, class, predicted class) of held-out rows that were classified
            wrongly; at most `MOST_MISTAKES`.
        zero_shot_accuracy: accuracy on the probe's rows, from 0 to 1, of a model of images and texts that classifies by
            the names of the classes, without any training; None for other models.
        parameters: number of parameters.
        macs: multiply-accumulates for one input.
        feature_dim: width of the features.
        seconds: time that the candidate took when its results were first computed.
        embedding: its archi2vec vector.
        nearest: (candidate id, cosine similarity) of the most similar architectures in this ranking.
        cluster: number of its cluster among the architectures in this ranking.
        weights_key: digest of the weights that were ranked, where the candidate has no revision.
        latency_ms: milliseconds from one prepared row to its features, on this device; None if not measured.
        throughput: rows per second, in batches that fit.
        memory_bytes: size of the weights plus the peak memory for one row.
        training_memory_bytes: memory that fine-tuning takes at most, by the recipe and method of the run, as estimated
            from the architecture; None if nobody asked for costs.
        license: its licence, as its zoo reports it.
        commercial_use: whether the licence allows commercial use of a fine-tuned model; None if that is not known.
        download_bytes: bytes that a first download fetches, as its zoo reports it.
        probe_rows: number of rows that its scores come from, if a budget decided it; None: all rows of the probe.
        stopped: why a budget stopped it, so that it was shown fewer rows than others.
        fine_tuned: key of its fine-tuned weights in the store. Only the best candidate's weights are kept.
        fine_tuned_in: folder of that store, where it is not the user's default store.
    """

    candidate: Candidate
    rank: int | None = None
    score: float | None = None
    standard_error: float | None = None
    probability_best: float | None = None
    expectation: Expectation | None = None
    predicted_rank: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    components: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    failure: Failure | None = None
    warnings: Mapping[str, str] = field(default_factory=dict)
    verified_accuracy: float | None = None
    verified_interval: tuple[float, float] | None = None
    parameters: int | None = None
    macs: int | None = None
    feature_dim: int | None = None
    seconds: float = field(default=0.0, compare=False)
    embedding: tuple[float, ...] | None = None
    nearest: tuple[tuple[str, float], ...] = ()
    cluster: int | None = None
    weights_key: str | None = None
    latency_ms: float | None = field(default=None, compare=False)
    throughput: float | None = field(default=None, compare=False)
    memory_bytes: int | None = field(default=None, compare=False)
    license: str | None = None
    download_bytes: int | None = None
    probe_rows: int | None = None
    stopped: str | None = None
    fine_tuned: str | None = None
    fine_tuned_in: str | None = field(default=None, compare=False)
    brief_accuracy: float | None = None
    learning_curve: tuple[tuple[int, float, float | None], ...] = ()
    confusion: tuple[tuple[int, int, int], ...] = ()
    mistakes: tuple[tuple[int, str, int, int], ...] = ()
    training_memory_bytes: int | None = field(default=None, compare=False)
    commercial_use: bool | None = None
    zero_shot_accuracy: float | None = None
    verified_metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def why(self) -> str | None:
        """What each piece of evidence contributes to what is expected of it, the largest first; None for one piece."""
        pieces = {} if self.expectation is None else self.expectation.contributions
        if len(pieces) < 2:
            return None
        largest_first = sorted(pieces.items(), key=lambda item: -abs(item[1]))
        return ", ".join(f"{value:+.2f} {name}" for name, value in largest_first)

    def __repr__(self) -> str:
        known = [] if self.rank is None else [f"rank {self.rank}"]
        if self.score is not None:
            known.append(f"score {self.score:.4g}")
        if self.verified_accuracy is not None:
            known.append(f"verified {self.verified_accuracy:.1%}")
        return f"{type(self).__name__}({self.candidate.id}: {', '.join([*known, printable(self.status)])})"

    @property
    def status(self) -> str:
        """`ok`, or what failed and why, or why the candidate was shown fewer rows."""
        if self.failure is not None:
            return f"{'left out' if self.failure.stage == Stage.LIMIT else 'failed'}: {self.failure.reason}"
        reasons = [] if self.stopped is None else [self.stopped]
        reasons += [
            failure.reason if failure.reason.startswith(name) else f"{name}: {failure.reason}"
            for name, failure in self.failures.items()
        ]
        return "; ".join(reasons) or "ok"
