from .backbone import Backbone as Backbone
from .backbone import Outputs as Outputs
from .backbone import Preprocessing as Preprocessing
from .backbone import Reader as Reader
from .candidate import Candidate as Candidate
from .expression import Expression as Expression
from .inspection import reader_for as reader_for
from .metadata import METADATA_FIELDS as METADATA_FIELDS
from .metadata import TEXT_FIELDS as TEXT_FIELDS
from .modules import weights_digest as weights_digest
from .pools import Pool as Pool
from .preprocessing import ImagePreprocessing as ImagePreprocessing
from .preprocessing import TextPreprocessing as TextPreprocessing
from .zoo import Zoo as Zoo

__all__ = [
    "METADATA_FIELDS",
    "TEXT_FIELDS",
    "Backbone",
    "Candidate",
    "Expression",
    "ImagePreprocessing",
    "Outputs",
    "Pool",
    "Preprocessing",
    "Reader",
    "TextPreprocessing",
    "Zoo",
    "reader_for",
    "weights_digest",
]
