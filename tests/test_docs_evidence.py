"""docs/results/ -> every figure that the page of the default's evidence quotes, computed anew."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from docs_tables import CHOOSE, DOCS, EVIDENCE, TITLES, kept_runs, paired_in

WHY = json.loads((DOCS / "results" / "why.json").read_text(encoding="utf-8"))
PARTS = {
    ("torch's", "x 0.1"): "experiments.both:start(arm=torch-default)",
    ("whitening", "torch's"): "whitening",
    ("whitening", "x 0.1"): "experiments.both:start(options={})",
    ("coates-ng", "x 0.1"): "experiments.both:start(arm=coates-ng)",
    ("coates-ng, 24 of 32 filters", "x 0.1"): (
        "experiments.both:start(arm=coates-ng, options={'n_clusters': 24})"
    ),
    ("dct, which sees no data", "x 0.1"): "experiments.both:start(arm=dct)",
}


def test_what_each_part_gives() -> None:
    pairs = kept_runs("search-round3", dataset="cifar10").dropna()
    assert f"the same {len(pairs)} seeds" in EVIDENCE
    for (filters, head), arm in PARTS.items():
        cells = " | ".join([filters, head, *paired_in(pairs, arm, "torch-default")])
        assert f"| {cells} |" in EVIDENCE
    both = PARTS["whitening", "x 0.1"]
    for one, other in (
        (both, "whitening"),
        (PARTS["coates-ng", "x 0.1"], both),
        (PARTS["dct, which sees no data", "x 0.1"], both),
    ):
        difference, interval = paired_in(pairs, one, other)
        text = " ".join(EVIDENCE.split())
        assert re.search(rf"{re.escape(difference)}.{{0,20}}{re.escape(interval)}", text)


@pytest.mark.parametrize("title", TITLES)
def test_the_papers_steps_as_written_down(title: str) -> None:
    kept = json.loads((DOCS / "results/full/results.json").read_text(encoding="utf-8"))
    holm = {(row["dataset"], row["arm"]): row["p_holm"] for row in kept["comparisons"]}
    start, default = "whitening-small-head", "torch-default"
    pairs, losses = (
        kept_runs("full", each, dataset=TITLES[title])[[default, start]]
        for each in ("accuracy", "loss")
    )
    assert list(pairs.index) == list(range(3001, 3009))
    assert pairs.notna().all(axis=None)
    difference, interval = paired_in(pairs, start, default)
    ahead = f"{int((pairs[start] > pairs[default]).sum())} of {len(pairs)}"
    against = [difference, interval, f"{holm[TITLES[title], start]:.4f}", ahead]
    for arm, cells in ((default, [""] * 4), (start, against)):
        row = [title, arm, f"{100 * pairs[arm].mean():.2f}", *cells, f"{losses[arm].mean():.2f}"]
        assert f"| {' | '.join(row)} |".replace("  ", " ") in EVIDENCE
    assert (losses[start] > losses[default]).all()
    for page in ("choose.md", "results/README.md", "../CHANGELOG.md"):
        text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
        assert re.search(rf"{re.escape(difference.lstrip('+'))}\b", text)
        assert interval in text


def test_all_twelve_seeds_of_fashion_mnist_together() -> None:
    new = kept_runs("full", dataset="fashion-mnist")["whitening-small-head"]
    old = kept_runs("search-round4-fashion")[PARTS["whitening", "x 0.1"]]
    default = pd.concat(
        kept_runs(each, dataset="fashion-mnist")["torch-default"]
        for each in ("full", "search-round4-fashion")
    )
    together = pd.DataFrame({"start": pd.concat([new, old]), "default": default})
    assert len(together) == 12
    difference, interval = paired_in(together, "start", "default")
    assert f"{difference} ({interval})" in EVIDENCE


def test_what_is_left_after_the_papers_steps() -> None:
    for title, name in (("CIFAR-10", "cifar10"), ("Fashion-MNIST", "fashion")):
        pairs, losses = (kept_runs(f"search-round4-{name}", each) for each in ("accuracy", "loss"))
        assert list(pairs.index) == [7, 13, 42, 99]
        for filters, head in (("torch's", "torch's"), ("torch's", "x 0.1"), ("whitening", "x 0.1")):
            default = (filters, head) == ("torch's", "torch's")
            arm = "torch-default" if default else PARTS[filters, head]
            against = ["", ""] if default else [*paired_in(pairs, arm, "torch-default")]
            cells = [title, filters, head, f"{100 * pairs[arm].mean():.2f}", *against]
            assert f"| {' | '.join([*cells, f'{losses[arm].mean():.2f}'])} |" in EVIDENCE
        both, small = PARTS["whitening", "x 0.1"], PARTS["torch's", "x 0.1"]
        difference, interval = paired_in(pairs, both, small)
        text = " ".join(EVIDENCE.split())
        assert re.search(rf"{re.escape(difference)}.{{0,30}}{re.escape(interval)}", text)
        difference, interval = paired_in(losses / 100, both, "torch-default")
        assert re.search(rf"{re.escape(difference)}.{{0,30}}{re.escape(interval)}", text)
        assert (losses[both] > losses["torch-default"]).all()


@pytest.mark.parametrize("title", TITLES)
def test_with_a_warmup(title: str) -> None:
    of = [
        kept_runs(f"robustness-{each}", dataset=TITLES[title]) for each in ("no-warmup", "warmup")
    ]
    without, warm = of
    assert [list(each.index) for each in of] == [list(range(2001, 2009))] * 2
    for arm in ("torch-default", "whitening", "whitening-small-head"):
        cells = [title, arm]
        for runs in of:
            against = (
                [*paired_in(runs, arm, "torch-default")] if arm != "torch-default" else ["", ""]
            )
            cells += [f"{100 * runs[arm].mean():.2f}", *against]
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    text, negative = (
        " ".join(each.split())
        for each in (EVIDENCE, (DOCS / "results/negative.md").read_text(encoding="utf-8"))
    )
    difference, interval = paired_in(warm, "whitening-small-head", "whitening")
    assert re.search(rf"{re.escape(difference)}.{{0,30}}{re.escape(interval)}", text)
    assert re.search(rf"{re.escape(difference)}.{{0,30}}{re.escape(interval)}", negative)
    both = pd.DataFrame({"start": without["whitening-small-head"], "warm": warm["torch-default"]})
    difference, interval = paired_in(both, "start", "warm")
    assert re.search(rf"{re.escape(difference)},? {re.escape(interval)}", text)
    difference, interval = paired_in(warm, "whitening-small-head", "torch-default")
    assert f"{difference} points ({interval})" in CHOOSE or f"{difference} ({interval})" in CHOOSE
    if title == "CIFAR-10":
        for runs in of:
            for arm in ("torch-default", "whitening-small-head"):
                assert f"{100 * runs[arm].mean():.2f} %" in CHOOSE.replace("\n", " ")


def test_half_the_steps() -> None:
    rows_of, p_behind = [], []
    for title, name in (("CIFAR-10", "cifar10"), ("Fashion-MNIST", "fashion")):
        full = kept_runs(f"search-round4-{name}")["torch-default"]
        half = kept_runs("search-half", dataset=TITLES[title])
        for arm in ("whitening-small-head", "torch-default"):
            pairs = pd.DataFrame({arm: half[arm], "full": full})
            assert list(pairs.index) == [7, 13, 42, 99]
            against = paired_in(pairs, arm, "full")
            rows_of.append([title, arm, f"{100 * half[arm].mean():.2f}", *against])
            behind = stats.ttest_1samp(pairs[arm] - pairs["full"], -0.002, alternative="greater")
            p_behind.append(float(behind.pvalue))
        difference, interval = paired_in(half, "whitening-small-head", "torch-default")
        text = " ".join(EVIDENCE.split())
        assert re.search(rf"{re.escape(difference)}.{{0,4}}{re.escape(interval)}", text)
    # Holm by its definition: the smallest of m times m, the next times m - 1, never falling.
    order = np.argsort(p_behind)
    steps = np.maximum.accumulate([p_behind[i] * (4 - n) for n, i in enumerate(order)])
    for i, p in zip(order, steps, strict=True):
        assert f"| {' | '.join([*rows_of[i], f'{p:.4f}'])} |" in EVIDENCE


CANDIDATE, HEADS = "experiments.candidates:start", "experiments.heads:start"
INGREDIENTS = {
    "8 of 32 filters": "whitening(n_filters=8)",
    "24 of 32": "whitening(n_filters=24)",
    "32 of 32": "whitening(n_filters=32)",
    "8 directions, 16 filters": f"{CANDIDATE}(n_clusters=16, pairs=True)",
    "16 directions, 32 filters": f"{CANDIDATE}(n_clusters=32, pairs=True)",
    "one filter of 16 constant": f"{CANDIDATE}(brightness=True)",
    "the paper's": f"{CANDIDATE}(spatial=True)",
    "coates-ng": "coates-ng",
    "dct": "dct",
    "half whitening, half centroids": f"{CANDIDATE}(basis=mixed)",
    "centroids of whitened patches": f"{CANDIDATE}(basis=whitened-kmeans)",
    "centroids": f"{CANDIDATE}(basis=kmeans)",
    "Pre-Warm": "prewarm",
    "Gaussian, the patches' covariance": f"{CANDIDATE}(basis=covariance)",
    "Gaussian, white": "norm-matched-random",
    "ZCA rows": f"{CANDIDATE}(basis=zca)",
    "0.0005": "whitening(eps=0.0005)",
    "1 (eps)": "whitening(eps=1.0)",
    "0.1": "whitening(scale=0.1)",
    "0.5": "whitening(scale=0.5)",
    "1": "whitening(scale=1.0)",
    "that of torch's responses": "whitening(scale=match)",
    "unit response": "whitening(scale=unit)",
    "each filter by itself": "whitening(scaling=per-filter)",
    "2": "whitening(n_patches=2)",
    "200": "whitening(n_patches=200)",
    "both convolutions": "whitening(layers=2)",
    "the 16 filters stay fixed": "whitening(trainable=False)",
}
WITH_SMALL_HEAD = {
    "last layer x 0": f"{HEADS}(head=0.0)",
    "last layer x 0.3": f"{HEADS}(head=0.3)",
    "hidden layer x 0.3 too": f"{HEADS}(head=0.1, hidden=0.3)",
    "hidden layer x 2 too": f"{HEADS}(head=0.1, hidden=2.0)",
    "eps 1": f"{HEADS}(eps=1.0, head=0.1)",
    "scale 0.5": f"{HEADS}(head=0.1, scale=0.5)",
    "scale 1": f"{HEADS}(head=0.1, scale=1.0)",
    "filters stay fixed": f"{HEADS}(head=0.1, trainable=False)",
    "coates-ng's filters": f"{HEADS}(arm=coates-ng, head=0.1)",
    "dct's filters": f"{HEADS}(arm=dct, head=0.1)",
    "Pre-Warm's filters": f"{HEADS}(arm=prewarm, head=0.1)",
    "torch's filters": f"{HEADS}(arm=torch-default, head=0.1)",
}


@pytest.mark.parametrize(
    ("study", "rows_of", "beside", "sets"),
    [
        ("search-round1", INGREDIENTS, "whitening", ["cifar10"]),
        ("search-round1-heads", WITH_SMALL_HEAD, f"{HEADS}(head=0.1)", [*TITLES.values()]),
    ],
)
def test_each_ingredient_by_itself(
    study: str, rows_of: dict[str, str], beside: str, sets: list[str]
) -> None:
    for row, arm in rows_of.items():
        cells = [row]
        for dataset in sets:
            pairs = kept_runs(study, dataset=dataset)
            assert len(pairs) == 4
            cells += paired_in(pairs, arm, beside)
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    shown = set(kept_runs(study).columns) - {*rows_of.values(), beside, "torch-default"}
    # What is left out: heads and filters that the other table or another row has.
    assert all("head" in each for each in shown)


@pytest.mark.parametrize(
    ("filters", "head", "arm"),
    [
        ("torch's", "torch's", "torch-default"),
        ("torch's", "x 0.1", "small-head"),
        ("whitening", "torch's", "whitening"),
        ("whitening, unit response", "torch's", "whitening(scale=unit)"),
        ("whitening, torch's response", "torch's", "whitening(scale=match)"),
        ("whitening, deviation 1", "torch's", "whitening(scale=1.0)"),
        ("whitening, eps 1", "torch's", "whitening(eps=1.0)"),
        ("whitening, both convolutions", "torch's", "whitening(layers=2)"),
        ("Pre-Warm", "torch's", "prewarm"),
        ("Gaussian, white", "torch's", "norm-matched-random"),
        ("coates-ng", "torch's", "coates-ng"),
        ("dct", "torch's", "dct"),
        ("whitening", "x 0.3", "whitening-small-head(head=0.3)"),
        ("whitening, unit response", "x 0.1", "whitening-small-head(scale=unit)"),
        ("whitening, torch's response", "x 0.1", "whitening-small-head(scale=match)"),
        ("Pre-Warm", "x 0.1", "experiments.both:start(arm=prewarm)"),
        ("coates-ng", "x 0.1", "experiments.both:start(arm=coates-ng)"),
        ("dct", "x 0.1", "experiments.both:start(arm=dct)"),
    ],
)
def test_without_batchnorm(filters: str, head: str, arm: str) -> None:
    cells = [filters, head]
    for dataset in TITLES.values():
        pairs = kept_runs("search-round1-nobn", dataset=dataset)
        assert len(pairs) == 4
        cells += paired_in(pairs, arm, "whitening-small-head")
    assert f"| {' | '.join(cells)} |" in EVIDENCE


def test_how_many_images() -> None:
    arm = "experiments.candidates:few_images(n_images={})".format
    for n in (2, 8, 32):
        cells = [str(n)]
        for dataset in TITLES.values():
            pairs = kept_runs("search-images", dataset=dataset)
            assert len(pairs) == 4
            cells += paired_in(pairs, arm(n), arm(256))
        assert f"| {' | '.join(cells)} |" in EVIDENCE


def test_the_tables_of_the_reasons() -> None:
    for dataset, starts in WHY["spread"].items():
        for start, found in starts.items():
            # How many directions: of the responses, the second layer's inputs, both gradients.
            widths = [f"{value:.1f}" for value in list(found.values())[3:]]
            assert f"| {' | '.join([dataset, start, *widths])} |" in EVIDENCE
            within, between = (f"{value:.1f}" for value in list(found.values())[1:3])
            assert f"| {dataset} | {start} | {within} | {between} |" in EVIDENCE
    for dataset, starts in WHY["first_steps"].items():
        for start, found in starts.items():
            cells = [dataset, start]
            for key, most in (
                ("hidden_rms", 2), ("logit_sd", 2), ("loss", 5), ("step_of_second_layer", 4)
            ):  # fmt: skip
                cells.append(", ".join(f"{value:.2f}" for value in found[key][:most]))
            assert f"| {' | '.join(cells)} |" in EVIDENCE


def test_where_the_last_layer_is_left() -> None:
    parts = kept_runs("search-parts-resnet20").dropna()
    before = kept_runs("search-resnet20-before", model="resnet20").dropna()
    for filters, head, runs, arm in (
        ("whitening", "torch's", parts, "whitening"),
        ("torch's", "x 0.1", parts, "small-head"),
        ("whitening", "x 0.1", before, "whitening-small-head"),
    ):
        cells = [filters, head, str(len(runs)), *paired_in(runs, arm, "torch-default")]
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    now = kept_runs("robustness-models", model="resnet20")
    difference, interval = paired_in(now, "whitening-small-head", "torch-default")
    assert f"{difference} points ({interval}, {len(now)} seeds" in " ".join(EVIDENCE.split())
    # With the layer left, the start is plain whitening, to the bit.
    seeds = parts.index
    assert now.loc[seeds, "whitening-small-head"].tolist() == parts["whitening"].tolist()


@pytest.mark.parametrize("dataset", TITLES.values())
def test_what_the_reasons_say_of_sgd(dataset: str) -> None:
    pairs = kept_runs("robustness-sgd", dataset=dataset)
    difference, interval = paired_in(pairs, "whitening-small-head", "whitening")
    text = " ".join(EVIDENCE.split())
    assert re.search(rf"{re.escape(difference)}.{{0,40}}{re.escape(interval)}", text)
