"""analyses -> pages: what stands on them and in which order, escaped, whole, small and offline."""

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import warminit.lab.report
from report_cases import ATTACK, IMAGE, demo, demo_runs, demo_study, grid, hostile, partly
from study_cases import tiny_study, write_data
from study_runs import result, stored
from warminit.cli import app
from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.data.load import load_dataset
from warminit.lab.engines.driver import run_study
from warminit.lab.report import LiveReport, write_report
from warminit.lab.report.page import in_script, page
from warminit.lab.report.texts import verdicts
from warminit.lab.store.store import StoredRun
from warminit.lab.study.builtin import load_study, shipped_studies
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import Study
from warminit.lab.study.toml import study_toml
from warminit.lab.verdict.analysis import Analysis, analyse

MEGABYTE = 1_000_000
TEMPLATES = Path(warminit.lab.report.__file__).parent / "templates"


class Reader(HTMLParser):
    """Collects what a browser would: elements, attributes, scripts, contents, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.shown: list[str] = []
        self.contents: list[str] = []
        self.in_contents = False
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        self.in_contents |= tag == "nav"
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in = ""
        self.in_contents &= tag != "nav"

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        elif self.in_contents:
            self.contents += [data.strip()] if data.strip() else []
        elif self._in != "style":
            self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def demo_page() -> Reader:
    return Reader(page(demo()))


# ---------------------------------------------------------------- one file, offline
def test_the_demo_page_is_small_and_holds_one_runtime(tmp_path: Path) -> None:
    datasets = {"fashion-mini": load_dataset("fashion-mini")}
    path = write_report(demo(), tmp_path / "report.html", datasets=datasets)
    assert path.stat().st_size <= 3 * MEGABYTE
    text = path.read_text(encoding="utf-8")
    assert text.count("window.vegaEmbed=") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    read = Reader(text)
    charts = [
        attributes["data-spec"] for attributes in read.tags("div") if "data-spec" in attributes
    ]
    assert len(charts) >= 7
    assert len(read.tags("svg")) >= 10
    assert "T-shirt/top, Trouser" in read.text


def test_nothing_is_loaded_from_anywhere(demo_page: Reader) -> None:
    for tag, attributes in demo_page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)


def test_the_policy_allows_the_pages_own_scripts_only(demo_page: Reader) -> None:
    policy = next(
        attributes["content"]
        for attributes in demo_page.tags("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    code = [text for attributes, text in demo_page.scripts if "type" not in attributes]
    digests = {base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in code}
    assert digests == allowed
    assert "unsafe-eval" not in policy
    assert not [name for _, each in demo_page.elements for name in each if name.startswith("on")]


# ---------------------------------------------------------------- what it says
def test_verdicts_come_first_in_plain_words(demo_page: Reader) -> None:
    for comparison in demo().comparisons:
        assert comparison.verdict in demo_page.text
    order = [
        demo_page.text.index(each)
        for each in ("Verdicts", "Comparisons", "fashion-mini, simplecnn", "Details", "Reproduce")
    ]
    assert order == sorted(order)
    assert (
        "3 comparisons with torch-default by accuracy: 1 harms, 2 show no detectable difference."
        in (demo_page.text)
    )
    assert "Shortened: " in demo_page.text


def test_the_outcome_stands_beside_the_arm(demo_page: Reader) -> None:
    found = re.search(r'<table id="table-results".*?</thead>', page(demo()), re.DOTALL)
    assert found is not None
    headings = re.findall(r'class="sort">(.*?)<', found[0])
    assert headings[headings.index("arm") + 1] == "outcome"


def test_the_header_says_how_it_was_trained_and_on_what_it_was_evaluated() -> None:
    protocol = Protocol(steps=300, optimizer="adamw", warmup=20, weight_decay=0.05, lr_start=0.002)
    told = Reader(page(demo(protocol=protocol, validation=500))).text
    assert (
        "300 steps at batch 256, adamw, learning rate 0.002 to 3e-05 (cosine), warm-up of 20 "
        "steps, weight decay 0.05, float32. Evaluated on 500 training images set aside."
    ) in told
    plain = Reader(page(demo(datasets=("mnist", "svhn")))).text
    assert "learning rate 0.0005 to 3e-06 or 0.003 to 3e-05 (cosine), no warm-up" in plain
    assert "no weight decay" in plain
    assert "Evaluated on the test set." in plain


def test_one_image_is_named_where_few_are_evaluated() -> None:
    study = demo().study
    few = analyse(study, demo().runs, evaluated={"fashion-mini": 40})
    told = "fashion-mini: 40 images are evaluated, so that one of them is worth 2.5 points, more "
    assert told + "than the margin of 0.1." in Reader(page(few)).text
    many = analyse(study, demo().runs, evaluated={"fashion-mini": 10_000})
    assert "one of them is worth" not in Reader(page(many)).text
    apart = Reader(page(demo(validation=500))).text
    assert "fashion-mini: 500 images are evaluated, so that one of them is worth 0.2" in apart


def test_printing_keeps_headings_and_opens_what_is_folded() -> None:
    css = (TEMPLATES / "report.css").read_text("utf-8").split("@media print")[1]
    assert "button:not(.sort)" in css  # the headings of tables are buttons
    assert "max-height: none" in css
    script = (TEMPLATES / "report.js").read_text("utf-8")
    assert "beforeprint" in script
    assert "drawUnseen" in script


def test_the_end_tells_how_to_reproduce_it(demo_page: Reader) -> None:
    assert "warminit run demo" in demo_page.text
    assert "scikit-learn 1.5" in demo_page.text
    changed = Reader(page(demo(seeds=(1, 2))))
    assert "warminit run study.toml" in changed.text
    assert "seeds = [ 1, 2, ]" in " ".join(changed.text.split())
    given = Reader(page(demo(), command="warminit compare --threads 2"))
    assert "warminit compare --threads 2" in given.text


def test_a_finished_study_has_no_warning(demo_page: Reader) -> None:
    assert not demo_page.tags("progress")
    assert "not finished" not in demo_page.text


def test_an_unfinished_and_partly_failed_study_says_so_at_the_top() -> None:
    read = Reader(page(partly()))
    arms = len(partly().study.arms)
    expected = f"{5 * arms - 1} of {8 * arms} runs done, 1 failed, {3 * arms} to do."
    assert read.text.index("This study is not finished") < read.text.index("Verdicts")
    assert read.text.index(expected) < read.text.index("Verdicts")
    assert "ValueError: <b>no</b> memory" in read.text
    assert "Traceback" not in read.text
    assert read.tags("progress")[0] == {
        "max": str(8 * arms),
        "value": str(5 * arms - 1),
        "aria-label": "runs done",
    }


def test_a_finished_study_with_failures_says_so() -> None:
    runs = list(demo().runs)
    runs[3] = replace(runs[3], result=None, error="RuntimeError: it broke")
    read = Reader(page(analyse(demo().study, runs)))
    assert read.text.index("1 run failed") < read.text.index("Verdicts")
    assert "RuntimeError: it broke" in read.text


def test_a_partial_data_set_is_marked_wherever_it_is_named() -> None:
    study = demo_study(datasets=("mnist", "cifar10"))
    read = Reader(page(analyse(study, demo_runs(study), partial=["cifar10"])))
    assert read.text.index("Partial data: the counts of cifar10 differ") < read.text.index(
        "Verdicts"
    )
    cells = [text for text in read.shown if text.strip() in ("cifar10", "cifar10 (partial)")]
    assert cells
    assert "cifar10" not in cells
    assert "cifar10 (partial), simplecnn" in read.text


def test_a_study_without_any_run_has_a_page() -> None:
    read = Reader(page(analyse(demo_study(), ())))
    assert "No comparison yet" in read.text
    assert "0 of 32 runs done" in read.text


def rmse(means: dict[str, float]) -> Analysis:
    """Return a comparison in a user's own loop, by an error in kelvin; arms and their means."""
    study = Study.create(
        name="own-loop", datasets=["yours"], models=["yours"], arms=list(means),
        metric="rmse", higher_is_better=False, unit="K", protocol={"steps": 1}, seeds=3,
    )  # fmt: skip
    runs = {
        (arm, seed): replace(
            result(0.5, curve=[], steps=[], train_loss=[]),
            metrics={"rmse": mean + 0.01 * place + 0.001 * (number * place) ** 2},
        )
        for number, (arm, mean) in enumerate(means.items())
        for place, seed in enumerate(study.seeds)
    }
    return analyse(study, stored(study, runs))


