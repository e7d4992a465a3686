"""paired differences so far -> helps, harms, equivalent, undecidable or go on, look by look.

The functions depend on the differences alone: the same seeds give the same decisions, and a later
look never changes a decision. `docs/sequential.md` explains the rule and its measured error rates.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import WarminitError
from warminit.lab.sequential.decision import Decision, Outcome, Reason, Step
from warminit.lab.sequential.design import Design
from warminit.lab.sequential.replay import (
    EQUIVALENT,
    FAILED,
    HARMS,
    HELPS,
    OPEN,
    UNDECIDABLE,
    Counts,
    History,
    replay,
)

Values = NDArray[np.float64]
Arm = TypeVar("Arm", bound=Hashable)
_NAMES: dict[int, Outcome] = {
    OPEN: "go on",
    HELPS: "helps",
    HARMS: "harms",
    EQUIVALENT: "equivalent",
    UNDECIDABLE: "undecidable",
    FAILED: "undecidable",
}


def decide(design: Design, differences: Mapping[Arm, ArrayLike]) -> dict[Arm, Decision]:
    """Decide every comparison as far as its differences allow.

    A look takes place once every open comparison has its seeds. Seeds beyond a comparison's last
    look are not used.

    Args:
        design: Plan, chosen before the first run.
        differences: Paired differences by arm, in the order of the seeds, positive if the arm is
            better, NaN if a run of the pair failed. Differences after a NaN are not used.

    Returns:
        One decision per arm. Invariant: more seeds never change an outcome other than "go on".

    Raises:
        WarminitError: If there are more arms than the family or more seeds than the maximum. Also
            if a difference is infinite, or beyond the bound of betting.

    Example:
        >>> found = decide(
        ...     Design(family=2),
        ...     {"a": [0.012, 0.010, 0.013, 0.009, 0.011], "b": [0.01, -0.005, 0.02, 0.0, 0.01]},
        ... )
        >>> found["a"].outcome, found["b"].outcome
        ('helps', 'go on')
    """
    values, failed = padded(design, differences)
    history = replay(design, values, failed)
    return {arm: _decision(design, values[0], history, i) for i, arm in enumerate(differences)}


def padded(design: Design, differences: Mapping[Arm, ArrayLike]) -> tuple[Values, Counts]:
    """Check differences, and return them as one study for `replay`.

    Returns:
        The differences, shape (1, arms, max_seeds), NaN for a missing seed; and the number
        of pairs before the first failed one, shape (1, arms), `max_seeds` if none failed.
    """
    if not 1 <= len(differences) <= design.family:
        raise WarminitError(
            f"differences={list(differences)}: expected 1 to {design.family} arms, the design's"
            " family. Plan the family before the first run: Design(family=...)."
        )
    values = np.full((1, len(differences), design.max_seeds), np.nan)
    failed = np.full((1, len(differences)), design.max_seeds)
    for i, (arm, given) in enumerate(differences.items()):
        row = np.asarray(given, dtype=np.float64)
        if row.ndim != 1 or len(row) > design.max_seeds:
            raise WarminitError(
                f"differences[{arm!r}] has shape {row.shape}: expected at most"
                f" max_seeds={design.max_seeds} numbers. Pass the first {design.max_seeds} seeds."
            )
        if np.isinf(row).any():
            place = int(np.flatnonzero(np.isinf(row))[0])
            raise WarminitError(
                f"differences[{arm!r}][{place}]={row[place]}: expected a finite number, or NaN"
                " where a run of the pair failed. Pass float('nan') for a run that diverged."
            )
        if np.isnan(row).any():
            failed[0, i] = int(np.flatnonzero(np.isnan(row))[0])
            row = row[: failed[0, i]]
        values[0, i, : len(row)] = row
    return values, failed


def _decision(design: Design, values: Values, history: History, arm: int) -> Decision:
    outcome, looks = int(history.outcome[0, arm]), int(history.look[0, arm]) + 1
    reason: Reason = "failure" if outcome == FAILED else ""
    if outcome == UNDECIDABLE:
        reason = "maximum" if looks == len(design.looks) else "futility"
    path = tuple(
        _step(design, values[arm], history.evidence[:2, 0, arm, k], k, rank)
        for k in range(looks)
        for rank in [_rank(history, arm, k, equivalence=False)]
    )
    if not path:
        return Decision(_NAMES[outcome], reason, max_seeds=design.max_seeds)
    rank = _rank(history, arm, looks - 1, equivalence=outcome == EQUIVALENT)
    level, left = design.level(rank), design.family - rank
    rule, seen = design.rule, history.evidence[:, 0, arm, looks - 1]
    if outcome == EQUIVALENT:
        interval, confidence = _interval(design, values[arm], looks - 1, level), 1 - 2 * level
        p = rule.p_value(float(seen[2]), looks - 1) * left
    else:
        interval, confidence = path[-1].interval, path[-1].confidence
        p = 2 * rule.p_value(float(seen[:2].max()), looks - 1) * left
    return Decision(
        outcome=_NAMES[outcome],
        reason=reason,
        seeds=path[-1].seeds,
        look=looks,
        interval=interval,
        confidence=confidence,
        p=min(p, 1.0),
        max_seeds=design.max_seeds,
        path=path,
    )


def _rank(history: History, arm: int, k: int, *, equivalence: bool) -> int:
    """Count the comparisons that passed their level to this one before look k decided it (Holm)."""
    counts = history.equivalent if equivalence else history.different
    codes = (EQUIVALENT,) if equivalence else (HELPS, HARMS)
    decided_now = (history.look[0] == k) & np.isin(history.outcome[0], codes)
    if not decided_now[arm]:
        return int(counts[0, k])
    evidence = history.evidence[2:] if equivalence else history.evidence[:2]
    strength = evidence[:, 0, :, k].max(axis=0)
    stronger = decided_now & (strength > strength[arm])
    return int((counts[0, k - 1] if k else 0) + stronger.sum())


def _step(design: Design, values: Values, evidence: Values, k: int, rank: int) -> Step:
    level, seeds = design.level(rank), design.looks[k]
    helps, harms = (float(e) for e in evidence)
    return Step(
        seeds=seeds,
        mean=float(values[:seeds].mean()),
        evidence=helps if helps >= harms else -harms,
        boundary=float(design.rule.threshold(level / 2)[k]),
        interval=_interval(design, values, k, level / 2),
        confidence=1 - level,
    )


def _interval(design: Design, values: Values, k: int, one_sided: float) -> tuple[float, float]:
    rule = design.rule
    return rule.lower(values, k, one_sided), -rule.lower(-values, k, one_sided)
