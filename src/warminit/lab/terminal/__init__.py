"""Show the progress and the results of a study on a terminal.

Tables and sentences come from the rows of `verdict`; Rich lays them out.
"""

from warminit.lab.terminal.display import print_analysis
from warminit.lab.terminal.progress import live_progress, loading_progress

__all__ = ["live_progress", "loading_progress", "print_analysis"]
