"""results that a user holds -> the table that `print` shows, and its HTML in a notebook."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

import warminit
from report_cases import demo, demo_runs, demo_study, hostile
from study_runs import result, stored
from warminit import InitReport
from warminit.lab.data.load import load_dataset
from warminit.lab.store.stored_study import StoredStudy
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import analyse
from warminit.lab.verdict.paired import compare_paired
from warminit.layout import Tabled

IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def held() -> dict[str, Tabled]:
    """Return one of each result that the public names give."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    )
    one = warminit.init_(model, IMAGES, "he-normal")
    return {
        "init_": one,
        "several": warminit.init_(model, IMAGES, ["he-normal", "small-head"]),
        "adapt_stem_": warminit.adapt_stem_(model, in_channels=3),
        "diagnose": warminit.diagnose(torch.nn.Conv2d(1, 4, 3), IMAGES),
        "derive_rules": warminit.derive_rules(IMAGES.expand(-1, 3, -1, -1), 4),
        "methods": warminit.methods(),
        "Analysis": demo(),
        "Comparison": demo().comparisons[0],
        "Study": demo_study(),
        "StoredStudy": StoredStudy(demo_study(), tuple(demo_runs(demo_study()))),
        "ImageDataset": load_dataset("fashion-mini"),
    }


@pytest.fixture(scope="module")
def results() -> dict[str, Tabled]:
    return held()


@pytest.mark.parametrize(
    "name",
    [
        "init_", "several", "adapt_stem_", "diagnose", "derive_rules", "methods", "Analysis",
        "Comparison", "Study", "StoredStudy", "ImageDataset",
    ],
)  # fmt: skip
def test_print_and_notebook_show_the_same_cells(results: dict[str, Tabled], name: str) -> None:
    text, html = str(results[name]), results[name]._repr_html_()
    assert not re.match(r"\w+\(", text), "a repr"
    assert "tensor(" not in text
    cells = Cells(html)
    assert cells.rows
    assert {len(row) for row in cells.rows} <= set(range(1, 12))
    for cell in filter(None, (cell for row in cells.rows for cell in row)):
        assert cell in text


def test_a_comparison_by_hand() -> None:
    comparison = compare_paired(
        [0.91, 0.92, 0.94], [0.90, 0.90, 0.91], arm="a", baseline="b", margin=0.001
    )
    # The differences are 1, 2 and 3 points: mean 2, sd 1, t = 2 sqrt(3), p = 0.0742 with 2 degrees;
    # the interval is 2 -+ 4.3027 / sqrt(3).
    assert str(comparison).splitlines() == [
        "a against b",
        "outcome             undecided",
        "a                   92.33",
        "b                   90.33",
        "difference          +2.00 points",
        "interval            -0.48 to +4.48",
        "two-sided p         0.0742",
        "wins, ties, losses  3, 0, 0 of 3 seeds",
        comparison.verdict,
    ]


def test_an_analysis_by_hand() -> None:
    study = Study.create(
        name="mine", datasets=["fashion-mini"], arms=["torch-default", "prewarm"], seeds=[1, 2, 3],
        protocol={"steps": 1},
    )  # fmt: skip
    scores = {"torch-default": (0.90, 0.90, 0.91), "prewarm": (0.91, 0.92, 0.94)}
    runs = {
        (arm, seed): result(score, curve=[], steps=[], train_loss=[])
        for arm, found in scores.items()
        for seed, score in zip(study.seeds, found, strict=True)
    }
    analysis = analyse(study, stored(study, runs))
    title, headings, first, second, blank, verdict = str(analysis).splitlines()
    assert title == "mine: 6 of 6 runs"
    assert re.split(r"  +", headings) == [
        "data set", "model", "arm", "outcome", "seeds", "accuracy, %", "difference, points",
        "interval", "Holm p",
    ]  # fmt: skip
    assert re.split(r"  +", first) == (
        ["fashion-mini", "simplecnn", "torch-default", "baseline", "3", "90.33"]
    )
    assert re.split(r"  +", second) == [
        "fashion-mini", "simplecnn", "prewarm", "undecided", "3", "92.33", "+2.00",
        "-0.48 to +4.48", "0.0742",
    ]  # fmt: skip
    assert blank == ""
    assert verdict == analysis.comparisons[0].verdict
    failed = replace(analysis.runs[0], result=None, error="ValueError: no")
    partly = analyse(study, [failed, *analysis.runs[1:5]])
    assert str(partly).startswith("mine: 4 of 6 runs, 1 failed\n")


def test_a_study_shows_what_differs_from_the_defaults() -> None:
    study = Study.create(
        name="mine", datasets=["fashion-mini"], arms=["torch-default", "prewarm"], seeds=[1, 2],
        protocol={"steps": 30}, description="One sentence.",
    )  # fmt: skip
    assert str(study).splitlines() == [
        "mine: One sentence.",
        "datasets        fashion-mini",
        "arms            torch-default, prewarm",
        "seeds           1, 2",
        "protocol.steps  30",
    ]


def test_an_own_loop_shows_no_placeholder() -> None:
    study = Study.create(
        name="mine", datasets=["yours"], models=["yours"], arms=["torch-default", "prewarm"],
        protocol={"steps": 1},
    )  # fmt: skip
    runs = {(arm.label, 1): result(0.5) for arm in study.arms}
    stored_study = StoredStudy(study, tuple(stored(study, runs, dataset="yours")))
    assert "prewarm        1     0" in str(stored_study)
    for shown in (str(study), str(analyse(study, ())), str(stored_study)):
        assert "yours" not in shown
        assert "steps" not in shown


def test_names_never_become_markup() -> None:
    analysis, datasets = hostile()
    report = InitReport("<b>", "a & b", '"<i>', 1, 2, {"<s>": "<u>"}, 0, 0.0, notes=("</table>",))
    for shown in (analysis, analysis.study, *datasets.values(), report):
        assert set(Cells(shown._repr_html_()).tags) <= {
            "table", "caption", "thead", "tbody", "tr", "th", "td", "p",
        }  # fmt: skip
    assert "<p>note: &lt;/table&gt;</p>" in report._repr_html_()


class Cells(HTMLParser):
    """The rows of all tables of some HTML, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
