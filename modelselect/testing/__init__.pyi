from .classes import CommandTests as CommandTests
from .classes import EncoderTests as EncoderTests
from .classes import EstimatorTests as EstimatorTests
from .classes import ExecutorTests as ExecutorTests
from .classes import ExtractorTests as ExtractorTests
from .classes import PoolTests as PoolTests
from .classes import ProtocolTests as ProtocolTests
from .classes import ReportSectionTests as ReportSectionTests
from .classes import TaskTests as TaskTests
from .classes import ZooTests as ZooTests
from .commands import check_command as check_command
from .commands import command_checks as command_checks
from .costs import EstimatorCost as EstimatorCost
from .costs import EstimatorCosts as EstimatorCosts
from .costs import estimator_costs as estimator_costs
from .encoders import check_encoder as check_encoder
from .encoders import encoder_checks as encoder_checks
from .estimators import check_estimator as check_estimator
from .estimators import estimator_checks as estimator_checks
from .evidence import random_evidence as random_evidence
from .executors import check_executor as check_executor
from .executors import executor_checks as executor_checks
from .extractors import check_extractor as check_extractor
from .extractors import extractor_checks as extractor_checks
from .pools import check_pool as check_pool
from .pools import pool_checks as pool_checks
from .protocols import check_protocol as check_protocol
from .protocols import protocol_checks as protocol_checks
from .report_sections import check_report_section as check_report_section
from .report_sections import report_section_checks as report_section_checks
from .tasks import check_task as check_task
from .tasks import task_checks as task_checks
from .zoos import check_zoo as check_zoo
from .zoos import zoo_checks as zoo_checks

__all__ = [
    "CommandTests",
    "EncoderTests",
    "EstimatorCost",
    "EstimatorCosts",
    "EstimatorTests",
    "ExecutorTests",
    "ExtractorTests",
    "PoolTests",
    "ProtocolTests",
    "ReportSectionTests",
    "TaskTests",
    "ZooTests",
    "check_command",
    "check_encoder",
    "check_estimator",
    "check_executor",
    "check_extractor",
    "check_pool",
    "check_protocol",
    "check_report_section",
    "check_task",
    "check_zoo",
    "command_checks",
    "encoder_checks",
    "estimator_checks",
    "estimator_costs",
    "executor_checks",
    "extractor_checks",
    "pool_checks",
    "protocol_checks",
    "random_evidence",
    "report_section_checks",
    "task_checks",
    "zoo_checks",
]
