"""what the looks of a sequential study say of one comparison: Decision, and its path of Steps."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["go on", "helps", "harms", "equivalent", "undecidable"]
Reason = Literal["", "maximum", "futility", "failure"]


@dataclass(frozen=True, slots=True)
class Step:
    """One comparison at one look.

    Attributes:
        seeds: Seeds that the look uses.
        mean: Mean difference.
        evidence: The t statistic; with betting, the log capital. Signed, for helps or for harms.
        boundary: The size of the evidence from which this look says helps or harms.
        interval: For the mean difference, adjusted for the looks. It has 0 inside exactly where
            the evidence is inside the boundaries.
        confidence: The interval's nominal coverage, over all looks.
    """

    seeds: int
    mean: float
    evidence: float
    boundary: float
    interval: tuple[float, float]
    confidence: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What the looks so far say of one comparison.

    Attributes:
        outcome: "go on" while the comparison is open.
        reason: Why it is undecidable: the maximum is reached, it is unlikely to be decided by then,
            or a run failed. Empty for every other outcome.
        seeds: Seeds at its last look, 0 before the first.
        look: Number of looks taken.
        interval: The interval that the outcome rests on: it is beside 0 for helps and harms, and
            within the margin for equivalent. None before the first look.
        confidence: The interval's nominal coverage, over all looks.
        p: Two-sided p of no difference, or p of no equivalence where that is the outcome, adjusted
            for the looks and the family. At most alpha exactly where the outcome is helps, harms
            or equivalent. None before the first look.
        max_seeds: Most seeds of the design.
        path: One step a look.
    """

    outcome: Outcome
    reason: Reason = ""
    seeds: int = 0
    look: int = 0
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    p: float | None = None
    max_seeds: int = 0
    path: tuple[Step, ...] = ()
