"""Decide paired comparisons while their seeds are being run, with error rates that hold.

Pure functions of the differences, the same for one study and for 20,000 simulated ones; nothing
here knows of runs. The rule, its assumptions and its error rates are in `docs/sequential.md`. What
needs SciPy is imported from its module: runs come first.

    design.py      numbers chosen before the first run -> Design
    boundaries.py  looks, level -> how large a paired t must be at each look
    betting.py     bounded differences -> evidence without normality
    replay.py      many studies' differences -> what each look decided, in arrays
    decide.py      one study's differences -> a Decision for each comparison
"""

from warminit.lab.sequential.decision import Decision, Step
from warminit.lab.sequential.design import Design

__all__ = ["Decision", "Design", "Step"]
