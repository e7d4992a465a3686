"""Execute many runs, in processes on this machine or on a Ray cluster, and store each at once.

The driver plans the missing runs and stores their results. An engine executes them; a dead worker
costs one run.
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
