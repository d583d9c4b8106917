from .writing import KINDS as KINDS
from .writing import LICENSES as LICENSES
from .writing import write as write

__all__ = [
    "KINDS",
    "LICENSES",
    "write",
]
