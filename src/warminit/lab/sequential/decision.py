"""Decision of a sequential study on one comparison, with one Step per look."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["go on", "helps", "harms", "equivalent", "undecidable"]
Reason = Literal["", "maximum", "futility", "failure"]


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one comparison at one look.

    Attributes:
        seeds: Number of seeds at the look.
        mean: Mean difference.
        evidence: T statistic, or with betting the log capital; positive for helps, negative for
            harms.
        boundary: Size of the evidence from which this look decides helps or harms.
        interval: Interval of the mean difference, adjusted for the looks. It contains 0 exactly if
            the evidence is inside the boundaries.
        confidence: Nominal coverage of the interval over all looks.
    """

    seeds: int
    mean: float
    evidence: float
    boundary: float
    interval: tuple[float, float]
    confidence: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold the decision of the looks so far on one comparison.

    Attributes:
        outcome: Outcome; "go on" while the comparison is open.
        reason: Reason of "undecidable": the maximum is reached, a decision by then is unlikely, or
            a run failed. Empty for every other outcome.
        seeds: Number of seeds at the last look, 0 before the first.
        look: Number of looks taken.
        interval: Interval that supports the outcome: it excludes 0 for helps and harms, and lies
            within the margin for equivalent. None before the first look.
        confidence: Nominal coverage of the interval over all looks.
        p: Two-sided p of no difference, or for equivalent the p of no equivalence, adjusted for the
            looks and the family. It is at most alpha exactly if the outcome is helps, harms or
            equivalent. None before the first look.
        max_seeds: Maximum number of seeds in the design.
        path: Steps, one per look.
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
