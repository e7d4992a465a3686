"""analyses of many settings -> one row per arm: its numbers over all settings.

A setting is a data set, a network and a protocol of one study.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from warminit.errors import WarminitError
from warminit.lab.verdict.across import (
    Across,
    interquartile_mean,
    probability_of_improvement,
    significantly_worse,
)
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.cells import scale_of
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.family import holm
from warminit.lab.verdict.wording import counted


@dataclass(frozen=True, slots=True)
class ArmAcross:
    """Hold one arm and one baseline over all settings that have both.

    Attributes:
        arm: Label of the arm.
        baseline: Label of the baseline.
        gains: Paired differences by setting, one per seed, above 0 if the arm is better: arm minus
            baseline, or for a loss baseline minus arm.
        middle: Interquartile mean of all gains.
        improvement: Probability that a run of the arm beats a run of the baseline.
        comparisons: One comparison per setting, with Holm's correction over all arms and settings.
        cross_entropies: Comparisons of cross-entropy, in settings that report it.
        failed: Number of failed runs of the arm, and of the baseline.
    """

    arm: str
    baseline: str
    gains: dict[str, tuple[float, ...]]
    middle: Across
    improvement: Across
    comparisons: tuple[Comparison, ...]
    cross_entropies: tuple[Comparison, ...]
    failed: tuple[int, int]

    @property
    def better(self) -> int:
        """Number of settings in which the arm is significantly better."""
        return sum(comparison.outcome == "helps" for comparison in self.comparisons)

    @property
    def worse(self) -> int:
        """Number of settings in which the arm is significantly worse."""
        return significantly_worse(self.comparisons)

    @property
    def higher_loss(self) -> int:
        """Number of settings in which the cross-entropy is significantly higher."""
        return significantly_worse(self.cross_entropies)

    @property
    def worst(self) -> tuple[str, float]:
        """Setting with the lowest mean gain, and that gain."""
        means = {setting: float(np.mean(gains)) for setting, gains in self.gains.items()}
        setting = min(means, key=means.__getitem__)
        return setting, means[setting]


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the results over many settings.

    Attributes:
        arms: One row per arm and baseline, in the order of the studies.
        metric: Primary metric of all studies.
        factor: Factor of the printed gains.
        unit: Unit of a printed gain, "" if there is none.
    """

    arms: tuple[ArmAcross, ...]
    metric: str
    factor: float
    unit: str


def across_settings(analyses: Sequence[Analysis]) -> Settings:
    """Compare every arm with its baseline over all settings of some studies.

    Args:
        analyses: Analyses of studies with one primary metric.

    Returns:
        One row per arm and baseline. Failed seeds are counted and left out of the gains. Bootstraps
        draw seeds within settings: the numbers describe these settings, not settings in general.

    Raises:
        WarminitError: If there is no study or no comparison, or the metrics differ.
    """
    metrics = sorted({analysis.study.metric for analysis in analyses})
    if len(metrics) != 1:
        raise WarminitError(
            f"metric={', '.join(metrics) or 'none'}: expected studies of one metric. Leave out the"
            " studies of another."
        )
    names = [analysis.study.name for analysis in analyses]
    titles = [
        name if names.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(names, start=1)
    ]
    found: dict[tuple[str, str], list[tuple[str, Cell, Cell]]] = {}
    for analysis, title in zip(analyses, titles, strict=True):
        baselines = {
            (cell.dataset, cell.model): cell
            for cell in analysis.cells
            if cell.arm == analysis.study.baseline
        }
        for cell in analysis.cells:
            baseline = baselines[cell.dataset, cell.model]
            if cell.comparison is not None:
                place = analysis.place(cell.dataset, cell.model)
                name = f"{title}: {place}" if len(analyses) > 1 else place
                found.setdefault((cell.arm, baseline.arm), []).append((name, cell, baseline))
    if not found:
        raise WarminitError(
            "arms=none: expected an arm and a baseline that share a seed. Run a study further."
        )
    comparisons, losses = (
        iter(
            holm(
                compared
                for settings in found.values()
                for _, cell, _ in settings
                if (compared := getattr(cell, name)) is not None
            )
        )
        for name in ("comparison", "cross_entropy")
    )
    rows = [
        _row(
            pair,
            settings,
            tuple(next(comparisons) for _ in settings),
            tuple(next(losses) for _, cell, _ in settings if cell.cross_entropy),
        )
        for pair, settings in found.items()
    ]
    scale = scale_of(analyses[0])
    return Settings(tuple(rows), metrics[0], scale.factor, scale.unit)


