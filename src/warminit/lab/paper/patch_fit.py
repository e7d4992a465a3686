"""a sweep of patch counts on colour sets -> the c of Equation 6, and its uncertainty."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from warminit.errors import WarminitError
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.paired import compare_paired

FILTERS = 32
"""F of Section 4.4."""

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Optimum:
    """Hold the best patch count of a sweep on one data set.

    Attributes:
        dataset: Name of the data set.
        patch_norm: Mean L2 norm of its mean-centered patches.
        n_patches: Patch count with the best mean.
        not_worse: Smallest and largest count without a significant difference from the best
            (two-sided paired t at 0.05, not corrected). The true optimum may be anywhere between.
        c: Constant with which Equation 6 gives `n_patches`, before its floor.
    """

    dataset: str
    patch_norm: float
    n_patches: int
    not_worse: tuple[int, int]
    c: float


def sweeps_patches(analysis: Analysis) -> bool:
    """Return whether every arm except the baseline is Pre-Warm at a different patch count."""
    swept = [arm for arm in analysis.study.arms if arm.label != analysis.study.baseline]
    return len(swept) > 1 and all(
        arm.name == "prewarm" and set(arm.parameters) == {"patches_per_image"} for arm in swept
    )


def find_optima(analysis: Analysis, patch_norms: Mapping[str, float]) -> list[Optimum]:
    """Find the best patch count on each data set.

    Args:
        analysis: Analysis of a study that sweeps patches_per_image alone.
        patch_norms: Patch norms of the training splits; a data set without one is left out.

    Returns:
        One optimum for each data set with results; not_worse[0] <= n_patches <= not_worse[1].
    """
    counts = {
        arm.label: int(arm.parameters["patches_per_image"])
        for arm in analysis.study.arms
        if "patches_per_image" in arm.parameters
    }
    optima = []
    for dataset, norm in patch_norms.items():
        cells = [
            cell
            for cell in analysis.cells
            if cell.dataset == dataset and cell.scores and cell.arm in counts
        ]
        if not cells:
            continue
        toward = -1 if analysis.study.lower_is_better else 1
        best = max(cells, key=lambda cell: toward * (cell.mean or 0.0))
        near = [counts[cell.arm] for cell in cells if _not_told_apart(analysis, cell, best)]
        chosen = counts[best.arm]
        optima.append(
            Optimum(
                dataset=dataset,
                patch_norm=norm,
                n_patches=chosen,
                not_worse=(min(near), max(near)),
                c=chosen / (FILTERS / 4 * norm),
            )
        )
    return optima


def _not_told_apart(analysis: Analysis, cell: Cell, best: Cell) -> bool:
    shared = [seed for seed in cell.scores if seed in best.scores]
    if cell.arm == best.arm or len(shared) < 2:
        return True
    p = compare_paired(
        [cell.scores[seed] for seed in shared],
        [best.scores[seed] for seed in shared],
        arm=cell.arm,
        baseline=best.arm,
        higher_is_better=not analysis.study.lower_is_better,
        unit="points" if analysis.in_points else "",
    ).p_two_sided
    return p is None or p >= LEVEL


def fit_constant(points: Sequence[tuple[int, float]]) -> float:
    """Fit c of n_patches = (F / 4) c norm by least squares through the origin (Section 4.4).

    Args:
        points: Pairs (best n_patches, mean patch norm), one per data set.

    Returns:
        The constant c; the paper's two points give its 6.65.

    Raises:
        WarminitError: If there is no point, or no norm is above 0.

    Example:
        >>> round(fit_constant([(28, 0.522), (16, 0.308)]), 2)
        6.65
    """
    x = [FILTERS / 4 * norm for _, norm in points]
    square = math.fsum(value * value for value in x)
    if not square > 0:
        raise WarminitError(
            f"points={list(points)!r} determine no slope: expected at least one data set with a "
            "mean patch norm above 0. Run the sweep on colour images."
        )
    return math.fsum(value * n for value, (n, _) in zip(x, points, strict=True)) / square
