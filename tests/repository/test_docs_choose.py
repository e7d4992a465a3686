"""docs/results/ -> every figure that the decision page quotes, computed anew."""

import itertools
import json
import re
from functools import cache

import pandas as pd
import pytest
from scipy import stats

from docs_tables import CHOOSE, DOCS, TITLES, holm, kept_runs, paired_in
from kept_format import RESULTS
from warminit.lab.study.builtin import load_study
from warminit.lab.verdict.kept import kept_study


@cache
def confirmed(dataset: str) -> pd.DataFrame:
    return kept_runs("confirmation", dataset=dataset)


def test_the_confirmation_is_complete_and_as_it_was_written_down() -> None:
    study = load_study("confirmation")
    assert kept_study(RESULTS / "confirmation") == study
    for dataset in TITLES.values():
        assert confirmed(dataset).notna().all(axis=None)
        assert set(confirmed(dataset).index) == set(study.seeds)
        assert set(confirmed(dataset).columns) == {arm.label for arm in study.arms}


@pytest.mark.parametrize("title", TITLES)
def test_the_table_of_the_confirmation(title: str) -> None:
    pairs = confirmed(TITLES[title])
    kept = json.loads((DOCS / "results/confirmation/verdicts.json").read_text(encoding="utf-8"))
    holm = {(row["dataset"], row["arm"]): row["p_holm"] for row in kept["comparisons"]}
    for arm in pairs.columns:
        cells = [title, arm, f"{100 * pairs[arm].mean():.2f}"]
        if arm == "torch-default":
            assert f"| {' | '.join(cells)} | | | | |" in CHOOSE
            continue
        p = holm[TITLES[title], arm]
        shown = "< 0.0001" if p < 0.0001 else f"{p:.4f}"
        ahead = int((pairs[arm] > pairs["torch-default"]).sum())
        cells += [*paired_in(pairs, arm, "torch-default"), shown, f"{ahead} of {len(pairs)}"]
        assert f"| {' | '.join(cells)} |" in CHOOSE


@pytest.mark.parametrize("page", ["choose.md", "../README.md"])
def test_what_the_pages_say_of_the_default(page: str) -> None:
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    for title, dataset in TITLES.items():
        difference, interval = paired_in(
            confirmed(dataset), "whitening-small-head", "torch-default"
        )
        assert re.search(rf"{re.escape(difference)}.{{0,40}}{re.escape(interval)}", text), title


def test_the_default_beside_plain_whitening() -> None:
    text = " ".join(CHOOSE.split())
    for dataset in TITLES.values():
        difference, interval = paired_in(confirmed(dataset), "whitening-small-head", "whitening")
        assert re.search(rf"{re.escape(difference)}.{{0,40}}{re.escape(interval)}", text)


def grid(other: str) -> tuple[list[list[str]], list[tuple[float, float, float]]]:
    """The rows of the robustness studies that have both starts; difference and two p by Holm.

    Of any difference, and of a loss of 0.3 points or more.
    """
    rows, differences, p_values, p_losses = [], [], [], []
    for folder in sorted((DOCS / "results").glob("robustness-*")):
        about = kept_study(folder).model_dump()
        for dataset, model in itertools.product(about["datasets"], about["models"]):
            pairs = kept_runs(folder.name, dataset=dataset, model=model)
            if other not in pairs:
                continue
            assert list(pairs.index) == list(range(2001, 2009))
            assert pairs.notna().all(axis=None)
            start = pairs["whitening-small-head"]
            setting = re.sub(r":.*|,? [\d,]+ steps(?! of).*", "", about["description"]).rstrip(".")
            protocol = about["protocol"]
            budget = f"{protocol['steps']:,} x {protocol['batch_size']:,}"
            row = [setting, dataset, model, budget, f"{100 * pairs[other].mean():.2f}"]
            row += paired_in(pairs, "whitening-small-head", other)
            rows.append([*row, f"{int((start > pairs[other]).sum())} of 8"])
            differences.append(float((start - pairs[other]).mean()))
            p_values.append(float(stats.ttest_rel(start, pairs[other]).pvalue))
            loss = stats.ttest_1samp(start - pairs[other], -0.003, alternative="greater")
            p_losses.append(float(loss.pvalue))
    return rows, list(zip(differences, holm(p_values), holm(p_losses), strict=True))


@pytest.mark.parametrize("other", ["torch-default", "whitening"])
def test_the_grid_of_settings_and_what_the_page_says_of_it(other: str) -> None:
    rows, judged = grid(other)
    text, worse = " ".join(CHOOSE.split()), []
    for row, (difference, p, _) in zip(rows, judged, strict=True):
        shown = "< 0.0001" if p < 0.0001 else f"{p:.4f}"
        assert f"| {' | '.join([*row[:-1], shown, row[-1]])} |" in CHOOSE
        worse += [row[:3]] * (difference < 0 and p < 0.05)
    assert worse == []
    ruled_out = [p < 0.05 for *_, p in judged]
    not_ruled_out = [row[0] for row, out in zip(rows, ruled_out, strict=True) if not out]
    if other == "torch-default":
        assert f"Holm's correction over all {len(rows)} cells" in text
        assert "In no cell is it significantly worse than torch's default." in text
        assert f"In {sum(ruled_out)} of the {len(rows)} a loss of 0.3 points is ruled out" in text
        assert [row[:2] for row, out in zip(rows, ruled_out, strict=True) if not out] == [
            ["ResNet-20 and a small ViT", "cifar10"],
            ["Learning rate x 3", "cifar10"],
            ["Learning rate x 3 on CIFAR-10, float32", "cifar10"],
        ]
    else:
        assert f"corrected over these {len(rows)}:" in text
        assert "In none of these is it significantly behind plain whitening." in text
        assert f"In {sum(ruled_out)} of the {len(rows)} a loss of 0.3 points is ruled out" in text
        assert not_ruled_out == ["Learning rate x 3 on CIFAR-10, float32"]


def test_what_the_rules_were_made_from() -> None:
    text = " ".join(CHOOSE.split())
    for study, arm, other, said in (
        ("search-resnet20-before", "whitening-small-head", "torch-default", "{} points behind on"),
        ("search-plain-before", "whitening-small-head(scale=0.25)", "torch-default",
         "{} on the six convolutions"),
        ("search-nobn-unit", "whitening-small-head", "whitening", "{} behind plain whitening"),
    ):  # fmt: skip
        where = {"model": "resnet20"} if "resnet" in study else {}
        where |= {"dataset": "fashion-mnist"} if "nobn" in study else {}
        pairs = kept_runs(study, **where).dropna()
        assert said.format(f"{100 * (pairs[other] - pairs[arm]).mean():.2f}") in text
