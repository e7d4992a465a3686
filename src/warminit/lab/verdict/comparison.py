"""numbers of one paired comparison -> Comparison, which says its verdict in one sentence.

`statistics.py` fills it; the verdict's rule in plain words is in `docs/statistics.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from warminit.lab.verdict.tests import MAX_SEEDS, FlipMethod

#: Differences that a study plans for, in the metric's unit: 0.1, 0.2 and 0.5 points of accuracy.
EFFECTS = (0.001, 0.002, 0.005)
#: The effect that an undecided verdict plans for.
PLANNED_EFFECT = 0.002

Outcome = Literal["helps", "harms", "equivalent", "undecided", "not tested"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against its baseline at the same seeds.

    Differences are arm minus baseline in the metric's own unit (accuracy: 0 to 1). One-sided p are
    for "the arm is better", as the paper's. What cannot be computed is None, never NaN, and `note`
    says why. Invariant: wins + ties + losses = n.
    """

    arm: str
    baseline: str
    n: int
    mean_arm: float
    mean_baseline: float
    mean_difference: float
    wins: int
    ties: int
    losses: int
    margin: float
    alpha: float
    higher_is_better: bool
    unit: str
    sd_arm: float | None = None  # sample standard deviations, n - 1
    sd_baseline: float | None = None
    sd_difference: float | None = None
    confidence_interval: tuple[float, float] | None = None  # of the mean difference, 1 - alpha
    p_one_sided: float | None = None  # paired t, as are the two-sided p and the margin's
    p_two_sided: float | None = None
    p_sign_flip: float | None = None  # one-sided
    sign_flip_method: FlipMethod | None = None
    p_wilcoxon: float | None = None  # one-sided
    relative_error_reduction: float | None = None  # positive where the arm makes fewer errors
    cohens_d: float | None = None  # paired, with the sign of mean_difference
    correlation: float | None = None  # of the two arms over the seeds
    power: float | None = None  # one-sided at alpha, at the observed effect and spread
    power_at: Mapping[float, float] | None = None  # effect -> power with these n seeds
    seeds_needed: Mapping[float, int | None] | None = None  # effect -> seeds; None: over a million
    p_equivalence: float | None = None
    p_noninferiority: float | None = None
    p_holm: float | None = None  # two-sided, filled by `holm`
    note: str = ""

    @property
    def outcome(self) -> Outcome:
        """The verdict in one word, by the rule of docs/statistics.md."""
        decisive = self.p_two_sided if self.p_holm is None else self.p_holm
        if decisive is None or self.p_equivalence is None:
            return "not tested"
        if decisive < self.alpha:
            return "helps" if (self.mean_difference > 0) is self.higher_is_better else "harms"
        return "equivalent" if self.p_equivalence < self.alpha else "undecided"

    @property
    def verdict(self) -> str:
        """The verdict as one plain sentence with its numbers."""
        seeds = f"{self.n} seed{'s' if self.n > 1 else ''}"
        if self.confidence_interval is None or self.p_equivalence is None:
            return (
                f"{self.arm} against {self.baseline}: {self._signed(self.mean_difference)}"
                f" with {seeds}, not tested ({self.note.rstrip('.')})."
            )
        low, high = self.confidence_interval
        size = (
            f"{self._signed(self.mean_difference)} ({100 * (1 - self.alpha):g} % interval"
            f" {self._signed(low, unit=False)} to {self._signed(high, unit=False)})"
        )
        if self.p_holm is None:
            p = f"two-sided p {_p(self.p_two_sided)}, not corrected for other comparisons"
        else:
            p = f"Holm p {_p(self.p_holm)}"
        within = f"within {self._size(self.margin)}"
        tost = f"TOST p {_p(self.p_equivalence)}"
        if self.outcome in {"helps", "harms"}:
            both = (
                f"; the difference is real but lies {within} ({tost})"
                if self.p_equivalence < self.alpha
                else ""
            )
            return f"{self.arm} {self.outcome}: {size} over {self.baseline}, {seeds}, {p}{both}."
        if self.outcome == "equivalent":
            return (
                f"{self.arm} and {self.baseline} are equivalent {within}: {size}, {seeds}, {tost}."
            )
        return (
            f"no detectable difference between {self.arm} and {self.baseline} with {seeds}:"
            f" {size}, {p}; {self._plan()}."
        )

    def _plan(self) -> str:
        needed = self.seeds_needed or {}
        seen = [e for e in EFFECTS if (needed.get(e) or MAX_SEEDS + 1) <= self.n]
        unseen = [e for e in EFFECTS if e not in seen]
        # The planned effect while it is out of reach, afterwards the next smaller one.
        target = PLANNED_EFFECT if PLANNED_EFFECT in unseen else max(unseen, default=None)
        reach = f"{self.n} seeds suffice to see {self._size(min(seen))}" if seen else ""
        if target is None:
            return reach
        count = needed.get(target)
        wanted = f"more than {MAX_SEEDS:,}" if count is None else f"about {count:,}"
        plan = f"{wanted} seeds would be needed to see {self._size(target)}"
        return f"{reach}, and {plan}" if PLANNED_EFFECT in seen else plan

    def _signed(self, value: float, *, unit: bool = True) -> str:
        text = f"{100 * value:+.2f}" if self.unit == "points" else f"{value:+.4g}"
        text = "+" + text[1:] if float(text) == 0 else text
        return f"{text} {self.unit}".rstrip() if unit else text

    def _size(self, value: float) -> str:
        return f"{100 * value if self.unit == 'points' else value:g} {self.unit}".rstrip()


def _p(p: float | None) -> str:
    """Write a p as Table 3 does, four digits."""
    if p is None:
        return "unknown"
    return f"{p:.4f}" if p >= 0.0001 else "below 0.0001"
