"""a finished table3 study -> Table 3, beside the paper's, labelled where it is no reproduction."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from study_runs import CONSOLE, scored, shown
from warminit.lab.paper.published import TABLE_3
from warminit.lab.paper.reproduce import Candidate
from warminit.lab.paper.training_tables import caveats, means, published_spread, table_3
from warminit.lab.study.builtin import changed_study, load_study
from warminit.lab.study.table1 import TABLE_1
from warminit.lab.terminal.training_display import print_table_3
from warminit.lab.verdict.analysis import Analysis, analyse


def with_moments(mean: float, sd: float, n: int = 8) -> Any:
    """Return n numbers with exactly this mean and sample standard deviation."""
    raw = np.arange(n, dtype=float)
    return mean + sd * (raw - raw.mean()) / raw.std(ddof=1)


def measured(
    baseline: Any, arm: Any, *, dataset: str = "mnist", partial: bool = False, **changes: Any
) -> Analysis:
    study = changed_study(load_study("table3"), datasets=[dataset], **changes)
    runs = scored(study, {"torch-default": baseline, "prewarm": arm})
    return analyse(study, runs, partial=[dataset] if partial else [])


def complete(name: str = "mnist") -> Candidate:
    return Candidate(name, TABLE_1[name].title, "complete")


def test_the_spread_that_the_papers_p_implies() -> None:
    for row in TABLE_3.values():
        differences = with_moments(row.difference, published_spread(row))
        p = stats.ttest_1samp(differences, 0, alternative="greater").pvalue
        assert p == pytest.approx(row.p_one_sided, rel=1e-9)


def test_the_papers_own_figures_do_not_differ_from_it() -> None:
    row = TABLE_3["mnist"]
    baseline = with_moments(row.kaiming, row.kaiming_sd)
    # Paired with the baseline reversed: the differences must have the paper's mean and spread.
    arm = baseline + with_moments(row.difference, published_spread(row))[::-1]
    (found,) = table_3([complete()], measured(baseline, arm))
    assert found.differs["kaiming"] is False
    assert found.differs["difference"] is False
    assert found.differs["p_one_sided"] is False
    assert found.error_change == pytest.approx(row.error_change, abs=0.05)


def test_means_differ_where_welchs_test_says_so() -> None:
    row = TABLE_3["mnist"]
    gain = with_moments(row.difference, published_spread(row))
    # The last has ten times the paper's spread, where the pooled test would find a difference.
    cases = [(0.0002, 0.0005), (0.0004, 0.0005), (0.0006, 0.0005), (-0.0032, 0.004)]
    for shift, spread in cases:
        baseline = with_moments(row.kaiming + shift, spread)
        (found,) = table_3([complete()], measured(baseline, baseline + gain))
        oracle = stats.ttest_ind(
            with_moments(row.kaiming, row.kaiming_sd), baseline, equal_var=False
        ).pvalue
        assert found.differs["kaiming"] is bool(oracle < 0.05)
        assert found.differs["difference"] is False


def test_an_effect_that_is_not_there_is_marked() -> None:
    baseline = with_moments(0.9928, 0.0004)
    arm = baseline + with_moments(-0.001, 0.0003)
    analysis = measured(baseline, arm)
    rows = table_3([complete()], analysis)
    assert rows[0].differs == {
        "kaiming": False,
        "prewarm": True,
        "difference": True,
        "error_change": True,
        "p_one_sided": True,
        "wins": True,
    }
    text = shown(print_table_3, rows, analysis, CONSOLE)
    assert "0.9928 0.9918≠ -0.0010≠" in text
    assert "0/8≠" in text
    assert "0.0109**" in text
    assert "prewarm harms" in text


def test_errors_of_the_paper_stand_beside_its_cells() -> None:
    rows = table_3([Candidate("cifar100", "CIFAR-100", "not available", reason="data")], None)
    text = shown(print_table_3, rows, None, CONSOLE)
    assert "-11.89†" in text
    assert "(-1.19)" in text
    assert "-5.26†" in text
    assert "(-3.12)" in text
    assert "the paper prints -11.89, it should be -1.19" in text
    assert "the paper prints -5.26, it should be -3.12" in text
    assert "0.0616: not significant" in text
    assert "data not available" in text.replace("data - - - - - - not", "data not")


def test_partial_data_are_never_set_beside_the_paper() -> None:
    baseline = with_moments(0.80, 0.01)
    analysis = measured(baseline, baseline + 0.01, dataset="svhn", partial=True)
    partial = Candidate("svhn", "SVHN", "partial", reason="partial: 7,500 training")
    (row,) = table_3([partial], analysis)
    assert row.paper is None
    assert row.differs == {}
    text = shown(print_table_3, [row], analysis, CONSOLE)
    assert "paper" not in text.split("no reproduction of the paper's row")[0]
    assert "0.8908" not in text
    assert "SVHN, partial: 7,500 training: no reproduction of the paper's row" in text
    assert means([row]) == (0, None, None)


def test_what_is_not_the_papers_protocol_is_labelled() -> None:
    analysis = measured(
        [0.5, 0.6], [0.6, 0.65], seeds=2, protocol={"steps": 300}, patch_counts="rule"
    )
    assert caveats(analysis) == [
        "300 of the paper's 5,000 steps",
        "2 seeds in place of 8",
        "n_patches by the rule, not as published",
    ]
    rows = table_3([complete()], analysis)
    assert rows[0].differs == {}
    text = shown(print_table_3, rows, analysis, CONSOLE)
    assert "Not the paper's protocol: 300 of the paper's 5,000 steps" in text
    assert "≠" not in text
    full = measured(with_moments(0.9928, 0.0004), with_moments(0.9933, 0.0003))
    assert caveats(full) == []


def test_one_seed_is_shown_without_a_p() -> None:
    analysis = measured([0.5], [0.6], seeds=1)
    rows = table_3([complete()], analysis)
    assert rows[0].differs == {}
    text = shown(print_table_3, rows, analysis, CONSOLE)
    assert "here 0.5000 0.6000 +0.1000 -20.00 - 1/1" in text
