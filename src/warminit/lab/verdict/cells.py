"""Analysis -> rows, one a data set, model and arm: every value, and its text as displays print it.

The one model of a result: terminal, page, charts, export, LaTeX and kept results read it.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.scale import Scale, p_text, scale_for
from warminit.lab.verdict.wording import stars


@dataclass(frozen=True, slots=True)
class Texts:
    """What displays print of a row; what there is not is "".

    Attributes:
        dataset: With `(partial)` where it is.
        seeds: Finished ones, and how many failed.
        mean: On the scale of the study, as are sd, difference and interval.
        sd: Standard deviation.
        difference: Difference of the arm minus the baseline.
        interval: `low to high`.
        p_one_sided: Without stars.
        stars: Stars of the one-sided p, as in Table 3.
        p_two_sided: Not corrected.
        p_holm: Corrected.
        wins: `wins/seeds`.
        cross_entropy: Its difference, in nats.
        cross_entropy_interval: `low to high`.
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
        """The difference of cross-entropy with its interval."""
        return f"{self.cross_entropy} [{self.cross_entropy_interval}]".removesuffix(" []")


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one data set and model, in the metric's own unit; what there is not is None.

    Attributes:
        dataset: Name of the data set.
        partial: Whether its counts differ from the published ones.
        model: Name of the model.
        arm: Label of the arm.
        seeds: Seeds that finished.
        failed: Seeds that failed.
        metric: The study's primary metric.
        mean: Over the seeds.
        sd: Sample standard deviation over the seeds.
        difference: Arm minus baseline, over the seeds that both have.
        interval_low: Lower end of its interval.
        interval_high: Upper end.
        p_one_sided: Paired t; the alternative is that the arm is better.
        p_two_sided: Paired t, not corrected.
        p_holm: Two-sided, corrected over the study; of a sequential one also over its looks.
        wins: Pairs that the arm wins.
        ties: Pairs that are equal.
        losses: Pairs that it loses.
        verdict: One sentence.
        outcome: The verdict in one word; `baseline`, or `not finished` without a pair.
        cross_entropy: Difference of cross-entropy, nats, over the same seeds.
        cross_entropy_low: Lower end of its interval.
        cross_entropy_high: Upper end.
        beside: Sentences that follow the verdict: of cross-entropy, and of failed runs.
        texts: What displays print.
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
        """Return every value by name, for JSON and tables; without the texts."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.compare}


def scale_of(analysis: Analysis) -> Scale:
    """Return how values of a study's primary metric are printed."""
    return scale_for("points" if analysis.in_points else analysis.study.unit or "")


def p_heading(analysis: Analysis) -> str:
    """Return what the p that decides is called: corrected by Holm, or for the looks too."""
    return "Holm p" if analysis.study.sequential is None else "adjusted p"


def cell_rows(analysis: Analysis) -> list[Row]:
    """Return one row a cell, in the study's order."""
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
