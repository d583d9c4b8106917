from .contrastive import InBatchNegatives as InBatchNegatives
from .counted import CountedMeasure as CountedMeasure
from .counted import CountedMetric as CountedMetric
from .counted import counted_right as counted_right
from .counted import most_frequent as most_frequent
from .counted import share as share
from .metrics import ACCURACY as ACCURACY
from .metrics import F1 as F1
from .metrics import MEAN_ABSOLUTE_ERROR as MEAN_ABSOLUTE_ERROR
from .metrics import MEAN_AVERAGE_PRECISION as MEAN_AVERAGE_PRECISION
from .metrics import MEAN_AVERAGE_PRECISION_2007 as MEAN_AVERAGE_PRECISION_2007
from .metrics import R2 as R2
from .metrics import SPEARMAN as SPEARMAN
from .metrics import Metric as Metric
from .objectives import BinaryCrossEntropy as BinaryCrossEntropy
from .objectives import CrossEntropy as CrossEntropy
from .objectives import Objective as Objective
from .objectives import SquaredError as SquaredError
from .one_vs_rest import OneVsRest as OneVsRest
from .ranking_metrics import NDCG as NDCG
from .ranking_metrics import RECALL as RECALL
from .ranking_metrics import QueryMetric as QueryMetric
from .task import Task as Task

__all__ = [
    "ACCURACY",
    "F1",
    "MEAN_ABSOLUTE_ERROR",
    "MEAN_AVERAGE_PRECISION",
    "MEAN_AVERAGE_PRECISION_2007",
    "NDCG",
    "R2",
    "RECALL",
    "SPEARMAN",
    "BinaryCrossEntropy",
    "CountedMeasure",
    "CountedMetric",
    "CrossEntropy",
    "InBatchNegatives",
    "Metric",
    "Objective",
    "OneVsRest",
    "QueryMetric",
    "SquaredError",
    "Task",
    "counted_right",
    "most_frequent",
    "share",
]
