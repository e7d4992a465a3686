"""docs/results/ -> every figure that the pages quote from it, computed anew from the runs."""

import json
import re
from functools import cache
from typing import Any

import pandas as pd
import pytest

from docs_tables import DOCS, EVIDENCE, kept_runs, paired_in

STUDIES = {"cifar10": "rivals-cifar10-1000", "fashion-mnist": "control-fashion-mnist-1000"}
DEEP = "deep-cifar10-1000"
WORDS = {"helps": "helps:", "harms": "harms:", "undecided": "no detectable difference"}
NUMBER = r"[-+]\d+\.\d\d"


@cache
def comparisons(study: str) -> dict[str, dict[str, Any]]:
    text = (DOCS / "results" / study / "verdicts.json").read_text(encoding="utf-8")
    return {row["arm"]: row for row in json.loads(text)["comparisons"]}


@cache
def runs(study: str, column: str = "accuracy") -> pd.DataFrame:
    return kept_runs(study, column)


def paired(study: str, arm: str, other: str) -> tuple[str, str]:
    """The mean difference in points and its 95 % interval, as the pages write them."""
    return paired_in(runs(study), arm, other)


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
    return kept_runs(MODELS, model=model)


def test_the_table_of_other_networks_is_that_of_the_kept_study() -> None:
    text = (DOCS / "earlier-studies.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (resnet20|small-vit) \|(.*)\|$", text, flags=re.MULTILINE)
    assert len(lines) == 6
    kept = json.loads((DOCS / "results" / MODELS / "verdicts.json").read_text(encoding="utf-8"))
    verdicts = {(row["model"], row["arm"]): row["verdict"] for row in kept["comparisons"]}
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


@pytest.mark.parametrize("page", ["earlier-studies.md", "results/negative.md"])
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
        shown = {row[1] for row in rows("earlier-studies.md") if row[0] == dataset}
        assert shown == set(comparisons(study))


@pytest.mark.parametrize(
    ("page", "study", "arm", "other"),
    [
        ("earlier-studies.md", "rivals-cifar10-1000", "prewarm", "norm-matched-random"),
        ("earlier-studies.md", "control-fashion-mnist-1000", "prewarm", "norm-matched-random"),
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
