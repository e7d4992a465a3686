"""docs/results/ -> every figure that the pages quote from it, computed anew from the runs."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from warminit.lab.studies import load_study

DOCS = Path(__file__).parents[1] / "docs"
TITLES = {"CIFAR-10": "cifar10", "Fashion-MNIST": "fashion-mnist"}
STUDIES = {"cifar10": "rivals-cifar10-1000", "fashion-mnist": "control-fashion-mnist-1000"}
DEEP = "deep-cifar10-1000"
WORDS = {"helps": "helps:", "harms": "harms:", "undecided": "no detectable difference"}
NUMBER = r"[-+]\d+\.\d\d"


@cache
def comparisons(study: str) -> dict[str, dict[str, Any]]:
    text = (DOCS / "results" / study / "results.json").read_text(encoding="utf-8")
    kept = json.loads(text)
    verdicts = {row["arm"]: row["verdict"] for row in kept["cells"]}
    return {row["arm"]: row | {"verdict": verdicts[row["arm"]]} for row in kept["comparisons"]}


@cache
def runs(study: str, column: str = "accuracy") -> pd.DataFrame:
    table = pd.read_csv(DOCS / "results" / study / "runs.csv")
    return table.pivot_table(index="seed", columns="arm", values=column)


def paired(study: str, arm: str, other: str) -> tuple[str, str]:
    """The mean difference in points and its 95 % interval, as the pages write them."""
    return paired_in(runs(study), arm, other)


def paired_in(table: pd.DataFrame, arm: str, other: str) -> tuple[str, str]:
    difference = 100 * (table[arm] - table[other]).to_numpy()
    interval = stats.t.interval(
        0.95, len(difference) - 1, np.mean(difference), stats.sem(difference)
    )
    return f"{np.mean(difference):+.2f}", f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def rows(page: str) -> list[list[str]]:
    """The rows of a page's tables that begin with a data set and hold an interval."""
    text = (DOCS / page).read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [
        row for row in cells if row[0] in STUDIES and re.search(f"{NUMBER} to {NUMBER}", str(row))
    ]


MODELS = "deep-models-cifar10-500"


@cache
def model_runs(model: str) -> pd.DataFrame:
    table = pd.read_csv(DOCS / "results" / MODELS / "runs.csv")
    return table[table["model"] == model].pivot_table(
        index="seed", columns="arm", values="accuracy"
    )


def test_the_table_of_other_networks_is_that_of_the_kept_study() -> None:
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (resnet20|small-vit) \|(.*)\|$", text, flags=re.MULTILINE)
    assert len(lines) == 6
    kept = json.loads((DOCS / "results" / MODELS / "results.json").read_text(encoding="utf-8"))
    verdicts = {(row["model"], row["arm"]): row["verdict"] for row in kept["cells"]}
    for model, rest in lines:
        arm, difference, interval, word = (cell.strip() for cell in rest.split("|"))
        assert (difference, interval) == paired_in(model_runs(model), arm, "torch-default")
        assert WORDS[word] in verdicts[model, arm]


def test_the_control_of_the_small_vit_is_as_the_pages_say() -> None:
    text = (DOCS / "results/negative.md").read_text(encoding="utf-8")
    for arm in ("prewarm", "whitening"):
        difference, interval = paired_in(model_runs("small-vit"), arm, "norm-matched-random")
        assert f"{difference}, {interval}" in " ".join(text.split())
    pairs = model_runs("small-vit")
    assert (pairs["norm-matched-random"] > pairs["prewarm"]).all()


@pytest.mark.parametrize("page", ["evidence.md", "results/negative.md"])
def test_the_tables_are_those_of_the_kept_studies(page: str) -> None:
    assert len(rows(page)) >= 8
    for dataset, *rest in rows(page):
        # The table of Pre-Warm alone has no column for the name of the start.
        arm, difference, interval, *more = rest if rest[0][0].isalpha() else ["prewarm", *rest]
        kept = comparisons(STUDIES[dataset])[arm]
        assert (difference, interval) == paired(STUDIES[dataset], arm, "torch-default")
        for cell in more:
            if cell in WORDS:
                assert WORDS[cell] in kept["verdict"]
            elif re.fullmatch(r"0\.\d{4}", cell):
                assert cell == f"{kept['p_holm']:.4f}"
            elif "of 8" in cell:
                assert cell == f"{kept['wins']} of 8"
            elif cell:
                assert ("harms" in cell) is ("harms:" in kept["verdict"])


def test_no_arm_of_the_two_studies_is_left_out() -> None:
    for dataset, study in STUDIES.items():
        shown = {row[1] for row in rows("evidence.md") if row[0] == dataset}
        assert shown == set(comparisons(study))


@pytest.mark.parametrize(
    ("page", "study", "arm", "other"),
    [
        ("evidence.md", "rivals-cifar10-1000", "prewarm", "norm-matched-random"),
        ("evidence.md", "control-fashion-mnist-1000", "prewarm", "norm-matched-random"),
        ("evidence.md", "rivals-cifar10-1000", "whitening", "coates-ng"),
        ("results/negative.md", "rivals-cifar10-1000", "prewarm", "norm-matched-random"),
        ("results/negative.md", "control-fashion-mnist-1000", "prewarm", "norm-matched-random"),
        ("results/negative.md", "rivals-cifar10-1000", "whitening", "coates-ng"),
        ("results/negative.md", DEEP, "prewarm(layers=2)", "prewarm"),
        ("results/negative.md", DEEP, "whitening(layers=2)", "whitening"),
        ("results/negative.md", DEEP, "prewarm(layers=2)", "torch-default"),
    ],
)
def test_differences_in_the_text_are_those_of_the_runs(
    page: str, study: str, arm: str, other: str
) -> None:
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    difference, interval = paired(study, arm, other)
    assert re.search(rf"{re.escape(difference)}.{{0,40}}{re.escape(interval)}", text)


