from .probe import Probe as Probe

__all__ = [
    "Probe",
]
