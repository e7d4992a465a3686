"""a finished grid or sweep -> the claims of Section 4.3, the fit of c of Section 4.4."""

import functools
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from study_runs import CONSOLE, result, scored, shown, stored
from warminit.errors import WarminitError
from warminit.lab.paper import published
from warminit.lab.paper.grid_table import (
    GridRow,
    grid_caveats,
    grid_claims,
    grid_rows,
    multiplicity,
)
from warminit.lab.paper.patch_fit import find_optima, fit_constant, sweeps_patches
from warminit.lab.paper.reproduce import Candidate
from warminit.lab.study.builtin import load_study
from warminit.lab.study.study import Study
from warminit.lab.terminal.grid_display import print_grid, print_patch_fit
from warminit.lab.verdict.analysis import Analysis, analyse

FASHION = Candidate("fashion-mnist", "Fashion-MNIST", "complete")


@functools.cache
def small_grid(delta: Any) -> tuple[Study, Analysis]:
    """Run the whole grid on made-up losses; `delta` gives an arm's gain at a seed."""
    study = load_study("grid")
    results = {}
    for arm, (number, seed) in itertools.product(study.arms, enumerate(study.seeds)):
        gain = delta(arm.parameters, number) if arm.parameters else 0.0
        results[arm.label, seed] = result(0.5, train_loss=[0.5 + 0.01 * number - gain])
    return study, analyse(study, stored(study, results))


def as_the_paper_says(parameters: Any, number: int) -> float:
    """A gain of 0.001 everywhere at patch_size 3, and a clear one where the paper found one."""
    noise = 0.01 if number % 2 == 0 else -0.01
    if parameters["patch_size"] == 5:
        return noise - 0.001
    found = (
        parameters["n_filters"] == 16
        and parameters["patches_per_image"] in {22, 25}
        and parameters["scale"] in {0.1, 0.2, 0.25}
    )
    return 0.02 + noise if found else 0.001 + noise


def test_the_papers_findings_are_recognized() -> None:
    study, analysis = small_grid(as_the_paper_says)
    rows = grid_rows(analysis, "fashion-mnist")
    assert len(rows) == 232
    claims = grid_claims(rows)
    assert len(claims) == 6
    assert [claim.agrees for claim in claims] == [True] * 6
    assert claims[0].here == "112 of 112"
    assert grid_caveats(analysis) == []
    text = shown(print_grid, rows, claims, FASHION, analysis, CONSOLE)
    assert "224 tests at 0.05 expect about 11 false alarms with no effect at all" in text
    assert "By Holm's correction over all 232 comparisons" in text
    assert "The 20 smallest p of 232 configurations" in text
    assert "0.0025***" in text
    assert study.metric == "train_loss"


def test_a_grid_without_an_effect_is_marked() -> None:
    rng = np.random.default_rng(3)
    _, analysis = small_grid(lambda parameters, number: float(rng.normal(0, 0.01)))
    rows = grid_rows(analysis, "fashion-mnist")
    significant = sum(row.significant for row in rows if row.in_grid)
    # Binomial(224, 0.05): outside of 2 to 24 in 1 of 10,000 simulations; the seed is fixed.
    assert 2 <= significant <= 24
    claims = grid_claims(rows)
    assert claims[0].agrees is False
    assert f"{significant} are below 0.05 here" in multiplicity(rows)
    assert "≠" in shown(print_grid, rows, claims, FASHION, analysis, CONSOLE)
    protocol = analysis.study.protocol.model_copy(update={"steps": 20})
    short = replace(analysis, study=analysis.study.model_copy(update={"protocol": protocol}))
    assert "≠" not in shown(print_grid, rows, claims, FASHION, short, CONSOLE)


def test_rows_are_sorted_and_their_delta_is_a_gain() -> None:
    _, analysis = small_grid(as_the_paper_says)
    rows: list[GridRow] = grid_rows(analysis, "fashion-mnist")
    p = [row.comparison.p_one_sided or 0.0 for row in rows]
    assert p == sorted(p)
    assert rows[0].delta == pytest.approx(0.02)
    assert sum(row.in_grid for row in rows) == 224


def test_a_grid_on_partial_data_has_no_finding_of_the_paper_beside_it() -> None:
    _, analysis = small_grid(as_the_paper_says)
    rows = grid_rows(analysis, "fashion-mnist")
    partial = Candidate("fashion-mnist", "Fashion-MNIST", "partial", reason="partial: 10 images")
    text = shown(print_grid, rows, [], partial, analysis, CONSOLE)
    assert "0.0025" not in text
    assert "no reproduction, so the paper's findings are left out" in text


def test_the_papers_two_points_give_the_papers_constant() -> None:
    norms = {"cifar10": 0.522, "svhn": 0.308}
    points = [(published.COLOUR_OPTIMA[name], norm) for name, norm in norms.items()]
    assert round(fit_constant(points), 2) == 6.65
    x = np.array([[8 * norm] for _, norm in points])
    oracle = np.linalg.lstsq(x, np.array([n for n, _ in points]), rcond=None)[0][0]
    assert fit_constant(points) == pytest.approx(oracle)
    with pytest.raises(WarminitError, match="determine no slope"):
        fit_constant([])


def test_the_best_count_and_those_not_told_apart_from_it() -> None:
    study = Study.create(
        name="sweep",
        datasets=["cifar10"],
        arms=["torch-default", {"name": "prewarm", "patches_per_image": [4, 16, 28, 40]}],
        seeds=4,
    )
    seeds = np.array([0.0, 0.01, 0.02, 0.03])
    wobble = np.array([0.001, -0.001, 0.001, -0.001])
    scores = {
        "torch-default": 0.70 + seeds,
        "prewarm(patches_per_image=4)": 0.65 + seeds + wobble,
        "prewarm(patches_per_image=16)": 0.7195 + seeds - wobble,
        "prewarm(patches_per_image=28)": 0.72 + seeds,
        "prewarm(patches_per_image=40)": 0.70 + seeds + wobble,
    }
    runs = scored(study, {arm: list(map(float, values)) for arm, values in scores.items()})
    analysis = analyse(study, runs)
    assert sweeps_patches(analysis)
    (optimum,) = find_optima(analysis, {"cifar10": 0.525})
    assert optimum.n_patches == 28
    assert optimum.not_worse == (16, 28)
    assert optimum.c == pytest.approx(28 / (8 * 0.525))
    text = shown(print_patch_fit, [optimum], CONSOLE)
    assert "cifar10 0.525 28 16 to 28 6.67 28" in text
    assert "the paper: 6.65 from two" in text


def test_other_studies_sweep_no_patches() -> None:
    for name in ("demo", "scale", "grid"):
        assert not sweeps_patches(analyse(load_study(name), []))
    assert sweeps_patches(analyse(load_study("colour-patches"), []))
