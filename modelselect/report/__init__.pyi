from .parts import Axis as Axis
from .parts import Block as Block
from .parts import Cell as Cell
from .parts import Chart as Chart
from .parts import Code as Code
from .parts import Column as Column
from .parts import Dot as Dot
from .parts import Facts as Facts
from .parts import Folded as Folded
from .parts import Gallery as Gallery
from .parts import Interval as Interval
from .parts import Intervals as Intervals
from .parts import Items as Items
from .parts import Line as Line
from .parts import Picture as Picture
from .parts import Ranking as Ranking
from .parts import ReportSection as ReportSection
from .parts import Table as Table
from .parts import Text as Text
from .parts import column_of_names as column_of_names
from .parts import column_of_texts as column_of_texts

__all__ = [
    "Axis",
    "Block",
    "Cell",
    "Chart",
    "Code",
    "Column",
    "Dot",
    "Facts",
    "Folded",
    "Gallery",
    "Interval",
    "Intervals",
    "Items",
    "Line",
    "Picture",
    "Ranking",
    "ReportSection",
    "Table",
    "Text",
    "column_of_names",
    "column_of_texts",
]
