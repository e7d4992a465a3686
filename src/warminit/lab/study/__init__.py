"""Define a study: data sets x models x arms x seeds and one protocol, validated.

Nothing here loads torch or decides how the runs are executed.
"""

from warminit.lab.study.protocol import Protocol, learning_rates
from warminit.lab.study.spec import ArmSpec, RunSpec
from warminit.lab.study.study import METRICS, PAPER_SEEDS, Study, default_seeds

__all__ = [
    "METRICS",
    "PAPER_SEEDS",
    "ArmSpec",
    "Protocol",
    "RunSpec",
    "Study",
    "default_seeds",
    "learning_rates",
]
