"""The unit of a metric -> how its values are printed; a p -> its text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """How values of a study's primary metric are printed.

    Attributes:
        factor: What values are multiplied by: 100 where they are shares.
        digits: Digits after the point.
        unit: Of a difference, "" where it has none.
        percent: Whether a mean is printed in percent.
    """

    factor: float
    digits: int
    unit: str
    percent: bool

    def level(self, value: float | None) -> str:
        """Return a value as text, "" for None."""
        return "" if value is None else f"{self.factor * value:.{self.digits}f}"

    def difference(self, value: float | None) -> str:
        """Return a value with its sign, "" for None."""
        return "" if value is None else f"{self.factor * value:+.{self.digits}f}"


def scale_for(unit: str) -> Scale:
    """Return how values of a unit are printed: `points` are shares, in percent.

    Example:
        >>> scale_for("points").difference(0.0123), scale_for("K").difference(0.5)
        ('+1.23', '+0.5000')
    """
    if unit == "points":
        return Scale(100.0, 2, "points", percent=True)
    return Scale(1.0, 4, unit, percent=False)


def p_text(p: float | None) -> str:
    """Return a p as Table 3 prints it, four digits.

    Example:
        >>> p_text(0.0308), p_text(1e-6), p_text(None)
        ('0.0308', '< 0.0001', '')
    """
    if p is None:
        return ""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"