def test_a_loop_of_ones_own_has_a_page_in_its_users_words() -> None:
    read = Reader(page(rmse({"torch-default": 1.0, "prewarm": 1.1})))
    assert "2 arms x 3 seeds in your own training loop." in read.text
    assert "difference, K" in read.text
    assert "Run your script again" in read.text
    for placeholder in ("yours", "simplecnn", "batch size", "steps at batch", "data set"):
        assert placeholder not in read.text


def test_the_contents_name_every_section_in_order(demo_page: Reader) -> None:
    links = [each["href"] for each in demo_page.tags("a")][1:]
    headings = [each["id"] for each in demo_page.tags("h2")]
    assert links == [f"#{each}" for each in headings]
    assert demo_page.contents[:3] == ["Contents", "Verdicts", "Comparisons"]


def test_verdicts_are_ordered_by_effect_and_say_the_outcome_once() -> None:
    (group,), folded = verdicts(demo())
    assert folded == []
    gains = {c.arm: c.gain for c in demo().comparisons}
    best_first = sorted(gains, key=lambda arm: gains[arm], reverse=True)
    assert [next(arm for arm in best_first if arm in v.claim.split()) for v in group.found] == (
        best_first
    )
    harms = group.found[-1]
    assert harms.claim == "norm-matched-random harms"
    assert "harms" not in harms.evidence
    assert "norm-matched-random" not in harms.evidence


