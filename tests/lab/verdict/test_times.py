"""Curves of a study's runs -> steps and seconds to an accuracy, each worked by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from study_runs import CONSOLE, result, shown, small_study, stored
from warminit.lab.report.tables import times_table
from warminit.lab.runs.results import RunResult
from warminit.lab.terminal.display import print_analysis
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.rows import summary
from warminit.lab.verdict.times import times

STEPS = (50, 100, 150, 200)
Given = Mapping[str, Sequence[Sequence[float] | str]]
SLOW = [[0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.8]]
FAST = [[0.6, 0.8, 0.8, 0.9], [0.8, 0.8, 0.8, 0.9], [0.6, 0.7, 0.8, 0.9]]


def analysed(curves: Given, **changes: Any) -> Analysis:
    study = small_study(arms=list(curves), seeds=3, **changes)
    results: dict[tuple[str, int], RunResult | str] = {}
    for arm, given in curves.items():
        for seed, curve in zip(study.seeds, given, strict=True):
            results[arm, seed] = (
                curve if isinstance(curve, str) else result(curve[-1], curve=curve, steps=STEPS)
            )
    return analyse(study, stored(study, results))


def test_the_steps_to_the_baselines_final_accuracy_are_those_by_hand() -> None:
    (found,) = times(analysed({"torch-default": SLOW, "prewarm": FAST}))
    assert found.final
    assert found.steps.threshold == pytest.approx(0.8)
    assert found.steps.steps_baseline == 200
    assert found.steps.steps_arm == (100 + 50 + 150) / 3
    assert found.steps.ratio == 0.5
    assert found.steps.interval is not None
    low, high = found.steps.interval
    assert 0.25 <= low < 0.5 < high <= 0.75  # the seeds' own ratios are 0.25, 0.5 and 0.75
    # By `result`: 0.25 s of initialization, and 3.5 s for 200 steps.
    assert found.seconds_arm == pytest.approx(0.25 + 3.5 / 2)
    assert found.seconds_baseline == pytest.approx(0.25 + 3.5)


def test_thresholds_of_the_study_come_after_it_and_who_never_arrives_is_censored() -> None:
    analysis = analysed({"torch-default": SLOW, "prewarm": FAST}, thresholds=[0.6, 0.85])
    final, low, high = times(analysis)
    assert (low.steps.threshold, high.steps.threshold) == (0.6, 0.85)
    assert not low.final
    assert (low.steps.steps_arm, low.steps.steps_baseline) == (50, 100)
    assert (high.steps.arrived_arm, high.steps.arrived_baseline) == (3, 0)
    assert (high.steps.steps_arm, high.steps.steps_baseline) == (200, 200)
    assert "200 steps, torch-default at least 200 (ratio 1.00" in high.sentence
    assert final.steps.threshold == pytest.approx(0.8)
    *_, never = times(analysed({"torch-default": SLOW, "prewarm": FAST}, thresholds=[0.99]))
    assert (
        never.sentence == "Time to 99.00 %: none of 3 runs of either arm reaches it in 200 steps."
    )


@pytest.mark.parametrize("lost", ["Traceback\nValueError: no", [0.1, 0.1, 0.1, 0.1]])
def test_a_failed_run_never_arrives(lost: Any) -> None:
    (found,) = times(analysed({"torch-default": SLOW, "prewarm": [*FAST[:2], lost]}))
    assert (found.steps.n, found.steps.arrived_arm) == (3, 2)
    assert found.steps.steps_arm == pytest.approx((100 + 50 + 200) / 3)


def test_the_threshold_is_that_of_the_runs_that_did_not_fail() -> None:
    baseline = [*SLOW[:2], [0.1, 0.1, 0.1, 0.1]]
    (found,) = times(analysed({"torch-default": baseline, "prewarm": FAST}))
    assert found.steps.threshold == pytest.approx(0.8)
    assert found.steps.arrived_baseline == 2


def test_unfinished_seeds_and_other_evaluations_are_left_out() -> None:
    analysis = analysed({"torch-default": SLOW, "prewarm": FAST})
    other = result(0.9, curve=[0.9], steps=(200,))
    runs = [
        replace(run, result=other) if run.spec.arm.label == "prewarm" else run
        for run in analysis.runs
    ]
    assert times(replace(analysis, runs=tuple(runs))) == ()
    (found,) = times(replace(analysis, runs=analysis.runs[:-1]))
    assert found.steps.n == 2
    bare = [replace(run, result=replace_curve(run.result)) for run in analysis.runs]
    assert times(replace(analysis, runs=tuple(bare))) == ()


def replace_curve(whole: RunResult | None) -> RunResult:
    assert whole is not None
    return replace(whole, eval_steps=(), eval_metrics={})


def test_every_display_says_it_with_the_spacing() -> None:
    analysis = analysed({"torch-default": SLOW, "prewarm": FAST})
    printed = " ".join(shown(print_analysis, analysis, CONSOLE).split())
    assert (
        "Time to 80.00 %, the final accuracy of torch-default: 100 steps, torch-default 200 (ratio"
        " 0.50, 95 % interval"
    ) in printed
    assert "evaluated every 50 steps." in printed
    close = [[0.5, 0.6, 0.8, 0.9], *FAST[:1], [0.5, 0.6, 0.7, 0.8]]
    (near,) = times(analysed({"torch-default": SLOW, "prewarm": close}))
    assert near.steps.steps_arm == 150  # 50 before the baseline's 200: as fine as the spacing
    assert near.sentence.endswith("evaluated every 50 steps.")
    (nearer,) = times(analysed({"torch-default": SLOW, "prewarm": [close[0], *SLOW[1:]]}))
    assert nearer.sentence.endswith("every 50 steps, which is more than the difference.")
    table = times_table(analysis)
    assert table.rows[0][4].value == 100
    assert "Evaluated every 50 steps" in table.caption
    (kept,) = summary(analysis)["times"]
    assert kept["steps"]["ratio"] == 0.5
