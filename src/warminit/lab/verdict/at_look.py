"""metrics beside a sequential verdict -> their tests and levels, adjusted for the looks.

The primary metric decides when a comparison ends. A test that spends its level over all looks in
the same way is valid at the look where the comparison ended, however the metrics are correlated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from warminit.lab.runs.looks import Cell
from warminit.lab.sequential.boundaries import StudentLooks, spent
from warminit.lab.sequential.design import Design
from warminit.lab.study.study import Study
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.failures import Failures
from warminit.lab.verdict.family import holm
from warminit.lab.verdict.paired import compare_paired

ALPHA = 0.05


def adjusted_losses(
    study: Study,
    losses: Mapping[Cell, Mapping[int, float]],
    comparisons: Mapping[Cell, Comparison],
) -> dict[Cell, Comparison]:
    """Compare cross-entropy at the seeds of each primary comparison's last look.

    Args:
        study: Sequential study.
        losses: Cross-entropy by seed, for every arm that reports it.
        comparisons: Comparisons of the primary metric, each with its decision.

    Returns:
        The comparisons by data set, model and arm, with p and intervals adjusted for the looks, and
        Holm's p over all of them. Left out are comparisons without a look, with a failed run, or
        without cross-entropy, and every comparison by betting: cross-entropy has no bound.
    """
    design, found = study.design(), {}
    if design is None or design.method != "t" or study.metric == study.cross_entropy:
        return {}
    for cell, primary in comparisons.items():
        decision = primary.decision
        if decision is None or not decision.look or decision.reason == "failure":
            continue
        seeds = study.seeds[: decision.seeds]
        arm, baseline = (losses.get(each, {}) for each in (cell, (*cell[:2], study.baseline)))
        if all(seed in each for each in (arm, baseline) for seed in seeds):
            a, b = ([each[seed] for seed in seeds] for each in (arm, baseline))
            compared = compare_paired(
                a, b, arm=cell[2], baseline=study.baseline, margin=study.loss_margin,
                higher_is_better=False, unit="nats",
            )  # fmt: skip
            found[cell] = _at_look(compared, a, b, design)
    return dict(zip(found, holm(found.values()), strict=True))


def look_level(design: Design, n: int) -> float:
    """Return the two-sided level at `n` seeds that gives all looks together 0.05."""
    from scipy import stats

    k = _look(design, n)
    rule = StudentLooks(design.looks, design.max_seeds, design.gamma)
    return float(2 * stats.t.sf(rule.threshold(ALPHA / 2)[k], design.looks[k] - 1))


def adjusted_failures(design: Design, failures: Failures) -> Failures:
    """Divide the exact p by the share of the level that only this look may use."""
    k = _look(design, failures.n)
    share = np.diff(spent(design.looks, design.max_seeds, 1.0, gamma=design.gamma), prepend=0.0)[k]
    return replace(failures, p=min(1.0, failures.p / float(share)))


def without_fixed(comparison: Comparison) -> Comparison:
    """Return a comparison without the values that are valid for a fixed number of seeds only."""
    return replace(
        comparison,
        confidence_interval=None,
        equivalence_interval=None,
        p_one_sided=None,
        p_two_sided=None,
        p_sign_flip=None,
        sign_flip_method=None,
        p_wilcoxon=None,
        p_equivalence=None,
        p_noninferiority=None,
        p_holm=None,
        power=None,
        power_at=None,
        seeds_needed=None,
        seeds_to_decide=None,
    )


def _look(design: Design, n: int) -> int:
    """Return the index of the first look with at least `n` seeds."""
    return next(k for k, seeds in enumerate(design.looks) if seeds >= n)


def _at_look(
    comparison: Comparison, arm: Sequence[float], baseline: Sequence[float], design: Design
) -> Comparison:
    """Test a loss at the look with its seeds, in the same way as the primary metric."""
    bare = without_fixed(comparison)
    if not comparison.sd_difference:
        return bare  # one seed, or equal differences, give no evidence
    rule = StudentLooks(design.looks, design.max_seeds, design.gamma)
    k, gain = design.looks.index(comparison.n), np.asarray(baseline) - np.asarray(arm)

    def p(values: np.ndarray[tuple[int], np.dtype[np.float64]], null: float) -> float:
        return rule.p_value(float(rule.evidence(values, null)[k]), k)

    def ends(level: float) -> tuple[float, float]:
        return rule.lower(-gain, k, level), -rule.lower(gain, k, level)

    noninferior = p(gain, -comparison.margin)
    return replace(
        bare,
        confidence_interval=ends(ALPHA / 2),
        equivalence_interval=ends(ALPHA),
        p_two_sided=min(1.0, 2 * min(p(gain, 0.0), p(-gain, 0.0))),
        p_equivalence=max(noninferior, p(-gain, -comparison.margin)),
        p_noninferiority=noninferior,
    )
