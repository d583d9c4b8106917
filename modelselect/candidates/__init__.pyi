from .backbone import Backbone as Backbone
from .candidate import Candidate as Candidate
from .expression import Expression as Expression
from .metadata import METADATA_FIELDS as METADATA_FIELDS
from .zoo import Zoo as Zoo

__all__ = [
    "METADATA_FIELDS",
    "Backbone",
    "Candidate",
    "Expression",
    "Zoo",
]
