"""Compare arms at the same seeds, and state each result in one sentence.

This room has the statistics, verdicts, rows and sentences that every display shares. Import
`export`, which loads pandas, from its module.
"""

from warminit.lab.verdict.analysis import Analysis, analyse, read_analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.comparison import Comparison, Outcome
from warminit.lab.verdict.family import holm, holm_adjust
from warminit.lab.verdict.paired import compare_paired, relative_error_change

__all__ = [
    "Analysis",
    "Cell",
    "Comparison",
    "Outcome",
    "analyse",
    "compare_paired",
    "holm",
    "holm_adjust",
    "read_analysis",
    "relative_error_change",
]