def test_where_lower_is_better_the_largest_fall_is_first() -> None:
    (group,), _ = verdicts(rmse({"torch-default": 1.0, "prewarm": 1.1, "whitening": 0.7}))
    assert [verdict.claim for verdict in group.found] == ["whitening helps", "prewarm harms"]


def test_a_long_study_shows_what_decides_and_folds_the_rest_by_data_set() -> None:
    study = Study.model_validate(
        grid().study.model_dump()
        | {"datasets": ("mnist", "cifar10"), "arms": grid().study.arms[:20]}
    )
    rng = np.random.default_rng(0)
    found = [
        run
        for dataset in study.datasets
        for run in stored(
            study,
            {
                (arm.label, seed): result(
                    0.8, train_loss=[0.5 - (number in {3, 5}) * number + float(rng.normal(0, 0.01))]
                )
                for number, arm in enumerate(study.arms)
                for seed in study.seeds
            },
            dataset=dataset,
        )
    ]
    analysis = analyse(study, found)
    in_view, folded = verdicts(analysis)
    assert [len(group.found) for group in in_view] == [2, 2]
    assert [group.found[0].claim for group in in_view] == [f"{study.arms[5].label} helps"] * 2
    assert [(group.title, len(group.found)) for group in folded] == [
        ("mnist, simplecnn", 17),
        ("cifar10, simplecnn", 17),
    ]
    text = " ".join(page(analysis).split())
    summaries = re.findall(r"<summary>(.*?)</summary>", text)
    assert "mnist, simplecnn: 17 more verdicts" in summaries
    assert "mnist: every result" in summaries
    assert "Seed by seed and while training: 2 help, 17 show no detectable difference" in summaries
    assert "mnist" in summaries, "the heat maps of each data set fold too"


def test_a_grid_shows_its_heat_maps_before_its_runs() -> None:
    read = Reader(page(grid()))
    assert "fashion-mnist: patch_size 3, n_clusters 16" in read.text
    assert read.text.index("The grid") < read.text.index("Seed by seed")


def test_the_same_runs_give_the_same_page() -> None:
    assert page(demo()) == page(analyse(demo().study, demo().runs))


# ---------------------------------------------------------------- hostile names
def test_names_are_shown_and_never_become_markup(tmp_path: Path) -> None:
    analysis, datasets = hostile()
    text = write_report(analysis, tmp_path / "report.html", datasets=datasets).read_text("utf-8")
    read, clean = Reader(text), Reader(page(demo()))
    assert read.tags("img") == []
    assert [attributes.get("type") for attributes, _ in read.scripts].count(None) == 2
    assert not [name for _, each in read.elements for name in each if name.startswith("on")]
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in clean.elements} | {
        "svg", "g", "rect", "image", "text", "style", "progress", "input", "label",
    }  # fmt: skip
    assert ATTACK in read.text
    assert IMAGE in read.text
    specs = [json.loads(body) for attributes, body in read.scripts if "type" in attributes]
    assert any(ATTACK in json.dumps(each) for each in specs), "charts hold the name as it is"


@pytest.mark.parametrize("text", ["</script >", "<!--<script>", "</SCRIPT/x", "a & b", IMAGE])
def test_json_in_a_script_element_cannot_leave_it(text: str) -> None:
    inside = str(in_script(json.dumps({text: text})))
    assert not set("<>&") & set(inside)
    assert json.loads(inside) == {text: text}


