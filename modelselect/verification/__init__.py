"""How good is a candidate really: fine-tuning on the training rows, accuracy with an interval on held-out rows."""

from modelselect.verification.recipe import METHODS, FineTuning, Rates, check_method
from modelselect.verification.verifier import EpochProgress, Keep, Verified, verify, wilson_interval

__all__ = [
    "METHODS",
    "EpochProgress",
    "FineTuning",
    "Keep",
    "Rates",
    "Verified",
    "check_method",
    "verify",
    "wilson_interval",
]
