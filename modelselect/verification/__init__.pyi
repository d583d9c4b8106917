from .dynamics import TrainingDynamics as TrainingDynamics
from .dynamics import neural_collapse as neural_collapse
from .judging import wilson_interval as wilson_interval
from .model import Model as Model
from .prediction import Prediction as Prediction
from .prediction import Predictions as Predictions
from .recipe import METHODS as METHODS
from .recipe import FineTuning as FineTuning
from .recipe import Rates as Rates
from .recipe import check_method as check_method
from .results import Verified as Verified
from .verifier import EpochProgress as EpochProgress
from .verifier import Keep as Keep
from .verifier import verify as verify

__all__ = [
    "METHODS",
    "EpochProgress",
    "FineTuning",
    "Keep",
    "Model",
    "Prediction",
    "Predictions",
    "Rates",
    "TrainingDynamics",
    "Verified",
    "check_method",
    "neural_collapse",
    "verify",
    "wilson_interval",
]