# ---------------------------------------------------------------- while it runs
class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_live_page_is_written_at_most_every_few_seconds(tmp_path: Path) -> None:
    path, clock, runs = tmp_path / "report.html", Clock(), list[StoredRun]()
    live = LiveReport(demo_study(), path, lambda: runs, seconds=5.0, clock=clock)
    assert live.update(), "the first page comes at once"
    assert "0 of 32 runs done" in Reader(path.read_text("utf-8")).text
    runs += demo().runs[:8]
    clock.now += 4.9
    assert not live.update()
    clock.now += 0.2
    assert live.update()
    assert "8 of 32 runs done" in Reader(path.read_text("utf-8")).text


def test_a_live_page_that_takes_long_is_written_rarely(tmp_path: Path) -> None:
    clock = Clock()

    def slowly() -> list[StoredRun]:
        clock.now += 2.0
        return []

    live = LiveReport(demo_study(), tmp_path / "report.html", slowly, seconds=5.0, clock=clock)
    assert live.update()
    clock.now += 39.0  # 2 s are a twentieth of 40 s
    assert not live.update()
    clock.now += 2.0
    assert live.update()


def test_a_page_that_cannot_be_written_does_not_stop_the_study(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    live = LiveReport(demo_study(), tmp_path / "file" / "report.html", lambda: (), seconds=0.0)
    with pytest.warns(WarminitWarning, match="cannot be kept up to date .* the study goes on"):
        assert not live.update()
    assert not live.update(), "and it says so once"


def test_a_page_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old page")

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WarminitError, match=r"report.html cannot be written: .*No space left"):
        write_report(demo(), path)
    assert path.read_text() == "the old page"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_page_while_running_is_cheap() -> None:
    page(demo())  # the runtime and the template are read once
    started = time.process_time()
    page(demo())
    assert time.process_time() - started < 2, "it is written after every run"


# ---------------------------------------------------------------- the study file
@pytest.mark.parametrize("name", shipped_studies())
def test_a_study_file_reads_back_as_the_same_study(name: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(study_toml(load_study(name)), encoding="utf-8")
    assert Study.from_toml(path) == load_study(name)


def test_strange_values_survive_the_study_file(tmp_path: Path) -> None:
    study = Study.model_validate(
        demo_study().model_dump()
        | {
            "description": 'quote " back \\ slash, tab \t, DEL \x7f, newline \n, \u00e9 \U0001f600',
            "datasets": ("a folder/with 'quotes'",),
            "arms": (
                ArmSpec(name="torch-default"),
                ArmSpec(
                    name="prewarm",
                    parameters={"patch_size": [3, 5], "a key": True, "scale": 1e-7, "o": {"x": 1}},
                ),
            ),
        }
    )
    path = tmp_path / "study.toml"
    path.write_text(study_toml(study), encoding="utf-8")
    import tomllib

    assert Study.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))) == study


# ---------------------------------------------------------------- the command
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    study = tiny_study(write_data(place), seeds=2, arms=["torch-default", "prewarm"])
    run_study(study, place / "results", workers=1)
    return place / "results"


def test_the_command_writes_the_page_with_its_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def remember(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", remember)
    done = CliRunner().invoke(app, ["report", str(folder), "--open"])
    assert done.exit_code == 0, done.output
    path = folder / "report.html"
    assert done.output.split() == [f"{path}:", "4", "runs"]
    assert opened == [path.as_uri()]
    read = Reader(path.read_text("utf-8"))
    assert "from images to filters, prewarm" in read.text
    assert "patches_per_image = " in read.text
    for heading in (
        "before any arm",
        "after prewarm",
        "torch-default, trained",
        "prewarm, trained",
    ):
        assert heading in read.text


def test_the_command_answers_in_json(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(path), "--json"])
    assert json.loads(done.output) == {"file": str(path), "runs": 4, "missing": 0}
    assert path.exists()


def test_the_command_says_when_no_browser_can_be_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    done = CliRunner().invoke(app, ["report", str(folder), "--open"])
    assert done.exit_code == 2
    assert "no browser was found" in done.output


def test_the_command_names_the_nearest_study(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(tmp_path / "nothing")])
    assert done.exit_code == 2
    assert "expected a folder with study.sqlite" in " ".join(done.output.split())
