"""stored runs -> Analysis: pairs by seed, SciPy's tests, Holm's family, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study_runs import ENVIRONMENT, result, scored, small_study, stored
from warminit.errors import WarminitError
from warminit.lab.verdict.analysis import analyse
from warminit.lab.verdict.mixed import refuse_mixed
from warminit.lab.verdict.wording import notes

SCORES = {
    "torch-default": [0.70, 0.72, 0.71, 0.69],
    "prewarm": [0.71, 0.74, 0.71, 0.70],
    "he-normal": [0.69, 0.73, 0.70, 0.66],
}


def test_each_arm_is_compared_with_the_baseline_as_scipy_does() -> None:
    study = small_study()
    analysis = analyse(study, scored(study, SCORES))
    assert [cell.arm for cell in analysis.cells] == ["torch-default", "prewarm", "he-normal"]
    assert analysis.cells[0].comparison is None
    plain = []
    for cell in analysis.cells[1:]:
        a, b = np.array(SCORES[cell.arm]), np.array(SCORES["torch-default"])
        assert cell.mean == pytest.approx(a.mean())
        assert cell.sd == pytest.approx(a.std(ddof=1))
        assert cell.comparison is not None
        assert cell.comparison.mean_difference == pytest.approx((a - b).mean())
        oracle = stats.ttest_rel(a, b, alternative="greater")
        assert cell.comparison.p_one_sided == pytest.approx(oracle.pvalue)
        plain.append(stats.ttest_rel(a, b).pvalue)
        assert cell.comparison.wins == int((a - b > 1e-12).sum())
    adjusted = multipletests(plain, method="holm")[1]
    assert [c.p_holm for c in analysis.comparisons] == pytest.approx(list(adjusted))
    assert analysis.missing == 0
    assert analysis.failed == ()


def test_only_seeds_that_both_arms_finished_are_paired() -> None:
    study = small_study(arms=["torch-default", "prewarm"])
    baseline_scores = dict(zip(study.seeds[:3], [0.5, 0.6, 0.7], strict=True))
    arm_scores = dict(zip(study.seeds[1:], [0.65, 0.72, 0.9], strict=True))
    results = {("torch-default", seed): result(score) for seed, score in baseline_scores.items()}
    results |= {("prewarm", seed): result(score) for seed, score in arm_scores.items()}
    runs = stored(
        study, {**results, ("torch-default", study.seeds[3]): "Traceback\nValueError: no"}
    )
    analysis = analyse(study, runs)
    baseline, arm = analysis.cells
    assert baseline.failed == (study.seeds[3],)
    assert list(arm.scores) == list(study.seeds[1:])
    assert arm.comparison is not None
    assert arm.comparison.n == 2
    assert arm.comparison.mean_difference == pytest.approx((0.05 + 0.02) / 2)
    assert analysis.missing == 1
    assert [run.error for run in analysis.failed] == ["Traceback\nValueError: no"]


def test_an_arm_that_shares_no_seed_has_no_comparison() -> None:
    study = small_study(arms=["torch-default", "prewarm"])
    first, second = study.seeds[:2]
    runs = stored(study, {("torch-default", first): result(0.5), ("prewarm", second): result(0.6)})
    cells = analyse(study, runs).cells
    assert [cell.comparison for cell in cells] == [None, None]
    assert analyse(study, []).cells[0].mean is None


def test_a_loss_is_better_when_it_is_lower() -> None:
    study = small_study(arms=["torch-default", "prewarm"], metric="train_loss")
    results = {}
    for number, seed in enumerate(study.seeds):
        results["torch-default", seed] = result(0.5, train_loss=[1.0 + 0.1 * number])
        results["prewarm", seed] = result(0.5, train_loss=[0.9 + 0.09 * number])
    analysis = analyse(study, stored(study, results))
    comparison = analysis.comparisons[0]
    assert not analysis.in_points
    assert comparison.mean_difference < 0
    assert comparison.wins == 4
    assert comparison.p_one_sided is not None
    assert comparison.p_one_sided < 0.05
    assert "points" not in comparison.verdict


def test_the_family_goes_over_data_sets_and_models() -> None:
    study = small_study(datasets=["digits", "fashion-mini"], models=["simplecnn", "resnet20"])
    analysis = analyse(study, scored(study, SCORES))
    assert len(analysis.comparisons) == 8
    smallest = min(c.p_two_sided for c in analysis.comparisons if c.p_two_sided is not None)
    holm = min(c.p_holm for c in analysis.comparisons if c.p_holm is not None)
    assert holm == pytest.approx(min(1.0, 8 * smallest))


def test_different_versions_are_refused_unless_accepted() -> None:
    study = small_study(arms=["torch-default", "prewarm"])
    old = stored(study, {("torch-default", seed): result(0.5) for seed in study.seeds})
    new = stored(
        study,
        {("prewarm", seed): result(0.6) for seed in study.seeds},
        environment=ENVIRONMENT | {"torch": "2.1"},
    )
    with pytest.raises(WarminitError, match=r"different torch: 2\.0, 2\.1; .*pass --allow-mixed"):
        analyse(study, [*old, *new])
    assert analyse(study, [*old, *new], allow_mixed=True).mixed == ("torch 2.0 and 2.1",)


def test_different_devices_are_always_refused() -> None:
    environments = [ENVIRONMENT, ENVIRONMENT | {"device": "NVIDIA H200"}]
    with pytest.raises(WarminitError, match=r"different device: NVIDIA H200, cpu; .*--out\)\.$"):
        refuse_mixed(environments, allow_mixed=True)


def test_partial_data_sets_are_labelled() -> None:
    study = small_study()
    analysis = analyse(study, scored(study, SCORES), partial=["digits"])
    assert analysis.title("digits") == "digits (partial)"
    assert analyse(study, []).title("digits") == "digits"


@pytest.mark.parametrize(("head", "told"), [(None, True), (0.1, False), (0.0, False)])
def test_a_head_that_was_left_is_told_beside_the_numbers(head: float | None, told: bool) -> None:
    study = small_study(arms=["torch-default", "whitening-small-head"])
    report = {"parameters": {"head_scale": head}, "notes": []}
    results = {
        (arm, seed): replace(result(0.5), init_report=report if "head" in arm else {})
        for arm in ("torch-default", "whitening-small-head")
        for seed in study.seeds
    }
    text = (
        "whitening-small-head set only filters in simplecnn on digits, and left the last layer; the"
        " report page says why."
    )
    assert (text in notes(analyse(study, stored(study, results)))) is told


def test_a_metric_that_is_no_number_counts_as_a_failed_seed() -> None:
    study = small_study(arms=["torch-default", "prewarm"], metric="train_loss")
    results = {
        (arm, seed): result(0.5) for arm in ("torch-default", "prewarm") for seed in study.seeds
    }
    results["prewarm", study.seeds[1]] = result(0.5, train_loss=[])  # no curve, so its mean is NaN
    cells = analyse(study, stored(study, results)).cells
    assert cells[1].failed == (study.seeds[1],)
    assert cells[1].comparison is not None
    assert cells[1].comparison.n == len(study.seeds) - 1
