from .protocol import Architectures as Architectures
from .protocol import Experiment as Experiment
from .protocol import Method as Method
from .protocol import Protocol as Protocol
from .protocol import Published as Published
from .protocol import Training as Training
from .protocol import TruthTable as TruthTable
from .reading import read_protocols as read_protocols
from .reading import read_truths as read_truths

__all__ = [
    "Architectures",
    "Experiment",
    "Method",
    "Protocol",
    "Published",
    "Training",
    "TruthTable",
    "read_protocols",
    "read_truths",
]
