"""seed -> differences of sequential studies, and a check of how often they err."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from warminit.lab.sequential.design import Design
from warminit.lab.sequential.replay import HARMS, HELPS, History, replay

Values = NDArray[np.float64]


def draw(studies: int, family: int, effect: float, seed: int, max_seeds: int = 18) -> Values:
    """(studies, family, max_seeds) normal differences of spread 1."""
    return np.random.default_rng(seed).normal(effect, 1.0, (studies, family, max_seeds))


def found(history: History) -> Any:
    """Whether each comparison of each study helps or harms."""
    return np.isin(history.outcome, (HELPS, HARMS))


def errs_at_most(design: Design, differences: Values, level: float) -> bool:
    """Whether the share of studies without an effect that find any is at most the level."""
    wrong = found(replay(design, differences)).any(axis=1)
    test = stats.binomtest(int(wrong.sum()), wrong.size, level, alternative="greater")
    return bool(test.pvalue > 1e-4)
