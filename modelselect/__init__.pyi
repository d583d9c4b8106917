from . import archi2vec as archi2vec
from . import errors as errors
from . import testing as testing
from .agreement import Agreement as Agreement
from .agreement import agreement as agreement
from .benchmarking.benchmark import Benchmark as Benchmark
from .benchmarking.running import benchmark as benchmark
from .budget.budget import Budget as Budget
from .candidates.backbone import Backbone as Backbone
from .candidates.candidate import Candidate as Candidate
from .candidates.zoo import Zoo as Zoo
from .estimators.estimator import Estimator as Estimator
from .evaluation.features import features as features
from .evidence.evidence import Evidence as Evidence
from .executor import Executor as Executor
from .executor import Outcome as Outcome
from .extraction.extractor import Extractor as Extractor
from .history.history import History as History
from .host.hookspecs import CONTRACT as CONTRACT
from .host.hookspecs import hookimpl as hookimpl
from .host.lookup import pools as pools
from .host.lookup import search as search
from .leaderboard.leaderboard import Leaderboard as Leaderboard
from .probe.probe import Probe as Probe
from .reproducing.reproduction import Reproduction as Reproduction
from .reproducing.running import reproduce as reproduce
from .scoring import score as score
from .scoring import score_pool as score_pool
from .scoring import standard_error as standard_error
from .selection.funnel import select as select
from .selection.plan import Plan as Plan
from .selection.planning import plan as plan
from .tasks.task import Task as Task
from .verification.model import load as load
from .verification.recipe import FineTuning as FineTuning

__version__: str

__all__ = [
    "CONTRACT",
    "Agreement",
    "Backbone",
    "Benchmark",
    "Budget",
    "Candidate",
    "Estimator",
    "Evidence",
    "Executor",
    "Extractor",
    "FineTuning",
    "History",
    "Leaderboard",
    "Outcome",
    "Plan",
    "Probe",
    "Reproduction",
    "Task",
    "Zoo",
    "agreement",
    "archi2vec",
    "benchmark",
    "errors",
    "features",
    "hookimpl",
    "load",
    "plan",
    "pools",
    "reproduce",
    "score",
    "score_pool",
    "search",
    "select",
    "standard_error",
    "testing",
]
