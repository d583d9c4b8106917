from .estimator import Estimator as Estimator

__all__ = ["Estimator"]
