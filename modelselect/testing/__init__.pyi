from .estimators import check_estimator as check_estimator
from .estimators import estimator_checks as estimator_checks
from .extractors import check_extractor as check_extractor
from .extractors import extractor_checks as extractor_checks
from .zoos import check_zoo as check_zoo
from .zoos import zoo_checks as zoo_checks

__all__ = [
    "check_estimator",
    "check_extractor",
    "check_zoo",
    "estimator_checks",
    "extractor_checks",
    "zoo_checks",
]
