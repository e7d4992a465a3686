"""Compare initializers in a user's own train function: the same store, statistics and verdicts.

`compare_arms` plans and reports, `one_run` does one run, `source` reads the user's code.
"""

from warminit.lab.own_loop.compare_arms import compare
from warminit.lab.own_loop.one_run import Init, Train

__all__ = ["Init", "Train", "compare"]