def test_the_lead_on_the_way() -> None:
    text = EVIDENCE
    table = re.findall(rf"^\| ([\w-]+) ((?:\| {NUMBER} ){{4}})\|$", text, re.MULTILINE)
    assert len(table) == 4
    shares = ("accuracy_at_25_percent", "accuracy_at_50_percent", "accuracy_at_75_percent")
    for arm, cells in table:
        for column, cell in zip([*shares, "accuracy"], re.findall(NUMBER, cells), strict=True):
            table_of = runs(STUDIES["cifar10"], column)
            assert cell == f"{100 * (table_of[arm] - table_of['torch-default']).mean():+.2f}"


def test_seconds_and_seeds_that_are_quoted() -> None:
    faq = " ".join((DOCS / "faq.md").read_text(encoding="utf-8").split())
    seconds = runs(STUDIES["cifar10"], "init_seconds").mean()
    for arm, quoted in {"whitening": "0.007 s", "prewarm": "0.21 s", "lsuv": "0.41 s"}.items():
        assert quoted in faq
        assert seconds[arm] == pytest.approx(float(quoted[:-2]), abs=0.006)
    assert round(runs(STUDIES["cifar10"], "train_seconds")["torch-default"].mean()) == 101
    negative = " ".join((DOCS / "results/negative.md").read_text(encoding="utf-8").split())
    needed = comparisons(STUDIES["cifar10"])["prewarm"]["seeds_needed"]
    assert f"about {needed['0.002']} on CIFAR-10" in negative
    assert f"Half a point on CIFAR-10 takes {needed['0.005']}." in negative
    few = comparisons(STUDIES["fashion-mnist"])["prewarm"]["seeds_needed"]["0.002"]
    assert f"about {few} seeds for Pre-Warm on Fashion-MNIST" in negative
    deep = runs(DEEP, "init_seconds").mean()
    assert round(deep["prewarm(layers=2)"], 1) == 4.5
    holm = comparisons(DEEP)["prewarm(layers=2)"]["p_holm"]
    assert f"Holm p {holm:.4f}" in negative


def test_nothing_that_did_not_help_was_shown_to_be_equivalent() -> None:
    for study in (*STUDIES.values(), DEEP):
        for each in comparisons(study).values():
            assert each["p_equivalence"] > 0.05


WHY = json.loads((DOCS / "results" / "why.json").read_text(encoding="utf-8"))
CHOOSE = (DOCS / "choose.md").read_text(encoding="utf-8")
EVIDENCE = (DOCS / "evidence.md").read_text(encoding="utf-8")
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
    table = pd.read_csv(DOCS / "results" / "search-round3" / "runs.csv")
    cifar = table[table["dataset"] == "cifar10"]
    pairs = cifar.pivot_table(index="seed", columns="arm", values="accuracy").dropna()
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


def test_what_is_left_after_the_papers_steps() -> None:
    for title, name in (("CIFAR-10", "cifar10"), ("Fashion-MNIST", "fashion")):
        table = pd.read_csv(DOCS / "results" / f"search-round4-{name}" / "runs.csv")
        pairs, losses = (
            table.pivot_table(index="seed", columns="arm", values=each).dropna()
            for each in ("accuracy", "loss")
        )
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
    table = pd.read_csv(DOCS / "results" / study / "runs.csv")
    for row, arm in rows_of.items():
        cells = [row]
        for dataset in sets:
            pairs = table[table["dataset"] == dataset].pivot_table(
                index="seed", columns="arm", values="accuracy"
            )
            assert len(pairs) == 4
            cells += paired_in(pairs, arm, beside)
        assert f"| {' | '.join(cells)} |" in EVIDENCE
    shown = set(table["arm"]) - {*rows_of.values(), beside, "torch-default"}
    # What is left out: heads and filters that the other table or another row has.
    assert all("head" in each for each in shown)


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


@cache
def confirmed(dataset: str) -> pd.DataFrame:
    table = pd.read_csv(DOCS / "results" / "confirmation" / "runs.csv")
    return table[table["dataset"] == dataset].pivot_table(
        index="seed", columns="arm", values="accuracy"
    )


def test_the_confirmation_is_complete_and_as_it_was_written_down() -> None:
    kept = json.loads((DOCS / "results/confirmation/results.json").read_text(encoding="utf-8"))
    study = load_study("confirmation")
    assert kept["study"]["seeds"] == list(study.seeds)
    for dataset in TITLES.values():
        assert confirmed(dataset).notna().all(axis=None)
        assert set(confirmed(dataset).index) == set(study.seeds)
        assert set(confirmed(dataset).columns) == {arm.label for arm in study.arms}


@pytest.mark.parametrize("title", TITLES)
def test_the_table_of_the_confirmation(title: str) -> None:
    pairs = confirmed(TITLES[title])
    kept = json.loads((DOCS / "results/confirmation/results.json").read_text(encoding="utf-8"))
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


@pytest.mark.parametrize("page", ["choose.md", "index.md", "../README.md"])
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
