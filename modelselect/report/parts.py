"""What a plugin's section is made of. The parts stand below the host; plugins find them here."""

from modelselect.ranking.blocks import (
    Axis,
    Block,
    Cell,
    Chart,
    Code,
    Column,
    Dot,
    Facts,
    Folded,
    Gallery,
    Interval,
    Intervals,
    Items,
    Line,
    Picture,
    Table,
    Text,
    column_of_names,
    column_of_texts,
)
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.report_section import ReportSection

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
