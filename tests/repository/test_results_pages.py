"""docs/results/ -> the pages' tables: a rebuild changes nothing, and SciPy finds the same."""

import json
import re
from collections.abc import Iterator

import pandas as pd
import pytest
import torch
from scipy import stats

from docs_tables import DOCS, holm, kept_runs, paired_in, rows_of
from results_pages import MARKED, PAGES, build
from results_tables import KINDS, TABLES
from warminit import init_
from warminit.initializers.default import DEFAULTS
from warminit.initializers.heads.last_layer import FAINT
from warminit.lab.networks.build import build_model
from warminit.lab.study.builtin import load_study
from warminit.lab.verdict.kept import kept_study

START, DEFAULT, PLAIN = "whitening-small-head", "torch-default", "whitening"
TITLES = {"CIFAR-10": "cifar10", "Fashion-MNIST": "fashion-mnist"}


def test_a_rebuild_changes_nothing() -> None:
    for path, text in build():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run tools/results_pages.py"


def test_every_table_stands_on_one_page() -> None:
    found = [name for page in PAGES for _, name, _ in MARKED.findall(page.read_text("utf-8"))]
    assert sorted(found) == sorted(TABLES)


# ---------------------------------------------------------------- by SciPy alone
def test_the_confirmation_is_complete_and_as_it_was_written_down() -> None:
    study = load_study("confirmation")
    assert kept_study(DOCS / "results" / "confirmation") == study
    for dataset in TITLES.values():
        runs = kept_runs("confirmation", dataset=dataset)
        assert runs.notna().all(axis=None)
        assert set(runs.index) == set(study.seeds)
        assert set(runs.columns) == {arm.label for arm in study.arms}


def judged(pairs: list[tuple[pd.DataFrame, str, str]]) -> list[list[str]]:
    """Difference, interval, Holm's p and seeds ahead of each pair of arms."""
    p = holm([float(stats.ttest_rel(runs[arm], runs[other]).pvalue) for runs, arm, other in pairs])
    return [
        [
            *paired_in(runs, arm, other),
            f"{corrected:.4f}" if corrected >= 0.0001 else "< 0.0001",
            f"{(runs[arm] > runs[other]).sum()} of {len(runs)}",
        ]
        for (runs, arm, other), corrected in zip(pairs, p, strict=True)
    ]


def test_the_table_of_the_confirmation() -> None:
    rows = rows_of("results/evidence.md", "confirmation")
    shown = [row for row in rows if row[1] != f"`{DEFAULT}`"]
    pairs = [
        (kept_runs("confirmation", dataset=TITLES[row[0]]), row[1].strip("`"), DEFAULT)
        for row in shown
    ]
    assert len(pairs) == 10
    assert [row[3:] for row in shown] == judged(pairs)


def cells(other: str) -> Iterator[pd.DataFrame]:
    for folder in sorted((DOCS / "results").glob("robustness-*/")):
        about = kept_study(folder)
        for dataset in about.datasets:
            for model in about.models:
                runs = kept_runs(folder.name, dataset=dataset, model=model)
                if other in runs:
                    assert list(runs.index) == list(range(2001, 2009))
                    yield runs[[START, other]]


@pytest.mark.parametrize(("table", "other"), [("grid", DEFAULT), ("grid-plain", PLAIN)])
def test_the_grid_and_what_is_said_of_it(table: str, other: str) -> None:
    found = list(cells(other))
    assert [row[4:] for row in rows_of("results/other-settings.md", table)] == judged(
        [(runs, START, other) for runs in found]
    )
    losses = holm([
        float(stats.ttest_1samp(r[START] - r[other], -0.003, alternative="greater").pvalue)
        for r in found
    ])  # fmt: skip
    text = (DOCS / "results/other-settings.md").read_text(encoding="utf-8").replace("\n", " ")
    out = sum(p < 0.05 for p in losses)
    said = rf"Of {len(found)} cells: .* worse in 0\. A loss of 0\.3 points is ruled out in {out}\."
    assert re.search(said, text)


def test_the_goals() -> None:
    mnist = kept_runs("full-mnist")
    behind = stats.ttest_1samp(mnist[START] - mnist[DEFAULT], -0.0005, alternative="greater")
    p, half = [float(behind.pvalue)], []
    for title, name in (("CIFAR-10", "cifar10"), ("Fashion-MNIST", "fashion")):
        full = kept_runs(f"search-round4-{name}")[DEFAULT]
        short = kept_runs("search-half", dataset=TITLES[title])
        for arm in (START, DEFAULT):
            test = stats.ttest_1samp(short[arm] - full, -0.002, alternative="greater")
            half.append(float(test.pvalue))
    p += holm(half)[::2]
    rows = rows_of("results/evidence.md", "goals")
    assert [row[5] for row in rows[4:]] == [f"{each:.4f}" for each in p]
    assert [row[6] for row in rows] == ["met"] * 3 + ["**missed**"] + ["met"] * 3


def test_the_third_round_has_the_seeds_of_two_studies() -> None:
    first, second = (
        kept_runs("search-round3", dataset="cifar10"),
        kept_runs("search-round3-cifar10"),
    )
    runs = pd.concat([first.dropna(), second.dropna()])
    assert list(second.dropna().index) == [5, 2024]
    rows = {row[0]: row[1:] for row in rows_of("results/evidence.md", "parts")}
    assert rows["`whitening`"][:2] == list(paired_in(runs, PLAIN, DEFAULT))
    assert len(runs) == 6


@pytest.mark.parametrize("dataset", TITLES.values())
def test_cross_entropy_after_the_papers_steps_is_as_the_pages_say(dataset: str) -> None:
    losses = kept_runs("full", "loss", dataset=dataset)
    assert (losses[START] > losses[DEFAULT]).all()
    both = losses.dropna()
    assert (both[PLAIN] < both[START]).all()
    assert both[PLAIN].mean() < both[DEFAULT].mean()


def test_the_limit_of_a_faint_output_stands_between_networks_that_gain_and_the_rest() -> None:
    why = json.loads((DOCS / "results/why.json").read_text(encoding="utf-8"))["outputs"]
    for found in why.values():
        sizes = {name: each["rms_of_outputs"] for name, each in found.items()}
        deep, plain = "experiments.plain:vgg torch-default", "simplecnn-nobn torch-default"
        assert sizes[deep] < FAINT < sizes[plain]
    assert f"the limit for the outputs is {FAINT}" in (DOCS / "why.md").read_text("utf-8")


# ---------------------------------------------------------------- the decision table
def test_the_decision_table_is_short_and_has_every_architecture() -> None:
    rows = rows_of("choose.md", "choose")
    assert len(rows) <= 10
    text = "\n".join(" | ".join(row) for row in rows)
    for row in DEFAULTS:
        assert f"`{row.method}`" in text
        assert not row.evidence or f"(results/{row.evidence}/README.md)" in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_networks_that_stand_for_a_kind_are_of_it(kind: str) -> None:
    for norm, network in KINDS[kind][1].items():
        model = build_model(network, 3, (32, 32), 10)
        images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        found = init_(model, images).parameters["default_for"]
        assert found == f"{kind}, {norm}"
