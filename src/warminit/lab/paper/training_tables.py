"""a finished table3 study -> measured Table 3 beside the paper's, and their differences."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy import stats

from warminit.lab.paper.published import TABLE_3, Accuracy, Erratum, erratum
from warminit.lab.paper.reproduce import Candidate, Standing
from warminit.lab.study.protocol import Protocol, learning_rates
from warminit.lab.study.study import Study
from warminit.lab.study.table1 import BATCH_SIZE, SEEDS, STEPS
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.paired import relative_error_change
from warminit.lab.verdict.wording import counted, stars

LEVEL = 0.05
"""Level of Welch's two-sided test between the paper's mean and ours."""


@dataclass(frozen=True, slots=True)
class Table3Row:
    """Hold one data set of Table 3.

    Attributes:
        dataset: Name of the data set.
        title: Name in the paper.
        standing: Availability: `complete`, `partial` or `not available`.
        reason: Reason that the data set is not complete.
        paper: Figures of the paper; None for a partial data set.
        erratum: Known error in the paper's error change.
        comparison: Measured comparison; None if no seed of both arms is finished.
        differs: Whether both differ, by column; None if undecidable. Empty for another protocol,
            where a difference says nothing about the paper.
    """

    dataset: str
    title: str
    standing: Standing
    reason: str
    paper: Accuracy | None
    erratum: Erratum | None
    comparison: Comparison | None
    differs: dict[str, bool | None]

    @property
    def error_change(self) -> float | None:
        """Relative change of the classification error measured here, in percent."""
        c = self.comparison
        if c is None or c.mean_baseline >= 1:
            return None
        return 100 * relative_error_change(c.mean_baseline, c.mean_difference)


def table_3(candidates: Iterable[Candidate], analysis: Analysis | None) -> list[Table3Row]:
    """Compare a study with Table 3.

    Args:
        candidates: Requested data sets.
        analysis: Analysis of the study `table3` on the available data sets, or None.

    Returns:
        One row per data set; partial ones have no figure of the paper.
    """
    found = {} if analysis is None else _comparisons(analysis)
    comparable = analysis is not None and not caveats(analysis)
    rows = []
    for candidate in candidates:
        comparison = found.get(candidate.name)
        paper = None if candidate.standing == "partial" else TABLE_3[candidate.name]
        rows.append(
            Table3Row(
                dataset=candidate.name,
                title=candidate.title,
                standing=candidate.standing,
                reason=candidate.reason,
                paper=paper,
                erratum=erratum("table3", candidate.name, "error_change"),
                comparison=comparison,
                differs=_differences(paper, comparison) if comparable else {},
            )
        )
    return rows


def _comparisons(analysis: Analysis) -> dict[str, Comparison]:
    return {
        cell.dataset: cell.comparison
        for cell in analysis.cells
        if cell.comparison is not None and cell.arm == "prewarm"
    }


def _differences(paper: Accuracy | None, here: Comparison | None) -> dict[str, bool | None]:
    """Judge each column: means and differences by Welch's test, p by its stars, wins as counts."""
    if paper is None or here is None:
        return {}
    change = _welch(
        paper.difference,
        published_spread(paper),
        here.mean_difference,
        here.sd_difference,
        here.n,
    )
    return {
        "kaiming": _welch(
            paper.kaiming, paper.kaiming_sd, here.mean_baseline, here.sd_baseline, here.n
        ),
        "prewarm": _welch(paper.prewarm, paper.prewarm_sd, here.mean_arm, here.sd_arm, here.n),
        "difference": change,
        "error_change": change,
        "p_one_sided": None
        if here.p_one_sided is None
        else stars(here.p_one_sided) != stars(paper.p_one_sided),
        "wins": here.wins != paper.wins if here.n == SEEDS else None,
    }


def published_spread(paper: Accuracy) -> float:
    """Return the standard deviation of the paired differences that the paper's p implies.

    With 8 seeds, one-sided p and mean difference D give t = D sqrt(8) / s, hence s.

    Example:
        >>> round(published_spread(TABLE_3["fashion-mnist"]), 4)
        0.002
    """
    t = float(stats.t.isf(paper.p_one_sided, SEEDS - 1))
    return paper.difference * math.sqrt(SEEDS) / t


def _welch(paper: float, paper_sd: float, here: float, sd: float | None, n: int) -> bool | None:
    if sd is None:
        return None
    test = stats.ttest_ind_from_stats(paper, paper_sd, SEEDS, here, sd, n, equal_var=False)
    return bool(test.pvalue < LEVEL)


def means(rows: Iterable[Table3Row]) -> tuple[int, float | None, float | None]:
    """Return the number of measured complete rows, and the means for Table 3's last row.

    Returns:
        (data sets, mean difference, mean error change in percent); None for a mean of no rows.
    """
    measured = [row for row in rows if row.standing == "complete" and row.comparison is not None]
    changes = [row.error_change for row in measured if row.error_change is not None]
    differences = [row.comparison.mean_difference for row in measured if row.comparison]
    if not changes or len(changes) != len(measured):
        return len(measured), None, None
    return (
        len(measured),
        math.fsum(differences) / len(differences),
        math.fsum(changes) / len(changes),
    )


def caveats(analysis: Analysis) -> list[str]:
    """Return the reasons that a study is no reproduction: its protocol, and missing runs."""
    found = off_protocol(analysis.study)
    if analysis.missing:
        found.append(f"{counted(analysis.missing, 'run')} missing")
    if analysis.failed:
        found.append(f"{counted(len(analysis.failed), 'run')} failed")
    return found


def off_protocol(study: Study) -> list[str]:
    """Return the differences of a study's protocol from that of the paper's Table 3."""
    protocol, papers, found = study.protocol, Protocol(), []
    if protocol.steps != STEPS:
        found.append(f"{protocol.steps:,} of the paper's {STEPS:,} steps")
    if protocol.batch_size != BATCH_SIZE:
        found.append(f"batch {protocol.batch_size} in place of {BATCH_SIZE}")
    if len(study.seeds) != SEEDS:
        found.append(f"{counted(len(study.seeds), 'seed')} in place of {SEEDS}")
    if study.patch_counts != "as-published":
        found.append("n_patches by the rule, not as published")
    if study.validation:
        found.append(f"{study.validation:,} images set aside and evaluated, not the test set")
    if protocol.precision != "float32":
        found.append(f"precision {protocol.precision}")
    found += [
        f"{name.replace('_', ' ')} {getattr(protocol, name)}"
        for name in ("optimizer", "weight_decay", "schedule", "warmup", "augmentation")
        if getattr(protocol, name) != getattr(papers, name)
    ]
    return found + [
        f"learning rate {rates[0]:g} to {rates[1]:g} on {dataset}"
        for dataset in study.datasets
        if (rates := learning_rates(protocol, dataset)) != learning_rates(papers, dataset)
    ]
