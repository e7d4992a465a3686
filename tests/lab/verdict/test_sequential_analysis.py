"""runs of a sequential study -> verdicts: interval and p of the decision, failures, spared runs."""

import json
import math
from typing import Any

import pytest

from study_runs import CONSOLE, result, scored, shown, small_study, stored
from warminit.lab.sequential.decide import decide
from warminit.lab.sequential.design import Design
from warminit.lab.terminal.display import print_analysis
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.export import to_json, to_latex
from warminit.lab.verdict.wording import notes

CLEAR = [0.10, 0.11, 0.09, 0.12, 0.10, 0.08, 0.11, 0.10]
NOISE = [0.05, -0.04, 0.06, -0.05, 0.02, -0.03, 0.04, -0.02]
BASE = [0.70, 0.72, 0.71, 0.69, 0.70, 0.73, 0.70, 0.71]
DESIGN = {"max_seeds": 8, "futility": 0}


def finished(clear: int = 5, noise: int = 8, **changes: Any) -> Analysis:
    study = small_study(
        **{"arms": ["torch-default", "prewarm", "dirac"], "sequential": DESIGN, **changes}
    )
    scores = {
        "torch-default": BASE,
        "prewarm": [b + d for b, d in zip(BASE, CLEAR[:clear], strict=False)],
        "dirac": [b + d for b, d in zip(BASE, NOISE[:noise], strict=False)],
    }
    return analyse(study, scored(study, scores))


def test_the_verdict_uses_the_interval_and_the_p_of_the_decision() -> None:
    analysis = finished()
    design = Design(family=2, max_seeds=8, futility=0)
    wanted = decide(design, {"prewarm": CLEAR[:5], "dirac": NOISE})
    for comparison, arm in zip(analysis.comparisons, ("prewarm", "dirac"), strict=True):
        assert comparison.confidence_interval == pytest.approx(wanted[arm].interval)
        assert comparison.p_holm == pytest.approx(wanted[arm].p)
        assert comparison.n == wanted[arm].seeds
        # A p of a fixed number of seeds would not hold.
        assert comparison.p_one_sided is comparison.p_two_sided is comparison.p_equivalence is None
    helps, undecided = analysis.comparisons
    assert (helps.outcome, undecided.outcome) == ("helps", "undecided")
    assert "prewarm helps: 10.40 points above torch-default (97.5 % interval" in helps.verdict
    assert "decided after 5 of at most 8 seeds, adjusted p" in helps.verdict
    assert "with 8 seeds, the maximum: +0.38 points (95 % interval" in undecided.verdict


def test_seeds_after_the_decision_change_nothing() -> None:
    early, late = finished(clear=5), finished(clear=8)
    assert early.comparisons == late.comparisons
    assert (early.missing, early.spared) == (0, 3)
    assert (late.missing, late.spared) == (0, 0)


def test_what_is_missing_is_what_the_next_look_needs() -> None:
    analysis = finished(noise=6)
    # The baseline has all eight already: dirac's seventh seed alone is needed for the next look.
    assert (analysis.missing, analysis.spared, analysis.asked) == (1, 4, 24)
    assert "is open after 6 of at most 8 seeds" in analysis.comparisons[1].verdict
    assert any("1 run missing for the next look" in note for note in notes(analysis))
    assert not any("spared" in note for note in notes(analysis))


def test_a_lower_loss_helps_and_its_interval_is_arm_minus_baseline() -> None:
    study = small_study(
        arms=["torch-default", "prewarm"], metric="train_loss", margin=0.001, sequential=DESIGN
    )
    results = {}
    for place, seed in enumerate(study.seeds[:5]):
        results["torch-default", seed] = result(0.5, train_loss=[1.0])
        results["prewarm", seed] = result(0.5, train_loss=[1.0 - CLEAR[place]])
    (comparison,) = analyse(study, stored(study, results)).comparisons
    low, high = decide(Design(max_seeds=8, futility=0), {"a": CLEAR[:5]})["a"].interval or (0, 0)
    assert comparison.outcome == "helps"
    assert comparison.mean_difference == pytest.approx(-0.104)
    assert comparison.confidence_interval == pytest.approx((-high, -low))


