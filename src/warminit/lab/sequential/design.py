"""numbers chosen before the first run -> Design, the plan of a sequential paired study."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from warminit.errors import WarminitError

if TYPE_CHECKING:
    from warminit.lab.sequential.betting import BettingLooks
    from warminit.lab.sequential.boundaries import StudentLooks

#: With 5 seeds a t test at the first look's level has power; with 3 it has almost none.
FIRST_LOOK = 5
#: 13 seeds have power 0.9 at one standard deviation; 18 have it over all looks, with futility.
MAX_SEEDS = 18
#: Hwang, Shih and DeCani's gamma. 1 spends early, close to Pocock; docs/sequential.md compares it.
GAMMA = 1.0
#: Each seed costs one integral, 0.1 s and 3 MB; no study of training runs needs so many.
MOST_SEEDS = 100


@dataclass(frozen=True, slots=True)
class Design:
    """Hold the plan of a sequential paired study.

    Args:
        max_seeds: Maximum number of seeds of a comparison, 2 to 100.
        family: Number of comparisons that share alpha.
        margin: Half-width of the equivalence region, in the metric's unit.
        looks: Numbers of seeds at the looks, increasing; the last one is `max_seeds`. Empty: a look
            after every seed from the fifth on.
        alpha: Probability of any false "helps" or "harms" in the family, over all looks; also of
            any false "equivalent".
        futility: Predictive power below which a comparison is undecidable; 0: never.
        gamma: Shape of the spending of the level, -10 to 10: 1 early, 0 evenly, below 0 late.
        method: "t" for roughly normal differences, "betting" for bounded differences.
        bound: Largest size of a difference, for betting.

    Raises:
        WarminitError: If a number is out of its range.

    Example:
        >>> Design(max_seeds=8).looks
        (5, 6, 7, 8)
    """

    max_seeds: int = MAX_SEEDS
    family: int = 1
    margin: float = 0.001
    looks: tuple[int, ...] = ()
    alpha: float = 0.05
    futility: float = 0.1
    gamma: float = GAMMA
    method: Literal["t", "betting"] = "t"
    bound: float = 1.0

    def __post_init__(self) -> None:
        """Check every number, and fill the looks."""
        _whole("max_seeds", self.max_seeds, 2, MOST_SEEDS)
        _whole("family", self.family, 1, 1000)
        _between("alpha", self.alpha, 0.0, 0.5, "Pass 0.05, as the paper.")
        _between("margin", self.margin, 0.0, math.inf, "Pass the largest difference that does not"
                 " matter, such as 0.001 for 0.1 points.")  # fmt: skip
        if self.method not in {"t", "betting"}:
            raise WarminitError(
                f'method={self.method!r}: expected "t" or "betting". Leave it out for "t".'
            )
        if not 0 <= self.futility < 0.5:
            raise WarminitError(
                f"futility={self.futility}: expected a chance from 0 to below 0.5. Pass 0.1, or 0"
                " to use every seed."
            )
        if not -10 <= self.gamma <= 10:
            raise WarminitError(
                f"gamma={self.gamma}: expected a number from -10 to 10. Leave it out for {GAMMA:g}."
            )
        if self.method == "betting" and not self.margin < self.bound < math.inf:
            raise WarminitError(
                f"bound={self.bound}: expected a finite number above margin={self.margin}. Pass the"
                " largest size that a difference can have; shares from 0 to 1 have bound=1."
            )
        looks = self.looks or range(min(FIRST_LOOK, self.max_seeds), self.max_seeds + 1)
        rising = [2, *(n + 1 for n in looks)]
        if any(n < least for n, least in zip(looks, rising, strict=False)) or (
            looks[-1] != self.max_seeds
        ):
            raise WarminitError(
                f"looks={self.looks}: expected rising numbers from 2 to max_seeds={self.max_seeds}"
                ", which is the last. Leave looks out to look after every seed from the fifth on."
            )
        object.__setattr__(self, "looks", tuple(looks))

    @property
    def rule(self) -> "StudentLooks | BettingLooks":
        """Rule that measures the evidence at each look."""
        # Imported here, because these modules load SciPy, which a plan does not need.
        if self.method == "betting":
            from warminit.lab.sequential.betting import BettingLooks

            return BettingLooks(self.looks, self.max_seeds, self.bound, self.alpha)
        from warminit.lab.sequential.boundaries import StudentLooks

        return StudentLooks(self.looks, self.max_seeds, self.gamma)

    def level(self, decided: int) -> float:
        """Return one comparison's two-sided level after `decided` other decisions (Holm)."""
        return self.alpha / max(self.family - decided, 1)


def _whole(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise WarminitError(
            f"{name}={value!r}: expected a whole number from {least} to {most}. Leave it out for"
            " the default."
        )


def _between(name: str, value: float, low: float, high: float, step: str) -> None:
    if not low < value < high:
        wanted = (
            "a positive, finite number" if high == math.inf else f"between {low:g} and {high:g}"
        )
        raise WarminitError(f"{name}={value}: expected {wanted}. {step}")
