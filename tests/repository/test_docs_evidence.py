"""docs/results/ -> every other figure of the pages of the default's evidence, computed anew."""

import json
import re

import pandas as pd
import pytest
from scipy import stats

from docs_tables import CHOOSE, DOCS, EVIDENCE, TITLES, holm, kept_runs, paired_in
from warminit.initializers.heads.last_layer import FAINT

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


def third_round() -> dict[str, pd.DataFrame]:
    """CIFAR-10's seeds are in two studies, of one precision each."""
    cifar10 = kept_runs("search-round3", dataset="cifar10"), kept_runs("search-round3-cifar10")
    assert list(cifar10[1].dropna().index) == [5, 2024]
    return {
        "CIFAR-10": pd.concat(cifar10).dropna(),
        "Fashion-MNIST": kept_runs("search-round3-fashion").dropna(),
    }


def test_what_each_part_gives() -> None:
    sets = third_round()
    text = " ".join(EVIDENCE.split())
    for title, pairs in sets.items():
        assert f"{title} with {len(pairs)} seeds" in text
    for (filters, head), arm in PARTS.items():
        cells = [filters, head]
        for pairs in sets.values():
            cells += paired_in(pairs, arm, "torch-default")
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    both = PARTS["whitening", "x 0.1"]
    for one, other in (
        (both, PARTS["torch's", "x 0.1"]),
        (both, "whitening"),
        (PARTS["coates-ng", "x 0.1"], both),
        (PARTS["dct, which sees no data", "x 0.1"], both),
    ):
        for pairs in sets.values():
            difference, interval = paired_in(pairs, one, other)
            assert f"{difference} ({interval})" in text or f"{difference}, {interval}" in text
    negative = " ".join((DOCS / "results" / "negative.md").read_text(encoding="utf-8").split())
    small, start, dct = (
        paired_in(sets["CIFAR-10"], PARTS[part, "x 0.1"], "torch-default")[0].lstrip("+")
        for part in ("torch's", "whitening", "dct, which sees no data")
    )
    assert f"gains {small} points on CIFAR-10 after 1,000 steps" in negative
    assert f"is {dct} points ahead of torch's default and whitening {start}" in negative
    choose = " ".join(CHOOSE.split())
    (gain, between), (other, around) = (
        paired_in(pairs, both, PARTS["torch's", "x 0.1"]) for pairs in sets.values()
    )
    assert (
        f"{gain} points on CIFAR-10 ({between}), and on Fashion-MNIST {other} ({around}" in choose
    )


@pytest.mark.parametrize("title", TITLES)
def test_the_papers_steps_as_written_down(title: str) -> None:
    kept = json.loads((DOCS / "results/full/verdicts.json").read_text(encoding="utf-8"))
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


@pytest.mark.parametrize("title", TITLES)
def test_plain_whitening_after_the_papers_steps(title: str) -> None:
    kept = json.loads((DOCS / "results/full/verdicts.json").read_text(encoding="utf-8"))
    holm = {(row["dataset"], row["arm"]): row["p_holm"] for row in kept["comparisons"]}
    pairs, losses = (
        kept_runs("full", each, dataset=TITLES[title]).dropna() for each in ("accuracy", "loss")
    )
    assert set(pairs.index) <= set(range(3001, 3009))
    ahead = f"{int((pairs['whitening'] > pairs['torch-default']).sum())} of {len(pairs)}"
    row = [title, "whitening", f"{100 * pairs['whitening'].mean():.2f}"]
    row += [
        *paired_in(pairs, "whitening", "torch-default"),
        f"{holm[TITLES[title], 'whitening']:.4f}",
    ]
    row += [ahead, f"{losses['whitening'].mean():.2f}"]
    assert f"| {' | '.join(row)} |" in EVIDENCE
    text = " ".join(EVIDENCE.split())
    difference, interval = paired_in(pairs, "whitening-small-head", "whitening")
    assert f"{difference} ({interval}, {len(pairs)} seeds)" in text
    # The cost in cross-entropy is the small last layer's: whitening's is not the worse one.
    assert (losses["whitening"] < losses["whitening-small-head"]).all()
    assert losses["whitening"].mean() < losses["torch-default"].mean()


def test_mnist_after_the_papers_steps() -> None:
    start, default = "whitening-small-head", "torch-default"
    pairs, losses = (kept_runs("full-mnist", each) for each in ("accuracy", "loss"))
    assert list(pairs.index) == list(range(3001, 3009))
    text = " ".join(EVIDENCE.split())
    difference, interval = paired_in(pairs, start, default)
    behind = stats.ttest_1samp(pairs[start] - pairs[default], -0.0005, alternative="greater")
    p = "< 0.0001" if behind.pvalue < 0.0001 else f"{behind.pvalue:.4f}"
    means = [f"{100 * pairs[each].mean():.2f} %" for each in (default, start)]
    ahead = f"{int((pairs[start] > pairs[default]).sum())} of 8 seeds"
    assert f"{means[0]} with torch's default, {means[1]} with the default start" in text
    assert f"{difference} ({interval}, ahead in {ahead})" in text
    assert f"p of being 0.05 points or more behind {p}" in text
    assert f"| {difference}, p {p}, 8 seeds | met |" in EVIDENCE
    assert f"cross-entropy {losses[default].mean():.3f} and {losses[start].mean():.3f}" in text


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
    for row, p in zip(rows_of, holm(p_behind), strict=True):
        assert f"| {' | '.join([*row, f'{p:.4f}'])} |" in EVIDENCE


