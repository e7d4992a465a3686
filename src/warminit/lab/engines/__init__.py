"""Do many runs, in processes on this machine or on a Ray cluster, and store each at once.

The driver knows what is missing and keeps it; an engine does the runs, and a dead worker costs one.
"""

from warminit.lab.engines.driver import Listener, finished_runs, plan, run_study
from warminit.lab.engines.job import DataSource, Outcome
from warminit.lab.engines.options import EngineOptions

__all__ = [
    "DataSource",
    "EngineOptions",
    "Listener",
    "Outcome",
    "finished_runs",
    "plan",
    "run_study",
]
