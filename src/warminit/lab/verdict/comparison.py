"""numbers of one paired comparison -> Comparison, which states its verdict in one sentence.

`paired.py` fills it; `docs/statistics.md` explains the rule of the verdict.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from warminit.lab.sequential.decision import Decision
from warminit.lab.verdict.decided import decided_sentence
from warminit.lab.verdict.scale import p_text, scale_for
from warminit.lab.verdict.tests import MAX_SEEDS, FlipMethod
from warminit.layout import Layout, Tabled

#: Differences that a study plans for, in the metric's unit: 0.1, 0.2 and 0.5 points of accuracy.
EFFECTS = (0.001, 0.002, 0.005)
#: Fewest seeds from which the number of needed seeds is estimated; below, the spread is too vague.
FEWEST_TO_PLAN = 4
#: From this many margins on, the plan covers the observed difference alone.
FAR = 10

Outcome = Literal["helps", "harms", "equivalent", "undecided", "not tested"]


@dataclass(frozen=True, slots=True)
class Comparison(Tabled):
    """Hold the comparison of one arm with its baseline at the same seeds.

    Differences are arm minus baseline in the metric's unit (accuracy: 0 to 1). One-sided p have the
    alternative "the arm is better", as in the paper. A value that cannot be computed is None, never
    NaN, and `note` says why. Invariant: wins + ties + losses = n.
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
    equivalence_interval: tuple[float, float] | None = None  # the same, 1 - 2 alpha, for TOST
    p_one_sided: float | None = None  # paired t, as are the two-sided p and the margin's
    p_two_sided: float | None = None
    p_sign_flip: float | None = None  # one-sided
    sign_flip_method: FlipMethod | None = None
    p_wilcoxon: float | None = None  # one-sided
    relative_error_reduction: float | None = None  # positive if the arm makes fewer errors
    cohens_d: float | None = None  # paired, with the sign of mean_difference
    correlation: float | None = None  # of the two arms over the seeds
    power: float | None = None  # one-sided at alpha, at the observed effect and spread
    power_at: Mapping[float, float] | None = None  # effect -> power with these n seeds
    seeds_needed: Mapping[float, int | None] | None = None  # effect -> seeds; None: over a million
    seeds_to_decide: Mapping[str, int | None] | None = None  # two-sided: "observed", "margin"
    p_equivalence: float | None = None
    p_noninferiority: float | None = None
    p_holm: float | None = None  # two-sided, filled by `holm`
    note: str = ""
    decision: Decision | None = None  # of a sequential study, filled by `adjusted_comparisons`

    @property
    def outcome(self) -> Outcome:
        """The verdict in one word, by the rule of docs/statistics.md or docs/sequential.md."""
        if self.decision is not None:
            found = self.decision.outcome
            if found == "go on" or found == "undecidable":  # noqa: PLR1714 - mypy narrows these
                return "undecided"
            return found
        decisive = self.p_two_sided if self.p_holm is None else self.p_holm
        if decisive is None or self.p_equivalence is None:
            return "not tested"
        if decisive < self.alpha:
            return "helps" if (self.mean_difference > 0) is self.higher_is_better else "harms"
        return "equivalent" if self.p_equivalence < self.alpha else "undecided"

    @property
    def verdict(self) -> str:
        """The verdict as one plain sentence with its numbers."""
        return ": ".join(self.claim_and_evidence())

    def claim_and_evidence(self) -> tuple[str, str]:
        """Return the two halves of the verdict: the claim, and the numbers that support it."""
        if self.decision is not None:
            return self._decided(self.decision)
        seeds = f"{self.n} seed{'s' if self.n > 1 else ''}"
        if self.confidence_interval is None or self.p_equivalence is None:
            why = f"not tested ({self.note.rstrip('.')})"
            numbers = f"{self._signed(self.mean_difference)} with {seeds}, {why}."
            return f"{self.arm} against {self.baseline}", numbers
        tost = f"TOST p {_p(self.p_equivalence)}"
        within = f"within {self._size(self.margin)}"
        if self.outcome == "equivalent":
            # TOST uses this interval: it lies within the margin exactly if TOST is significant.
            found = f"{self._signed(self.mean_difference)} ({self._inner()})"
            claim = f"{self.arm} and {self.baseline} are equivalent {within}"
            return claim, f"{found}, {seeds}, {tost}."
        if self.p_holm is None:
            p = f"two-sided p {_p(self.p_two_sided)}, not corrected for other comparisons"
        else:
            p = f"Holm p {_p(self.p_holm)}"
        if self.outcome in {"helps", "harms"}:
            side = "above" if self.mean_difference > 0 else "below"
            size = f"{self._unsigned(self.mean_difference)} {side} {self.baseline}"
            both = (
                f"; the difference is real but lies {within} ({self._inner()}, {tost})"
                if self.p_equivalence < self.alpha
                else ""
            )
            return f"{self.arm} {self.outcome}", f"{size} ({self._outer()}), {seeds}, {p}{both}."
        alone = ""
        if self.p_two_sided is not None and self.p_two_sided < self.alpha:
            # Significant without the correction only: the interval, not corrected, excludes 0.
            alone = f", for this comparison alone: p {_p(self.p_two_sided)}"
            p += " over all comparisons"
        claim = f"no detectable difference between {self.arm} and {self.baseline} with {seeds}"
        found = f"{self._signed(self.mean_difference)} ({self._outer()}{alone})"
        return claim, f"{found}, {p}; {self._plan()}."

    @property
    def gain(self) -> float:
        """Mean difference in the better direction, in the metric's unit."""
        return self.mean_difference if self.higher_is_better else -self.mean_difference

    def tables(self) -> list[Layout]:
        """Return the main numbers, and the verdict below."""
        scale = scale_for(self.unit)
        low, high = self.confidence_interval or (None, None)
        unit = f" {self.unit}".rstrip()
        rows = [
            ("outcome", self.outcome),
            (self.arm, scale.level(self.mean_arm)),
            (self.baseline, scale.level(self.mean_baseline)),
            ("difference", scale.difference(self.mean_difference) + unit),
            (
                "interval",
                "" if low is None else f"{scale.difference(low)} to {scale.difference(high)}",
            ),
            ("two-sided p", p_text(self.p_two_sided)),
            ("Holm p" if self.decision is None else "adjusted p", p_text(self.p_holm)),
            ("wins, ties, losses", f"{self.wins}, {self.ties}, {self.losses} of {self.n} seeds"),
        ]
        shown = [row for row in rows if row[1]]
        return [Layout(f"{self.arm} against {self.baseline}", shown, below=[self.verdict])]

    def values(self) -> dict[str, Any]:
        """Return every value by name; the decision is included only in a sequential study."""
        found = asdict(self)
        if self.decision is None:
            del found["decision"]
        return found

    def _decided(self, decision: Decision) -> tuple[str, str]:
        ends, covers, p = self.confidence_interval, decision.confidence, decision.p
        side = "above" if self.mean_difference > 0 else "below"
        return decided_sentence(
            decision,
            arm=self.arm,
            baseline=self.baseline,
            n=self.n,
            difference=self._signed(self.mean_difference),
            size=f"{self._unsigned(self.mean_difference)} {side}",
            margin=self._size(self.margin),
            interval=""
            if ends is None or covers is None
            else self._interval(ends, round(covers, 5)),
            p="" if p is None else _p(p),
        )

    def beside(self, name: str) -> str:
        """Return a sentence on a secondary metric: whether the arm is worse by the margin.

        Args:
            name: Name of the metric, capitalized to begin a sentence: `Cross-entropy`.
        """
        size = self._signed(self.mean_difference)
        if self.confidence_interval is None or self.p_noninferiority is None:
            return f"{name}: {size}, not tested."
        found = f"{size} ({self._outer()})"
        side = "higher" if self.mean_difference > 0 else "lower"
        holm = f"Holm p {_p(self.p_two_sided if self.p_holm is None else self.p_holm)}"
        margin = self._size(self.margin)
        noninferior = f"non-inferiority p {_p(self.p_noninferiority)}"
        if self.outcome == "helps":
            return f"{name} is {side}: {found}, {holm}."
        if self.p_noninferiority < self.alpha:
            worse = f"is {side}, by less than" if self.outcome == "harms" else "is not worse by"
            return f"{name} {worse} {margin}: {found}, {noninferior}."
        if self.outcome == "harms":
            return f"{name} is {side}: {found}, {holm}."
        return f"{name} is undecided: {found}, {noninferior} at {margin}."

    def _plan(self) -> str:
        if self.seeds_to_decide is None:
            return f"{self.n} seeds are too few to tell how many would be needed"
        observed, margin = self.seeds_to_decide["observed"], self.seeds_to_decide["margin"]
        plan = f"{_about(observed)} seeds would be needed for the observed difference"
        if abs(self.mean_difference) >= FAR * self.margin:
            return plan
        least = f"one of {self._size(self.margin)}, the margin"
        if margin is not None and margin <= self.n:
            return f"{plan}; {self.n} seeds suffice for {least}"
        return f"{plan}, and {_about(margin)} for {least}"

    def _outer(self) -> str:
        return self._interval(self.confidence_interval, 1 - self.alpha)

    def _inner(self) -> str:
        return self._interval(self.equivalence_interval, 1 - 2 * self.alpha)

    def _interval(self, ends: tuple[float, float] | None, covers: float) -> str:
        low, high = (self._signed(end, unit=False) for end in ends or ())
        return f"{100 * covers:.4g} % interval {low} to {high}"

    def _unsigned(self, value: float) -> str:
        return self._signed(abs(value)).removeprefix("+")

    def _signed(self, value: float, *, unit: bool = True) -> str:
        text = f"{100 * value:+.2f}" if self.unit == "points" else f"{value:+.4g}"
        text = "+" + text[1:] if float(text) == 0 else text
        return f"{text} {self.unit}".rstrip() if unit else text

    def _size(self, value: float) -> str:
        return f"{100 * value if self.unit == 'points' else value:g} {self.unit}".rstrip()


def _p(p: float | None) -> str:
    """Return a p with four digits, as in Table 3."""
    if p is None:
        return "unknown"
    return f"{p:.4f}" if p >= 0.0001 else "below 0.0001"


def _about(seeds: int | None) -> str:
    return f"more than {MAX_SEEDS:,}" if seeds is None else f"about {seeds:,}"
