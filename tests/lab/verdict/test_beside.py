"""What stands beside a verdict: cross-entropy with a margin of its own, and failed runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study_runs import CONSOLE, result, shown, small_study, stored
from warminit.lab.study.study import Study
from warminit.lab.terminal.display import print_analysis
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.cells import cell_rows
from warminit.lab.verdict.failures import compare_failures, stuck_below

BASELINE = [0.500, 0.520, 0.505, 0.495]


def analysed(losses: Mapping[str, Sequence[float]], **changes: Any) -> Analysis:
    study = small_study(arms=list(losses), **changes)
    results = {
        (arm, seed): result(0.7 + 0.01 * number, loss=value)
        for arm, values in losses.items()
        for number, (seed, value) in enumerate(zip(study.seeds, values, strict=True))
    }
    return analyse(study, stored(study, results))


def test_cross_entropy_is_compared_as_scipy_does_and_has_a_family_of_its_own() -> None:
    given = {
        "torch-default": BASELINE,
        "prewarm": [0.52, 0.53, 0.526, 0.512],
        "he-normal": [0.44, 0.47, 0.45, 0.43],
    }
    analysis = analysed(given)
    plain = []
    for cell in analysis.cells[1:]:
        a, b = np.array(given[cell.arm]), np.array(BASELINE)
        c = cell.cross_entropy
        assert c is not None
        assert c.mean_difference == pytest.approx((a - b).mean())
        assert c.p_noninferiority == pytest.approx(
            stats.ttest_1samp(a - b, 0.02, alternative="less").pvalue
        )
        plain.append(stats.ttest_rel(a, b).pvalue)
    found = [cell.cross_entropy.p_holm for cell in analysis.cells if cell.cross_entropy]
    assert found == pytest.approx(list(multipletests(plain, method="holm")[1]))
    assert analysis.cells[0].cross_entropy is None


@pytest.mark.parametrize(
    ("losses", "margin", "words"),
    [
        ([0.440, 0.470, 0.450, 0.430], 0.02, "Cross-entropy is lower: -0.0575 nats (95 % interval"),
        ([0.600, 0.625, 0.606, 0.592], 0.02, "Cross-entropy is higher: +0.1007"),
        (
            [0.505, 0.526, 0.511, 0.500],
            0.02,
            "Cross-entropy is higher, by less than 0.02 nats: +0.0055",
        ),
        ([0.501, 0.519, 0.507, 0.494], 0.02, "Cross-entropy is not worse by 0.02 nats: +0.00025"),
        ([0.501, 0.519, 0.507, 0.494], 1e-5, "Cross-entropy is undecided: +0.00025"),
    ],
)
def test_each_standing_has_a_sentence(losses: list[float], margin: float, words: str) -> None:
    analysis = analysed({"torch-default": BASELINE, "prewarm": losses}, loss_margin=margin)
    (sentence,) = cell_rows(analysis)[1].beside
    assert sentence.startswith(words), sentence
    assert sentence.endswith(".")
    printed = " ".join(shown(print_analysis, analysis, CONSOLE).split())
    assert sentence in printed


def test_a_study_of_the_loss_does_not_say_it_twice() -> None:
    analysis = analysed({"torch-default": BASELINE, "prewarm": BASELINE[::-1]}, metric="loss")
    assert cell_rows(analysis)[1].beside == ()


def partly_stuck(arm: Sequence[float | str], baseline: Sequence[float], **changes: Any) -> Analysis:
    study = small_study(arms=["torch-default", "prewarm"], seeds=len(arm), **changes)
    results: dict[tuple[str, int], Any] = {}
    for seed, a, b in zip(study.seeds, arm, baseline, strict=True):
        results["prewarm", seed] = a if isinstance(a, str) else result(a)
        results["torch-default", seed] = result(b)
    return analyse(study, stored(study, results))


def test_stuck_and_diverged_runs_are_counted_and_left_out_of_the_differences() -> None:
    arm: list[float | str] = [0.61, 0.20, 0.58, "diverged", 0.60, 0.21]
    baseline = [0.60, 0.59, 0.58, 0.57, 0.58, 0.19]
    cell = partly_stuck(arm, baseline).cells[1]
    seeds = partly_stuck(arm, baseline).study.seeds
    assert cell.failed == (seeds[1], seeds[3], seeds[5])
    assert cell.comparison is not None
    assert cell.comparison.n == 3
    assert cell.comparison.mean_difference == pytest.approx((0.01 + 0.0 + 0.02) / 3)
    failed = [seed in cell.failed for seed in seeds]
    assert cell.failures == compare_failures(failed, [False] * 5 + [True])
    (_, sentence) = cell_rows(partly_stuck(arm, baseline))[1].beside
    assert "prewarm 3 of 6, torch-default 1 of 6, exact p 0.5000" in sentence


def test_an_arm_that_is_poor_at_every_seed_is_worse_and_not_stuck() -> None:
    cell = partly_stuck([0.21, 0.20, 0.22], [0.60, 0.61, 0.59]).cells[1]
    assert cell.failed == ()
    assert cell.comparison is not None
    assert cell.comparison.outcome == "harms"


def test_a_study_may_say_what_is_stuck() -> None:
    cell = partly_stuck([0.52, 0.50, 0.9], [0.9, 0.9, 0.9], stuck_below=0.55).cells[1]
    assert len(cell.failed) == 2


def test_an_arm_whose_runs_all_failed_is_still_counted() -> None:
    lost: list[float | str] = ["diverged"] * 3
    analysis = partly_stuck(lost, [0.9] * 3)
    (sentence,) = cell_rows(analysis)[1].beside
    assert "prewarm 3 of 3, torch-default 0 of 3, exact p 0.2500" in sentence
    assert "prewarm 3 of 3" in " ".join(shown(print_analysis, analysis, CONSOLE).split())


def test_nothing_is_stuck_before_anything_has_trained() -> None:
    assert stuck_below([0.05, 0.1, 0.25]) == 0
    assert stuck_below([]) == stuck_below([float("nan")]) == 0
    assert stuck_below([0.3]) == 0.15


def test_studies_of_0_1_have_the_usual_margin() -> None:
    values = small_study().model_dump(exclude={"loss_margin", "stuck_below"})
    assert Study.model_validate(values).loss_margin == 0.02
