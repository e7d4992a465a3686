"""docs/results/ -> the tables of each ingredient by itself, with BatchNorm and without."""

import pandas as pd
import pytest
from scipy import stats

from docs_tables import EVIDENCE, TITLES, holm, kept_runs, paired_in

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
    "2": "whitening(patches_per_image=2)",
    "200": "whitening(patches_per_image=200)",
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


TABLES = [
    (("search-round1", "search-round1-fashion"), INGREDIENTS, "whitening"),
    (("search-round1-heads",) * 2, WITH_SMALL_HEAD, f"{HEADS}(head=0.1)"),
]


def on_both_sets(studies: tuple[str, ...]) -> list[pd.DataFrame]:
    return [
        kept_runs(study, dataset=dataset)
        for study, dataset in zip(studies, TITLES.values(), strict=True)
    ]


@pytest.mark.parametrize(("studies", "rows_of", "beside"), TABLES)
def test_each_ingredient_by_itself(
    studies: tuple[str, ...], rows_of: dict[str, str], beside: str
) -> None:
    sets = on_both_sets(studies)
    assert [list(pairs.index) for pairs in sets] == [[7, 13, 42, 99]] * 2
    for row, arm in rows_of.items():
        cells = [row]
        for pairs in sets:
            cells += paired_in(pairs, arm, beside)
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    shown = set(pd.concat(sets).columns) - {*rows_of.values(), beside, "torch-default"}
    # What is left out: heads and filters that the other table or another row has.
    assert all("head" in each for each in shown)


def test_no_ingredient_of_the_filters_shows_on_fashion_mnist() -> None:
    pairs = kept_runs("search-round1-fashion")
    text = " ".join(EVIDENCE.split())
    assert "On Fashion-MNIST no ingredient of the filters shows" in text
    same = [arm for arm in INGREDIENTS.values() if pairs[arm].equals(pairs["whitening"])]
    assert same == [
        INGREDIENTS[row] for row in ("24 of 32", "32 of 32", "8 directions, 16 filters")
    ]
    for arm in set(INGREDIENTS.values()) - set(same):
        interval = paired_in(pairs, arm, "whitening")[1]
        assert interval.startswith("-")
        assert " to +" in interval
    head = "experiments.candidates:small_head(arm=whitening, head=0.3)"
    for arm, other, words in (
        ("whitening", "torch-default", "all of whitening gives {} points there ({})"),
        (head, "whitening", "a last layer x 0.3 beside it gives {} more ({})"),
    ):
        assert words.format(*paired_in(pairs, arm, other)) in text


def test_what_passes_holms_correction() -> None:
    passed: dict[tuple[str, str], str] = {}
    for studies, rows_of, beside in TABLES:
        for dataset, pairs in zip(TITLES.values(), on_both_sets(studies), strict=True):
            p = [1.0 if pairs[arm].equals(pairs[beside])
                 else float(stats.ttest_rel(pairs[arm], pairs[beside]).pvalue)
                 for arm in rows_of.values()]  # fmt: skip
            passed |= {
                (dataset, row): f"p {corrected:.4f}"
                for row, corrected in zip(rows_of, holm(p), strict=True)
                if corrected < 0.05
            }
    first, torchs, prewarms = passed.values()
    assert list(passed) == [
        ("cifar10", "0.1"), ("cifar10", "torch's filters"), ("fashion-mnist", "Pre-Warm's filters")
    ]  # fmt: skip
    text = " ".join(EVIDENCE.split())
    assert f"scale 0.1 in the first ({first})" in text
    assert f"torch's filters (CIFAR-10, {torchs})" in text
    assert f"Pre-Warm's filters (Fashion-MNIST, {prewarms})" in text


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
        ("whitening", "x 0.3", "whitening-small-head(head_scale=0.3)"),
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


@pytest.mark.parametrize("beside", ["whitening-small-head", "whitening", "torch-default"])
def test_without_batchnorm_at_other_seeds(beside: str) -> None:
    shown = "the start as it was" if beside == "whitening-small-head" else beside
    cells = ["unit response, last layer x 0.1", shown]
    for dataset in TITLES.values():
        pairs = kept_runs("search-nobn-unit", dataset=dataset)
        assert list(pairs.index) == list(range(2001, 2009))
        cells += paired_in(pairs, "whitening-small-head(scale=unit)", beside)
    assert f"| {' | '.join(cells)} |" in EVIDENCE


@pytest.mark.parametrize("beside", ["torch-default", "whitening"])
@pytest.mark.parametrize("study", ["robustness-no-batchnorm", "robustness-plain"])
def test_the_start_as_it_is_without_batchnorm(study: str, beside: str) -> None:
    cells = [beside]
    for dataset in TITLES.values():
        pairs = kept_runs(study, dataset=dataset)
        assert list(pairs.index) == list(range(2001, 2009))
        cells += paired_in(pairs, "whitening-small-head", beside)
    assert f"| {' | '.join(cells)} |" in EVIDENCE


START = "whitening-small-head"


@pytest.mark.parametrize(
    ("row", "change"),
    [
        ("unit response", "scale=unit"),
        ("scale 1", "scale=1.0"),
        ("scale 2", "scale=2.0"),
        ("scale 4", "scale=4.0"),
        ("filters stay fixed", "trainable=False"),
    ],
)
def test_filters_that_turn_slowly(row: str, change: str) -> None:
    cells = [row]
    for study in ("search-fitted-cifar10", "search-fitted"):
        pairs = kept_runs(study)
        assert list(pairs.index) == [7, 13, 42, 99, 123, 999]
        there = f"{START}({change})" in pairs
        cells += paired_in(pairs, f"{START}({change})", START) if there else ["", ""]
    assert f"| {' | '.join(cells)} |".replace("  ", " ").replace("  ", " ") in EVIDENCE


@pytest.mark.parametrize(
    ("row", "change"),
    [("unit response", "(scale=unit)"), ("0.20, fixed", "(trainable=False)"),
     ("the default's, 0.20", "")],
)  # fmt: skip
def test_filters_that_turn_slowly_after_the_papers_steps(row: str, change: str) -> None:
    pairs = kept_runs("search-round5-fashion")
    assert list(pairs.index) == [7, 13, 42, 99]
    pairs["torch-default"] = kept_runs("search-round4-fashion")["torch-default"]
    arm = f"{START}{change}"
    cells = [row, f"{100 * pairs[arm].mean():.2f}", *paired_in(pairs, arm, "torch-default")]
    cells += paired_in(pairs, arm, START) if change else ["", ""]
    assert f"| {' | '.join(cells)} |" in EVIDENCE


@pytest.mark.parametrize(
    "arm",
    [
        f"{START}(layers=2)",
        f"{START}(head_scale=0.3)",
        "experiments.both:start(arm=coates-ng, options={'n_clusters': 24})",
        "whitening",
    ],
)
def test_what_else_was_asked_once_the_images_are_fitted(arm: str) -> None:
    difference, interval = paired_in(kept_runs("search-fitted"), arm, START)
    assert f"({difference}, {interval})" in " ".join(EVIDENCE.split())


def test_how_many_images() -> None:
    arm = "experiments.candidates:few_images(n_images={})".format
    for n in (2, 8, 32):
        cells = [str(n)]
        for dataset in TITLES.values():
            pairs = kept_runs("search-images", dataset=dataset)
            assert len(pairs) == 4
            cells += paired_in(pairs, arm(n), arm(256))
        assert f"| {' | '.join(cells)} |" in EVIDENCE
