"""Decide paired comparisons while their seeds still run, with controlled error rates.

The functions depend on the differences alone, and serve one study or 20,000 simulated ones.
`docs/sequential.md` explains the rule, its assumptions and its error rates. Functions that need
SciPy are imported from their modules, so that a run need not load it.

    design.py      numbers chosen before the first run -> Design
    boundaries.py  looks, level -> the paired t that rejects at each look
    betting.py     bounded differences -> evidence without normality
    replay.py      many studies' differences -> the decisions of each look, in arrays
    decide.py      one study's differences -> a Decision for each comparison
"""

from warminit.lab.sequential.decision import Decision, Step
from warminit.lab.sequential.design import Design

__all__ = ["Decision", "Design", "Step"]
