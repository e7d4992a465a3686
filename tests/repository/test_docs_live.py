"""docs/results/ -> what the pages say of three times the rate and of hidden units that die."""

import json
import re

import pandas as pd
import pytest

from docs_tables import CHOOSE, DOCS, EVIDENCE, kept_runs, paired_in

STUCK = 0.25
WHY = json.loads((DOCS / "results" / "why.json").read_text(encoding="utf-8"))
ALIVE = "experiments.live:start"
PAGES = {
    "evidence": EVIDENCE,
    "choose": CHOOSE,
    "negative": (DOCS / "results/negative.md").read_text(encoding="utf-8"),
}


def text_of(page: str) -> str:
    return " ".join(PAGES[page].split())


def with_live_units(arm: str, divided: str = "input") -> str:
    if arm == "torch-default":
        return ALIVE
    return f"{ALIVE}(arm={arm}{f', divided={divided}' if arm == 'whitening-small-head' else ''})"


@pytest.mark.parametrize(
    ("precision", "study"),
    [("bfloat16", "robustness-rate-high"), ("float32", "robustness-rate-high-parts")],
)
def test_which_part_is_stuck_at_three_times_the_rate(precision: str, study: str) -> None:
    pairs = kept_runs(study, dataset="cifar10")
    assert list(pairs.index) == list(range(2001, 2009))
    for arm in pairs.columns:
        against = ["", ""] if arm == "torch-default" else paired_in(pairs, arm, "torch-default")
        cells = [precision, arm, f"{100 * pairs[arm].mean():.2f}"]
        cells += [f"{int((pairs[arm] < STUCK).sum())} of 8", *against]
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    assert (pairs["whitening-small-head"] < STUCK).sum() == 4
    assert all(
        "stuck near 20 % in 4 of 8 seeds" in text_of(page) for page in ("choose", "negative")
    )


def test_with_a_warmup_none_is_stuck() -> None:
    pairs = kept_runs("robustness-rate-high-warmup")
    assert list(pairs.index) == list(range(2001, 2009))
    assert (pairs > 0.7).all(axis=None)
    difference, interval = paired_in(pairs, "whitening-small-head", "torch-default")
    default, start = (100 * pairs[arm].mean() for arm in ("torch-default", "whitening-small-head"))
    for page in ("evidence", "choose"):
        assert f"{default:.2f} %" in text_of(page)
        assert f"{start:.2f} % ({difference}, {interval})" in text_of(page)


def test_the_table_of_live_units() -> None:
    for dataset, starts in WHY["live_units"].items():
        for start, found in starts.items():
            cells = [", ".join(f"{value:.2f}" for value in found[f"at_{r}"]) for r in (3e-3, 9e-3)]
            assert f"| {' | '.join([dataset, start, *cells])} |" in EVIDENCE


def test_live_units_at_three_times_the_rate() -> None:
    parts = kept_runs("robustness-rate-high-parts")
    alive = kept_runs("search-live-rate-high")
    assert list(alive.index) == [2001, 2002, 2003, 2004]
    for arm, divided in (
        ("torch-default", "input"), ("whitening-small-head", "input"),
        ("whitening-small-head", "output"),
    ):  # fmt: skip
        both = pd.DataFrame(
            {"as it is": parts[arm], "alive": alive[with_live_units(arm, divided)]}
        ).dropna()
        cells = [arm, divided, f"{100 * both['as it is'].mean():.2f}"]
        cells += [f"{100 * both['alive'].mean():.2f}", *paired_in(both, "alive", "as it is")]
        assert f"| {' | '.join(cells)} |" in EVIDENCE


@pytest.mark.parametrize(
    ("title", "study"), [("CIFAR-10", "search-live"), ("Fashion-MNIST", "search-live-fitted")]
)
def test_live_units_at_the_papers_rate(title: str, study: str) -> None:
    pairs = kept_runs(study)
    assert list(pairs.index) == [7, 13, 42, 99][: len(pairs)]
    beside = with_live_units("whitening"), "whitening-small-head"
    assert re.search(
        r"\({}, {}\)".format(*map(re.escape, paired_in(pairs, *beside))), text_of("evidence")
    )
    for arm in ("torch-default", "whitening", "whitening-small-head"):
        for divided in ("input", "output"):
            other = with_live_units(arm, divided)
            if divided == "output" and arm != "whitening-small-head":
                continue
            cells = [title, arm, divided]
            cells += [f"{100 * pairs[each].mean():.2f}" for each in (arm, other)]
            assert f"| {' | '.join([*cells, *paired_in(pairs, other, arm)])} |" in EVIDENCE
