"""Analysis -> steps and seconds of each arm to the baseline's final accuracy and others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from warminit.lab.runs.results import RunResult
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.at_look import ALPHA, look_level
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.time_to import TimeTo, time_to

Runs = Mapping[int, RunResult | None]
"""Results by seed; None for a run that ended with an error."""


@dataclass(frozen=True, slots=True)
class ArmTime:
    """Hold the time of one arm to one accuracy, and that of the baseline.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        arm: Label of the arm.
        baseline: Label of the baseline.
        final: Whether the accuracy is the baseline's mean final accuracy.
        steps: Restricted mean steps of both, and their ratio.
        seconds_arm: Measured time of the arm's initialization and of its restricted mean steps,
            including evaluations.
        seconds_baseline: Measured time of the baseline, likewise.
    """

    dataset: str
    model: str
    arm: str
    baseline: str
    final: bool
    steps: TimeTo
    seconds_arm: float
    seconds_baseline: float

    @property
    def sentence(self) -> str:
        """Comparison as one sentence."""
        t = self.steps
        what = f", the final accuracy of {self.baseline}" if self.final else ""
        interval = (
            "" if t.interval is None else ", 95 % interval {:.2f} to {:.2f}".format(*t.interval)
        )
        if not t.arrived_arm + t.arrived_baseline:
            return (
                f"Time to {100 * t.threshold:.2f} %{what}: none of {t.n} runs of either arm reaches"
                f" it in {t.horizon:,.0f} steps."
            )
        arm, other = (
            f"{'' if arrived else 'at least '}{steps:,.0f}"
            for arrived, steps in (
                (t.arrived_arm, t.steps_arm),
                (t.arrived_baseline, t.steps_baseline),
            )
        )
        apart = abs(t.steps_arm - t.steps_baseline)
        coarse = ", which is more than the difference" if 0 < apart < t.spacing else ""
        return (
            f"Time to {100 * t.threshold:.2f} %{what}: {arm} steps, {self.baseline}"
            f" {other} (ratio {t.ratio:.2f}{interval}). It is reached by"
            f" {t.arrived_arm} of {t.n} runs, {self.baseline} {t.arrived_baseline} of {t.n};"
            f" evaluated every {t.spacing:,.0f} steps{coarse}."
        )


def times(analysis: Analysis) -> tuple[ArmTime, ...]:
    """Compare the times of arms to the baseline's final accuracy and to the study's thresholds.

    Seeds that have ended in both arms are paired, including failed runs. A run that never arrives
    counts as arriving at its last step.

    Returns:
        One result per arm and accuracy, in the study's order, without the baseline; none if runs
        have no accuracy curve.
    """
    runs: dict[tuple[str, str, str], dict[int, RunResult | None]] = {}
    for run in analysis.runs:
        place = (run.spec.dataset, run.spec.model, run.spec.arm.label)
        runs.setdefault(place, {})[run.spec.seed] = run.result
    baselines = {
        (cell.dataset, cell.model): cell
        for cell in analysis.cells
        if cell.arm == analysis.study.baseline
    }
    found: list[ArmTime] = []
    for cell in analysis.cells:
        baseline = baselines[cell.dataset, cell.model]
        if cell.arm != baseline.arm:
            pair = [runs.get((each.dataset, each.model, each.arm), {}) for each in (cell, baseline)]
            found += _times(analysis, cell, baseline, *pair)
    return tuple(found)


def _times(
    analysis: Analysis, cell: Cell, baseline: Cell, arm_runs: Runs, baseline_runs: Runs
) -> list[ArmTime]:
    steps = next((r.eval_steps for r in baseline_runs.values() if r and _curve(r)), ())
    seeds = [
        seed
        for seed in analysis.study.seeds
        if all(seed in runs and _fits(runs[seed], steps) for runs in (arm_runs, baseline_runs))
    ]
    finals = [
        r.metrics["accuracy"] for s in baseline.scores if (r := baseline_runs.get(s)) and _curve(r)
    ]
    decision = cell.comparison.decision if cell.comparison else None
    if decision is not None and decision.outcome != "go on" and decision.reason != "failure":
        seeds = seeds[: decision.seeds]  # as in the verdict
    if not steps or not seeds or not finals:
        return []
    design = analysis.study.design()
    alpha = ALPHA if design is None else look_level(design, len(seeds))
    arm_curves, baseline_curves = (
        [_curve(runs[seed]) or [math.nan] * len(steps) for seed in seeds]
        for runs in (arm_runs, baseline_runs)
    )
    # Rounded down to the six digits of kept curves, or equal accuracies would not reach it.
    final = math.floor(fmean(finals) * 1e6 + 1e-3) / 1e6
    found: list[ArmTime] = []
    for threshold in (final, *analysis.study.thresholds):
        reached = time_to(steps, arm_curves, baseline_curves, threshold, alpha=alpha)
        found.append(
            ArmTime(
                dataset=cell.dataset,
                model=cell.model,
                arm=cell.arm,
                baseline=baseline.arm,
                final=not found,
                steps=reached,
                seconds_arm=_seconds(arm_runs, seeds, steps[-1], reached.steps_arm),
                seconds_baseline=_seconds(baseline_runs, seeds, steps[-1], reached.steps_baseline),
            )
        )
    return found


def _curve(result: RunResult | None) -> Sequence[float]:
    return () if result is None else result.eval_metrics.get("accuracy", ())


def _fits(result: RunResult | None, steps: tuple[int, ...]) -> bool:
    """Return whether a run can be paired: an error, or an accuracy curve at these steps."""
    return result is None or (bool(_curve(result)) and result.eval_steps == steps)


def _seconds(runs: Runs, seeds: Sequence[int], last: int, steps: float) -> float:
    done = [result for seed in seeds if (result := runs[seed]) is not None]
    if not done:
        return math.nan
    return fmean(r.init_seconds for r in done) + steps * fmean(r.train_seconds for r in done) / last
