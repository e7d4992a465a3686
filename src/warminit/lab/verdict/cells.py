"""Analysis -> rows, one per data set, model and arm: every value, and its text for displays.

The terminal, the page, charts, exports, LaTeX and kept results all read these rows.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.scale import Scale, p_text, scale_for
from warminit.lab.verdict.wording import stars


@dataclass(frozen=True, slots=True)
class Texts:
    """Hold the printed texts of a row; a missing value is "".

    Attributes:
        dataset: Name of the data set, with `(partial)` if it is partial.
        seeds: Number of finished seeds and of failed seeds.
        mean: On the scale of the study, as are sd, difference and interval.
        sd: Standard deviation.
        difference: Difference of the arm minus the baseline.
        interval: Interval of the difference, `low to high`.
        p_one_sided: One-sided p, without stars.
        stars: Stars of the one-sided p, as in Table 3.
        p_two_sided: Two-sided p, not corrected.
        p_holm: Two-sided p, corrected.
        wins: Pairs that the arm wins, `wins/seeds`.
        cross_entropy: Difference of cross-entropy, in nats.
        cross_entropy_interval: Interval of that difference, `low to high`.
    """

    dataset: str
    seeds: str
    mean: str
    sd: str
    difference: str
    interval: str
    p_one_sided: str
    stars: str
    p_two_sided: str
    p_holm: str
    wins: str
    cross_entropy: str
    cross_entropy_interval: str

    @property
    def nats(self) -> str:
        """Difference of cross-entropy with its interval, as text."""
        return f"{self.cross_entropy} [{self.cross_entropy_interval}]".removesuffix(" []")


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one arm on one data set and model, in the metric's unit; a missing value is None.

    Attributes:
        dataset: Name of the data set.
        partial: Whether the counts of the data set differ from the published ones.
        model: Name of the model.
        arm: Label of the arm.
        seeds: Number of finished seeds.
        failed: Number of failed seeds.
        metric: Primary metric of the study.
        mean: Mean over the seeds.
        sd: Sample standard deviation over the seeds.
        difference: Mean of arm minus baseline over the shared seeds.
        interval_low: Lower end of the difference's interval.
        interval_high: Upper end of the difference's interval.
        p_one_sided: One-sided p of the paired t; the alternative is that the arm is better.
        p_two_sided: Two-sided p of the paired t, not corrected.
        p_holm: Two-sided p, corrected over the study; in a sequential study also over the looks.
        wins: Number of pairs that the arm wins.
        ties: Number of pairs with equal scores.
        losses: Number of pairs that the arm loses.
        verdict: Verdict as one sentence.
        outcome: Verdict in one word; `baseline`, or `not finished` without a pair.
        cross_entropy: Difference of cross-entropy over the same seeds, in nats.
        cross_entropy_low: Lower end of that difference's interval.
        cross_entropy_high: Upper end of that difference's interval.
        beside: Sentences that follow the verdict: on cross-entropy, and on failed runs.
        texts: Printed texts of the values.
    """

    dataset: str
    partial: bool
    model: str
    arm: str
    seeds: int
    failed: int
    metric: str
    mean: float | None
    sd: float | None
    difference: float | None
    interval_low: float | None
    interval_high: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    p_holm: float | None
    wins: int | None
    ties: int | None
    losses: int | None
    verdict: str | None
    outcome: str
    cross_entropy: float | None
    cross_entropy_low: float | None
    cross_entropy_high: float | None
    beside: tuple[str, ...]
    texts: Texts = field(repr=False, compare=False)

    def values(self) -> dict[str, Any]:
        """Return every value by name, without the texts, for JSON and tables."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.compare}


def scale_of(analysis: Analysis) -> Scale:
    """Return the scale that prints values of a study's primary metric."""
    return scale_for("points" if analysis.in_points else analysis.study.unit or "")


def p_heading(analysis: Analysis) -> str:
    """Return the heading of the deciding p: corrected by Holm, or for the looks too."""
    return "Holm p" if analysis.study.sequential is None else "adjusted p"


def cell_rows(analysis: Analysis) -> list[Row]:
    """Return one row per cell, in the study's order."""
    scale = scale_of(analysis)
    return [_row(analysis, cell, scale) for cell in analysis.cells]


def _row(analysis: Analysis, cell: Cell, scale: Scale) -> Row:
    c = cell.comparison
    low, high = (c.confidence_interval if c else None) or (None, None)
    loss = cell.cross_entropy
    loss_low, loss_high = (loss.confidence_interval if loss else None) or (None, None)
    failed = f", {len(cell.failed)} failed" if cell.failed else ""
    texts = Texts(
        dataset=analysis.title(cell.dataset),
        seeds=f"{len(cell.scores)}{failed}",
        mean=scale.level(cell.mean),
        sd=scale.level(cell.sd),
        difference=scale.difference(c.mean_difference if c else None),
        interval="" if low is None else f"{scale.difference(low)} to {scale.difference(high)}",
        p_one_sided=p_text(c.p_one_sided if c else None),
        stars=stars(c.p_one_sided if c else None),
        p_two_sided=p_text(c.p_two_sided if c else None),
        p_holm=p_text(c.p_holm if c else None),
        wins=f"{c.wins}/{c.n}" if c else "",
        cross_entropy="" if loss is None else f"{loss.mean_difference:+.4f}",
        cross_entropy_interval="" if loss_low is None else f"{loss_low:+.4f} to {loss_high:+.4f}",
    )
    without = "baseline" if cell.arm == analysis.study.baseline else "not finished"
    return Row(
        dataset=cell.dataset,
        partial=cell.dataset in analysis.partial,
        model=cell.model,
        arm=cell.arm,
        seeds=len(cell.scores),
        failed=len(cell.failed),
        metric=analysis.study.metric,
        mean=cell.mean,
        sd=cell.sd,
        difference=c.mean_difference if c else None,
        interval_low=low,
        interval_high=high,
        p_one_sided=c.p_one_sided if c else None,
        p_two_sided=c.p_two_sided if c else None,
        p_holm=c.p_holm if c else None,
        wins=c.wins if c else None,
        ties=c.ties if c else None,
        losses=c.losses if c else None,
        verdict=c.verdict if c else None,
        outcome=c.outcome if c else without,
        cross_entropy=loss.mean_difference if loss else None,
        cross_entropy_low=loss_low,
        cross_entropy_high=loss_high,
        beside=_beside(analysis, cell),
        texts=texts,
    )


def _beside(analysis: Analysis, cell: Cell) -> tuple[str, ...]:
    loss = cell.cross_entropy.beside("Cross-entropy") if cell.cross_entropy else ""
    baseline = analysis.study.baseline
    failures = cell.failures.sentence(cell.arm, baseline) if cell.failures else ""
    return tuple(text for text in (loss, failures) if text)