def _row(
    pair: tuple[str, str],
    settings: list[tuple[str, Cell, Cell]],
    comparisons: tuple[Comparison, ...],
    losses: tuple[Comparison, ...],
) -> ArmAcross:
    toward = 1.0 if comparisons[0].higher_is_better else -1.0
    arm: dict[str, list[float]] = {}
    baseline: dict[str, list[float]] = {}
    for name, cell, other in settings:
        shared = [seed for seed in cell.scores if seed in other.scores]
        arm[name] = [toward * cell.scores[seed] for seed in shared]
        baseline[name] = [toward * other.scores[seed] for seed in shared]
    gains = {
        name: tuple(a - b for a, b in zip(arm[name], baseline[name], strict=True)) for name in arm
    }
    failures = [cell.failures for _, cell, _ in settings if cell.failures]
    return ArmAcross(
        arm=pair[0],
        baseline=pair[1],
        gains=gains,
        middle=interquartile_mean(gains),
        improvement=probability_of_improvement(arm, baseline),
        comparisons=comparisons,
        cross_entropies=losses,
        failed=(sum(f.arm for f in failures), sum(f.baseline for f in failures)),
    )


HEADINGS = (
    "arm", "settings", "runs", "gain", "interval", "beats the baseline", "its interval",
    "better", "worse", "loss higher", "failed", "baseline failed", "worst setting", "its gain",
)  # fmt: skip
"""Headings of the rows that every display of settings shares."""


def texts(settings: Settings) -> list[tuple[str, ...]]:
    """Return one row of texts per arm, in the order of `HEADINGS`."""

    def gain(value: float) -> str:
        return f"{settings.factor * value:+.{2 if settings.unit == 'points' else 4}f}"

    return [
        (
            arm.arm,
            str(len(arm.gains)),
            str(sum(map(len, arm.gains.values()))),
            gain(arm.middle.value),
            "{} to {}".format(*map(gain, arm.middle.interval)),
            f"{100 * arm.improvement.value:.0f} %",
            "{:.0f} to {:.0f} %".format(*(100 * end for end in arm.improvement.interval)),
            str(arm.better),
            str(arm.worse),
            str(arm.higher_loss) if arm.cross_entropies else "",
            str(arm.failed[0]),
            str(arm.failed[1]),
            arm.worst[0],
            gain(arm.worst[1]),
        )
        for arm in settings.arms
    ]


def sentences(settings: Settings) -> list[str]:
    """Return one sentence per arm, and an explanation of the numbers."""
    unit = f" {settings.unit}".rstrip()
    told = []
    for arm, row in zip(settings.arms, texts(settings), strict=True):
        cell = dict(zip(HEADINGS, row, strict=True))
        loss = f", its cross-entropy higher in {arm.higher_loss}" if arm.cross_entropies else ""
        told.append(
            f"{arm.arm} against {arm.baseline} in {counted(len(arm.gains), 'setting')}:"
            f" {cell['gain']}{unit} (95 % interval {cell['interval']}); it beats the baseline in"
            f" {cell['beats the baseline']} of pairs of runs; significantly better in {arm.better},"
            f" worse in {arm.worse}{loss}. Failed runs: {arm.failed[0]}, of the baseline"
            f" {arm.failed[1]}."
        )
    return told


EXPLANATION = (
    "Gain: interquartile mean of the differences from the baseline at the same seed; above 0 the "
    "arm is better. Intervals: bootstrap of the seeds within each setting. Better, worse and loss "
    "higher: settings, after Holm's correction over all arms and settings. Failed seeds are in no "
    "gain."
)
"""Explanation of the table."""
