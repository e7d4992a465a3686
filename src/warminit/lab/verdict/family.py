"""comparisons of one study -> the same comparisons, corrected for their number (Holm)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from warminit.errors import unexpected
from warminit.lab.verdict.comparison import FEWEST_TO_PLAN, Comparison
from warminit.lab.verdict.tests import seeds_for_power


def holm(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Fill `p_holm` of a family of comparisons, from their two-sided p, and plan for its level.

    Args:
        comparisons: Comparisons of the family: every arm with its baseline in a study's primary
            metric.

    Returns:
        The same comparisons in the same order. A comparison without a p keeps None and does not
        count in the family. Invariant: p_two_sided <= p_holm <= 1. `seeds_to_decide` is for the
        level that the smallest p of so large a family must reach, alpha divided by its size.

    Source:
        Holm 1979. Written out, since the function of statsmodels collects garbage at each call.

    Example:
        >>> from warminit.lab.verdict.paired import compare_paired
        >>> c = compare_paired([0.92, 0.93, 0.94], [0.91, 0.90, 0.93], arm="a", baseline="b")
        >>> [round(x.p_holm, 4) for x in holm([c, c])]
        [0.2592, 0.2592]
    """
    family = tuple(comparisons)
    adjusted = holm_adjust([comparison.p_two_sided for comparison in family])
    size = sum(p is not None for p in adjusted)
    return tuple(_corrected(c, p, size) for c, p in zip(family, adjusted, strict=True))


def holm_adjust(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Correct p-values for their number by Holm's step-down rule.

    Args:
        p_values: P-values in [0, 1]; None for a comparison that could not be tested.

    Returns:
        The corrected p in the same order; a None stays None and does not count.

    Raises:
        WarminitError: If a p is outside [0, 1].

    Example:
        >>> [round(p, 4) for p in holm_adjust([0.0109, 0.0308, 0.0322, 0.0007, 0.0033])]
        [0.0327, 0.0616, 0.0616, 0.0035, 0.0132]
    """
    known = [p for p in p_values if p is not None]
    for p in known:
        if not 0 <= p <= 1:
            step = "Pass None for a comparison that could not be tested."
            raise unexpected("p_values", p, "a p from 0 to 1", step)
    order = np.argsort(known, kind="stable")
    raised = np.sort(known) * np.arange(len(known), 0, -1)
    adjusted = np.empty(len(known))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    corrected = iter(adjusted)
    return tuple(None if p is None else float(next(corrected)) for p in p_values)


def _corrected(comparison: Comparison, p: float | None, size: int) -> Comparison:
    c, plan = comparison, None
    if p is not None and c.seeds_to_decide is not None and c.sd_difference is not None:
        level = c.alpha / size
        plan = seeds_to_decide(abs(c.mean_difference), c.sd_difference, c.n, c.margin, level)
    return replace(c, p_holm=p, seeds_to_decide=plan)


def seeds_to_decide(
    observed: float, sd: float, n: int, margin: float, level: float
) -> dict[str, int | None] | None:
    """Return the number of seeds at which a two-sided t test finds each effect with 80 % power.

    Return None below four seeds: their spread is too uncertain.
    """
    if n < FEWEST_TO_PLAN:
        return None
    effects = {"observed": observed, "margin": margin}
    return {name: seeds_for_power(e, sd, alpha=level / 2) for name, e in effects.items()}
