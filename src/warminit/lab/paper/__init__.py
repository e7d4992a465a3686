"""Compare a study with the paper's figures, cell by cell.

`published` has the printed figures with their known errors; each other module has one of the
paper's tables. The terminal prints them.
"""

from warminit.lab.paper.published import ERRATA, TABLE_2, TABLE_3, Erratum, erratum
from warminit.lab.paper.reproduce import Candidate, Figure, find_candidates, paper_datasets

__all__ = [
    "ERRATA",
    "TABLE_2",
    "TABLE_3",
    "Candidate",
    "Erratum",
    "Figure",
    "erratum",
    "find_candidates",
    "paper_datasets",
]
