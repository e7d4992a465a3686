"""a design, paired differences of many studies -> the decisions of each look, in arrays.

`decide.decide` replays one study and `tools/sequential_tables.py` 20,000 with the same code.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from warminit.lab.sequential.betting import BettingLooks
from warminit.lab.sequential.boundaries import StudentLooks, normal_score
from warminit.lab.sequential.design import Design

Values = NDArray[np.float64]
Counts = NDArray[np.int64]
Marks = NDArray[np.bool_]

OPEN, HELPS, HARMS, EQUIVALENT, UNDECIDABLE, FAILED = range(6)


@dataclass(frozen=True, slots=True)
class History:
    """Hold the decisions in many studies of one design.

    Attributes:
        outcome: Outcomes, shape (studies, arms), OPEN to FAILED.
        look: Index of the last look, shape (studies, arms), -1 before the first.
        different: Number of comparisons that help or harm after each look, shape (studies, looks).
        equivalent: Number of comparisons within the margin after each look, shape (studies, looks).
        evidence: Evidence for helps, harms and equivalence, shape (3, studies, arms, looks).
    """

    outcome: Counts
    look: Counts
    different: Counts
    equivalent: Counts
    evidence: Values


def replay(design: Design, differences: Values, failed: Counts | None = None) -> History:
    """Replay studies through a design, look by look.

    Args:
        design: Plan of the studies.
        differences: Paired differences, shape (studies, arms, max_seeds), positive if the arm is
            better; NaN after an arm's last seed.
        failed: Number of pairs before the first failed run, shape (studies, arms), `max_seeds` if
            none failed; None: no run failed. A comparison with a failed run ends undecided, before
            the first look that needs the pair: the surviving seeds alone would be biased.

    Returns:
        The history. Invariant: more seeds change no outcome other than OPEN.
    """
    rule, student = design.rule, StudentLooks(design.looks, design.max_seeds, design.gamma)
    evidence = _evidence(rule, differences, design.margin)
    t = evidence if design.method == "t" else _evidence(student, differences, design.margin)
    # Row r: the boundaries after r comparisons have passed their level to the others.
    levels = [design.level(decided) for decided in range(design.family + 1)]
    to_differ = np.array([rule.threshold(level / 2) for level in levels])
    to_agree = np.array([rule.threshold(level) for level in levels])
    last_t = np.array(
        [[student.threshold(level / side)[-1] for level in levels] for side in (2, 1)]
    )

    outcome = np.full(differences.shape[:2], OPEN)
    failed = np.full(outcome.shape, design.max_seeds) if failed is None else failed
    look = np.full(outcome.shape, -1)
    different = np.zeros((len(outcome), len(design.looks)), dtype=np.int64)
    equivalent = np.zeros_like(different)
    for k, seeds in enumerate(design.looks):
        is_open = outcome == OPEN
        ends = failed < seeds
        ready = ends | ~np.isnan(differences[..., seeds - 1])
        is_open &= (~is_open | ready).all(axis=1, keepdims=True)
        outcome[is_open & ends] = FAILED
        is_open &= ~ends
        look[is_open] = k
        helps, harms, agrees = evidence[..., k]
        decided = _count(outcome, HELPS, HARMS)
        crossed = _step_down(np.maximum(helps, harms), is_open, decided, to_differ[:, k])
        outcome[crossed] = np.where(helps > harms, HELPS, HARMS)[crossed]
        is_open &= ~crossed
        decided = _count(outcome, EQUIVALENT)
        within = _step_down(agrees, is_open, decided, to_agree[:, k])
        outcome[within] = EQUIVALENT
        is_open &= ~within
        different[:, k] = _count(outcome, HELPS, HARMS)
        equivalent[:, k] = _count(outcome, EQUIVALENT)
        if seeds == design.max_seeds:
            outcome[is_open] = UNDECIDABLE
        elif design.futility > 0:
            to_come = _predictive_score(
                np.stack([np.maximum(t[0, ..., k], t[1, ..., k]), t[2, ..., k]]),
                np.stack([last_t[0][different[:, k]], last_t[1][equivalent[:, k]]])[..., None],
                seeds,
                design.max_seeds,
            )
            hopeless = (to_come < stats.norm.ppf(design.futility)).all(axis=0)
            outcome[is_open & hopeless] = UNDECIDABLE
    return History(outcome, look, different, equivalent, evidence)


def _evidence(rule: StudentLooks | BettingLooks, differences: Values, margin: float) -> Values:
    within = np.minimum(rule.evidence(differences, -margin), rule.evidence(-differences, -margin))
    return np.stack([rule.evidence(differences, 0.0), rule.evidence(-differences, 0.0), within])


def _count(outcome: Counts, *which: int) -> Counts:
    return np.asarray(np.isin(outcome, which).sum(axis=1))


def _step_down(evidence: Values, is_open: Marks, decided: Counts, boundary: Values) -> Marks:
    """Mark evidence that crosses its boundary; each crossing lowers the boundary of the others."""
    crossed = np.zeros_like(is_open)
    while True:
        reached = evidence >= boundary[decided + crossed.sum(axis=1)][:, None]
        more = is_open & ~crossed & reached
        if not more.any():
            return crossed
        crossed |= more


def _predictive_score(t: Values, last_t: Values, seeds: int, max_seeds: int) -> Values:
    """Compute the normal score of the probability that t at the last look exceeds `last_t`.

    This is the conditional power, averaged over the distribution of the effect so far. The score at
    the last look is normal around z / sqrt(f), with variance (1 - f) / f, where f is the share of
    the seeds.
    """
    share = seeds / max_seeds
    expected = normal_score(t, seeds) / math.sqrt(share)
    missing = expected - normal_score(last_t, max_seeds)
    return np.asarray(missing * math.sqrt(share / (1 - share)))