def test_a_failed_pair_is_told_and_not_tested() -> None:
    study = small_study(arms=["torch-default", "prewarm"], sequential=DESIGN)
    results: dict[tuple[str, int], Any] = {}
    for place, seed in enumerate(study.seeds[:5]):
        results["torch-default", seed] = result(BASE[place])
        results["prewarm", seed] = result(BASE[place] + CLEAR[place])
    results["prewarm", study.seeds[1]] = "Traceback\nValueError: diverged"
    analysis = analyse(study, stored(study, results))
    (comparison,) = analysis.comparisons
    assert (comparison.outcome, comparison.n, comparison.p_holm) == ("undecided", 4, None)
    assert comparison.verdict == (
        "prewarm against torch-default is undecidable, because a run failed: +10.25 points over 4 "
        "seeds that both finished, not tested."
    )
    assert analysis.cells[1].failed == (study.seeds[1],)
    assert analysis.missing == 0


def test_equivalence_and_futility_say_so() -> None:
    study = small_study(arms=["torch-default", "prewarm", "dirac"], sequential={"max_seeds": 8})
    close = [b + d / 1000 for b, d in zip(BASE, NOISE[:5], strict=False)]
    far = [b + d for b, d in zip(BASE, NOISE[:5], strict=False)]
    scores = {"torch-default": BASE[:5], "prewarm": close, "dirac": far}
    same, early = analyse(study, scored(study, scores)).comparisons
    assert same.outcome == "equivalent"
    low, high = same.confidence_interval or (math.nan, math.nan)
    assert -study.margin < low < high < study.margin
    assert "are equivalent within 0.1 points" in same.verdict
    assert "ended early because 8 seeds are unlikely to decide" in early.verdict


def test_differences_that_are_all_equal_have_no_interval() -> None:
    study = small_study(arms=["torch-default", "prewarm"], sequential=DESIGN)
    scores = {"torch-default": BASE, "prewarm": BASE}
    (comparison,) = analyse(study, scored(study, scores)).comparisons
    assert comparison.confidence_interval is None
    assert comparison.verdict.endswith("with 8 seeds, the maximum: +0.00 points.")


def test_terminal_export_and_notes_have_what_the_verdict_uses() -> None:
    analysis = finished()
    text = shown(print_analysis, analysis, CONSOLE)
    assert "3 of 24 runs were spared: 8 seeds of every arm" in text
    assert "points and interval" in text
    assert "one-" not in text
    content = json.loads(to_json(analysis))
    assert content["spared_runs"] == 3
    decision = content["comparisons"][0]["decision"]
    assert (decision["outcome"], decision["seeds"], decision["max_seeds"]) == ("helps", 5, 8)
    assert len(decision["path"]) == 1
    assert "adjusted p & wins" in to_latex(analysis)
    fixed = analyse(small_study(), [])
    assert "decision" not in to_json(fixed)
    assert fixed.spared == 0


def test_a_run_below_stuck_below_has_failed_and_no_test_of_fixed_seeds_stands_beside() -> None:
    study = small_study(arms=["torch-default", "prewarm"], sequential=DESIGN, stuck_below=0.5)
    scores = {"torch-default": BASE[:5], "prewarm": [0.9, 0.9, 0.1, 0.9, 0.9]}
    analysis = analyse(study, scored(study, scores))
    (comparison,) = analysis.comparisons
    assert comparison.decision is not None
    assert comparison.decision.reason == "failure"
    assert "over 4 seeds that both finished" in comparison.verdict
    beside = analysis.cells[1].cross_entropy
    assert beside is not None
    assert (beside.p_two_sided, beside.p_holm, beside.confidence_interval) == (None, None, None)
    assert "not tested" in beside.beside("Cross-entropy")
