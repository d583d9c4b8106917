from .database import default_path as default_path
from .history import History as History
from .importers import import_csv as import_csv
from .importers import import_timm as import_timm
from .model_cards import mine as mine
from .records import ACCURACY as ACCURACY
from .records import Added as Added
from .records import Result as Result
from .view import HistoryView as HistoryView

__all__ = [
    "ACCURACY",
    "Added",
    "History",
    "HistoryView",
    "Result",
    "default_path",
    "import_csv",
    "import_timm",
    "mine",
]
