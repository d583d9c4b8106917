from .leaderboard import Leaderboard as Leaderboard
from .row import Row as Row

__all__ = [
    "Leaderboard",
    "Row",
]
