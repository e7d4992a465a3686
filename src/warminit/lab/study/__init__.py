"""Say what is to be run: data sets x models x arms x seeds, one protocol, validated.

Nothing here loads torch, and nothing says how the runs are done.
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
