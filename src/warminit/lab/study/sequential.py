"""the key `sequential` of a study -> Sequential (validated), the stopping rule."""

from typing import Any, Literal

from warminit.errors import unexpected
from warminit.lab.sequential.design import MAX_SEEDS, Design
from warminit.lab.study.protocol import Strict


class Sequential(Strict):
    """Define when comparisons are decided during a study; `docs/sequential.md` has the rule.

    Attributes:
        max_seeds: Maximum number of seeds per comparison.
        looks: Numbers of seeds at which to look, rising to `max_seeds`. Empty: after every seed
            from the fifth on. Fewer looks keep more workers busy.
        futility: Chance of a decision below which a comparison ends; 0: never.
        method: `t` for roughly normal differences, `betting` for bounded differences.
        bound: Largest possible absolute difference, for betting.
    """

    max_seeds: int = MAX_SEEDS
    looks: tuple[int, ...] = ()
    futility: float = 0.1
    method: Literal["t", "betting"] = "t"
    bound: float = 1.0

    def design(self, *, family: int, margin: float) -> Design:
        """Return the design for so many comparisons.

        Raises:
            WarminitError: For a number out of its range.
        """
        return Design(
            max_seeds=self.max_seeds,
            family=family,
            margin=margin,
            looks=self.looks,
            futility=self.futility,
            method=self.method,
            bound=self.bound,
        )


def completed(values: dict[str, Any]) -> dict[str, Any]:
    """Complete a study's values from its key `sequential`.

    `true` is the default design, `false` none. A margin inside is the study's margin. A number of
    seeds is the maximum if `max_seeds` is missing.

    Raises:
        WarminitError: For two margins, or an invalid design.
    """
    given = values.get("sequential")
    if given is None or given is False:
        return {**values, "sequential": None}
    if given is True:
        given = {}
    if isinstance(given, Sequential):
        return values
    if not isinstance(given, dict):
        expected = "true, or a table such as {max_seeds = 18}"
        raise unexpected("sequential", given, expected, "Leave it out for a fixed study.")
    plan = dict(given)
    values = dict(values)
    if "margin" in plan:
        margin = plan.pop("margin")
        if values.setdefault("margin", margin) != margin:
            step = "Give the margin once."
            raise unexpected("sequential.margin", margin, f"margin={values['margin']}", step)
    seeds = values.get("seeds")
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        plan.setdefault("max_seeds", seeds)
    return {**values, "sequential": plan}
