"""the looks figure -> the path of each comparison with its boundaries; its place on the page."""

import json

import pytest
from scipy import stats

from study_runs import scored, small_study
from warminit.lab.figures.look_paths import look_paths, look_rows
from warminit.lab.figures.render import render, spec
from warminit.lab.report.page import page
from warminit.lab.verdict.analysis import Analysis, analyse

PLACE = ("digits", "simplecnn")
BASE = [0.70, 0.72, 0.71, 0.69, 0.70, 0.73, 0.70, 0.71]
CLEAR = [0.10, 0.11, 0.09, 0.12, 0.10]
NOISE = [0.05, -0.04, 0.06, -0.05, 0.02, -0.03, 0.04, -0.02]


def sequential() -> Analysis:
    study = small_study(
        arms=["torch-default", "prewarm", "dirac"], sequential={"max_seeds": 8, "futility": 0}
    )
    scores = {
        "torch-default": BASE,
        "prewarm": [b - d for b, d in zip(BASE, CLEAR, strict=False)],
        "dirac": [b + d for b, d in zip(BASE, NOISE, strict=True)],
    }
    return analyse(study, scored(study, scores))


def test_each_look_has_its_t_and_its_boundary() -> None:
    rows = look_rows(sequential(), *PLACE)
    assert [(row["arm"], row["seeds"]) for row in rows] == [
        ("prewarm", 5), ("dirac", 5), ("dirac", 6), ("dirac", 7), ("dirac", 8)
    ]  # fmt: skip
    first = rows[0]
    assert first["evidence"] == pytest.approx(stats.ttest_1samp([-d for d in CLEAR], 0).statistic)
    assert first["evidence"] < first["minus"] == -first["boundary"]
    assert (first["last"], first["outcome"]) == (True, "harms")
    for row in rows[1:]:
        wanted = stats.ttest_1samp(NOISE[: row["seeds"]], 0).statistic
        assert row["evidence"] == pytest.approx(wanted)
        assert abs(row["evidence"]) < row["boundary"]
    assert [row["last"] for row in rows[1:]] == [False, False, False, True]


def test_the_page_of_a_sequential_study_has_it_with_a_text_alternative() -> None:
    analysis = sequential()
    chart = look_paths(analysis, *PLACE)
    assert chart is not None
    text = spec(chart)["description"]
    assert "prewarm: -20.40 after 5 seeds, boundary" in text
    assert "(harms)" in text
    assert b"seeds so far" in render(chart, "svg")
    shown = page(analysis)
    assert "Look by look" in shown
    assert json.dumps(text)[1:20] in shown
    assert "adjusted interval" in shown
    assert "What could have been seen" not in shown  # the power of a fixed number of seeds


def test_there_is_none_before_the_first_look_and_none_in_a_fixed_study() -> None:
    study = small_study(sequential=True)
    assert look_paths(analyse(study, scored(study, {"torch-default": BASE[:3]})), *PLACE) is None
    fixed = small_study()
    assert look_paths(analyse(fixed, scored(fixed, {"prewarm": BASE[:4]})), *PLACE) is None
