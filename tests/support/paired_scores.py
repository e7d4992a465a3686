"""seed -> scores of two arms, and the comparison of them, for the tests of the statistics."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.lab.verdict.paired import compare_paired

Values = NDArray[np.float64]
Pair = tuple[Values, Values]

# SciPy and the code under test sum in different orders; twelve digits are left.
EXACT: dict[str, Any] = {"rel": 1e-10, "abs": 1e-12}


def compare(arm: ArrayLike, baseline: ArrayLike, **options: Any) -> Any:
    return compare_paired(
        arm, baseline, **{"arm": "prewarm", "baseline": "torch-default"} | options
    )


def draw(n: int, *, effect: float = 0.0, seed: int = 0, sd: float = 0.005) -> Pair:
    """Two correlated arms around 0.9: the seed's own luck is shared, the rest is each arm's."""
    rng = np.random.default_rng(seed)
    luck = rng.normal(0.9, 0.004, n)
    arm, baseline = rng.normal(0.0, sd / math.sqrt(2), (2, n))
    return luck + effect + arm, luck + baseline
