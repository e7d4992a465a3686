"""Compare initializers in a user's train function, with the same store and statistics.

`compare_arms` plans and reports, `one_run` executes one run, `source` reads the user's code.
"""

from warminit.lab.own_loop.compare_arms import compare
from warminit.lab.own_loop.one_run import Init, Train

__all__ = ["Init", "Train", "compare"]