def test_how_large_the_outputs_are_and_how_soon_the_loss_falls() -> None:
    text = " ".join(EVIDENCE.split())
    found = WHY["outputs"]["cifar10"]
    size = {arm: f"{each['rms_of_outputs']:.2f}" for arm, each in found.items()}
    deep = "experiments.plain:vgg"
    faint = f"{found[f'{deep} torch-default']['rms_of_outputs']:.3f}"
    assert f"({faint} without the bias, against {size['torch-default']})" in text
    assert f"in SimpleCNN ({size['small torch-default']})" in text
    nobn = size["simplecnn-nobn torch-default"]
    assert f"SimpleCNN without BatchNorm has {nobn} with torch's filters" in text
    small, left = (found[f"{each}{deep} whitening"]["loss"] for each in ("small ", ""))
    assert [f"{each[0]:.2f}" for each in (small, left)] == ["2.30", "2.30"]
    assert f"after 20 steps {small[1]:.2f}, with torch's last layer {left[1]:.2f}" in text
    for dataset in TITLES.values():  # the limit stands between the networks that gain and the rest
        sizes = {arm: each["rms_of_outputs"] for arm, each in WHY["outputs"][dataset].items()}
        assert sizes[f"{deep} torch-default"] < FAINT < sizes["simplecnn-nobn torch-default"]
        assert sizes["small torch-default"] == pytest.approx(FAINT, rel=0.2)


def test_what_whitening_makes_of_the_responses() -> None:
    (most, cifar), (_, fashion) = (
        [f"{each:.2f}" for each in WHY["whitened"][name]["whitening"]["second_moment_of_responses"]]
        for name in TITLES.values()
    )
    text = " ".join(EVIDENCE.split())
    assert f"from {most} down to {cifar} on CIFAR-10 and {fashion} on Fashion-MNIST" in text


def test_the_other_ingredients_with_two_seeds() -> None:
    arm = "experiments.both:start(options={{{}}})".format
    text = " ".join(EVIDENCE.split())
    gains = {}
    for dataset in TITLES.values():
        pairs = kept_runs("search-round2", dataset=dataset)
        assert list(pairs.index) == [7, 42]
        gains[dataset] = 100 * pairs.sub(pairs[arm("")], axis=0).mean()
    rows = {
        "both signs of 16 directions {}": "'pairs': True, 'n_clusters': 32",
        "of 8 {}": "'pairs': True",
        "one filter constant {}": "'brightness': True",
        "spatial weights {}": "'spatial': True",
        "8, 24 and 32 filters {}": "'n_clusters': 8",
        "-1.30, {} and": "'n_clusters': 24",
        "and {}; half": "'n_clusters': 32",
        "half centroids {}": "'basis': 'mixed'",
        "centroids of whitened patches {}": "'basis': 'whitened-kmeans'",
        ", centroids {}": "'basis': 'kmeans'",
        "ZCA rows {}": "'basis': 'zca'",
        "both convolutions {}": "'layers': 2",
    }
    for said, options in rows.items():
        assert said.format(f"{gains['cifar10'][arm(options)]:+.2f}") in text
    assert max(gains["fashion-mnist"][arm(each)] for each in rows.values()) < 0.055


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


@pytest.mark.parametrize(
    ("filters", "head", "arm"),
    [
        ("whitening", "torch's", "whitening"),
        ("whitening", "x 0.1", "whitening-small-head(scale=0.25)"),
        ("whitening, unit response", "x 0.1", "whitening-small-head"),
    ],
)
def test_a_deep_network_without_a_norm_as_the_start_was(filters: str, head: str, arm: str) -> None:
    pairs = kept_runs("search-plain-before")
    assert list(pairs.index) == list(range(2001, 2009))
    cells = [filters, head, *paired_in(pairs, arm, "torch-default")]
    assert f"| {' | '.join(cells)} |" in EVIDENCE


@pytest.mark.parametrize("dataset", TITLES.values())
def test_what_the_reasons_say_of_sgd(dataset: str) -> None:
    pairs = kept_runs("robustness-sgd", dataset=dataset)
    difference, interval = paired_in(pairs, "whitening-small-head", "whitening")
    text = " ".join(EVIDENCE.split())
    assert re.search(rf"{re.escape(difference)}.{{0,40}}{re.escape(interval)}", text)
