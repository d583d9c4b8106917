from .leaderboard import Leaderboard as Leaderboard
from .leaderboard import Row as Row

__all__ = [
    "Leaderboard",
    "Row",
]
