"""unit of a metric -> Scale, which prints its values; a p -> its text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Hold the printed form of a primary metric's values.

    Attributes:
        factor: Factor of the printed values: 100 for shares.
        digits: Number of digits after the decimal point.
        unit: Unit of a difference, "" if there is none.
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
    """Return the scale of a unit: `points` are shares, printed in percent.

    Example:
        >>> scale_for("points").difference(0.0123), scale_for("K").difference(0.5)
        ('+1.23', '+0.5000')
    """
    if unit == "points":
        return Scale(100.0, 2, "points", percent=True)
    return Scale(1.0, 4, unit, percent=False)


def p_text(p: float | None) -> str:
    """Return a p with four digits, as in Table 3.

    Example:
        >>> p_text(0.0308), p_text(1e-6), p_text(None)
        ('0.0308', '< 0.0001', '')
    """
    if p is None:
        return ""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"
