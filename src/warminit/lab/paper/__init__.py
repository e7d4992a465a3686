"""Set a study beside the paper's own figures, cell by cell.

`published` has what the paper prints, with its known errors; the other modules each have one of its
tables. Nothing here prints: the terminal does.
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
