"""Studies of several data sets and protocols -> one row an arm, worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cli_cases import invoke, plain
from study_runs import CONSOLE, result, scored, shown, small_study
from warminit.errors import WarminitError
from warminit.lab.figures.profile import profile, profile_rows
from warminit.lab.report.page import page
from warminit.lab.terminal.across_display import print_across
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.settings import across_settings, texts

PLACES = ("digits", "fashion-mini")
BASELINE = [0.70, 0.72, 0.71, 0.69]
GAINS = {"digits": [0.010, 0.012, 0.011, 0.009], "fashion-mini": [-0.03, -0.031, -0.029, -0.03]}


def analysis_of(name: str = "one", datasets: tuple[str, ...] = PLACES) -> Analysis:
    study = small_study(name=name, datasets=list(datasets), arms=["torch-default", "prewarm"])
    runs = []
    for dataset in datasets:
        gains = GAINS.get(dataset, [0.0, 0.001, -0.001, 0.002])
        scores = {
            "torch-default": BASELINE,
            "prewarm": [b + g for b, g in zip(BASELINE, gains, strict=True)],
        }
        runs += scored(study, scores, dataset=dataset)
    return analyse(study, runs)


def test_the_row_of_an_arm_is_that_by_hand() -> None:
    (arm,) = across_settings([analysis_of()]).arms
    assert list(arm.gains) == ["digits, simplecnn", "fashion-mini, simplecnn"]
    gains = [gain for place in PLACES for gain in GAINS[place]]
    assert arm.middle.value == pytest.approx(stats.trim_mean(gains, 0.25))
    by_hand = [
        np.mean(
            [[(a > b) + 0.5 * (a == b) for b in BASELINE] for a in np.add(BASELINE, GAINS[place])]
        )
        for place in PLACES
    ]
    assert arm.improvement.value == pytest.approx(np.mean(by_hand))
    assert (arm.better, arm.worse, arm.failed) == (1, 1, (0, 0))
    assert arm.worst[0] == "fashion-mini, simplecnn"
    assert arm.worst[1] == pytest.approx(-0.03)


def test_settings_of_several_studies_are_one_family_and_names_stay_apart() -> None:
    one, other = analysis_of(), analysis_of()
    (arm,) = across_settings([one, other]).arms
    assert list(arm.gains) == [
        f"one ({number}): {place}, simplecnn" for number in (1, 2) for place in PLACES
    ]
    smallest = min(c.p_two_sided for c in one.comparisons if c.p_two_sided is not None)
    assert arm.comparisons[1].p_holm == pytest.approx(4 * smallest)


def test_a_loss_gains_where_it_falls() -> None:
    study = small_study(arms=["torch-default", "prewarm"], metric="loss", margin=0.01)
    runs = scored(study, {"torch-default": BASELINE, "prewarm": BASELINE})
    losses = [0.50, 0.41, 0.52, 0.40, 0.51, 0.42, 0.49, 0.41]  # baseline and arm in turn
    changed = [
        replace(run, result=result(0.7, loss=loss)) for run, loss in zip(runs, losses, strict=True)
    ]
    (arm,) = across_settings([analyse(study, changed)]).arms
    assert arm.middle.value == pytest.approx(0.09)
    assert arm.better == 1


def test_what_cannot_be_put_together_is_one_clear_error() -> None:
    loss = analyse(small_study(arms=["torch-default", "prewarm"], metric="loss"), [])
    with pytest.raises(WarminitError, match="metric=accuracy, loss: expected studies of one"):
        across_settings([analysis_of(), loss])
    with pytest.raises(WarminitError, match="share a seed"):
        across_settings([loss])


def test_terminal_figure_and_page_say_the_same() -> None:
    found = across_settings([analysis_of()])
    (row,) = texts(found)
    printed = " ".join(shown(print_across, found, CONSOLE).split())
    assert f"prewarm against torch-default in 2 settings: {row[3]} points" in printed
    rows = profile_rows(found)
    assert {r["share"] for r in rows if r["gain"] == 0.0} == {0.5}
    assert "prewarm 50%" in profile(found).to_dict()["description"]
    whole = page(analysis_of(datasets=(*PLACES, "cifar10")))
    assert 'id="table-settings"' in whole
    assert 'id="table-settings"' not in page(analysis_of())


def test_the_command_reads_kept_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain(monkeypatch, tmp_path)
    results = Path(__file__).parents[3] / "docs" / "results"
    done = invoke(
        "across", str(results / "robustness-sgd"), str(results / "robustness-mnist"),
        "--figure", "profile.svg",
    )  # fmt: skip
    assert done.exit_code == 0
    assert "whitening-small-head against torch-default in" in " ".join(done.output.split())
    assert Path("profile.svg").read_text("utf-8").startswith("<svg")
