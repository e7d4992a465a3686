"""a newcomer in an empty folder -> compare, the page, its verdict and figure, the same again.

Nothing here knows where anything is: each step takes what the one before it printed. The tutorial
is followed block by block, with fewer images and steps.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from warminit.lab.study.study import Study

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
SCRIPT = Path(sys.executable).with_name("warminit")
PATIENCE = 600
"""Seconds that a test waits for a command on a busy machine before it fails."""


class Page(HTMLParser):
    """What somebody finds on the page: headings with the text below them, and elements by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.below: dict[str, str] = {}
        self.by_id: dict[str, str] = {}
        self._heading, self._in_heading, self._open = "", False, ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h1", "h2"):
            self._heading, self._in_heading = "", True
        self._open = dict(attrs).get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h1", "h2"):
            self._in_heading = False
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self._heading += data
        elif self._heading:
            self.below[self._heading] = self.below.get(self._heading, "") + data
        if self._open:
            self.by_id[self._open] = self.by_id.get(self._open, "") + data


def typed(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command line as it would be typed in a folder."""
    words = shlex.split(line)
    assert words[0] == "warminit"
    environment = {name: each for name, each in os.environ.items() if name != "WARMINIT_DATA"}
    return subprocess.run(
        [str(SCRIPT), *words[1:]],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("newcomer")
    ended = typed("warminit compare --steps 3 --batch-size 16 --seeds 2", folder)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_the_path_from_nothing_to_the_same_study_again(compared: tuple[Path, str]) -> None:
    folder, output = compared
    # The command says where the page is.
    said = re.search(r"^Report: +(\S+)$", output, re.MULTILINE)
    assert said
    path = folder / said[1]
    page = Page(path.read_text(encoding="utf-8"))
    # The verdict comes first, and is what the terminal printed.
    (first, *_) = page.below
    verdicts = " ".join(page.below["Verdicts"].split())
    assert list(page.below)[1] == "Verdicts", first
    printed = output[output.index("\n- ") : output.index("Shortened: ")]
    # Under each verdict, indented, stand cross-entropy and time to accuracy.
    below = [each.split("\n  ") for each in printed.split("\n- ") if each.strip()]
    sentences = [" ".join(text.split()) for verdict, loss, _ in below for text in (verdict, loss)]
    assert len(sentences) == 6
    for sentence in sentences:
        assert sentence in verdicts
    # The forest figure holds the differences that the terminal printed.
    figure = json.loads(page.by_id["spec-forest"])
    text = json.dumps(figure)
    assert all(arm in text for arm in ("prewarm", "norm-matched-random", "whitening"))
    # The command on the page is one that is accepted, and knows what is finished.
    command = page.by_id["command"]
    again = typed(f"{command} --dry-run", folder)
    assert again.returncode == 0, again.stderr
    assert "runs   8, of which 0 are to do" in again.stdout
    # The study file on the page is that study.
    file = folder / "study.toml"
    file.write_text(page.by_id["study-file"], encoding="utf-8")
    assert len(list(Study.from_toml(file).runs())) == 8
    file.unlink()


def test_nothing_but_the_results_is_left_behind(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    assert [each.name for each in folder.iterdir()] == ["warminit-results"]
    left = {each.name for each in (folder / "warminit-results/compare").iterdir()}
    store = {"study.sqlite", "study.sqlite-wal", "study.sqlite-shm", "study.lock"}
    assert left - store == {"report.html", "results.csv", "results.json"}


def test_the_tutorial_goes_from_images_to_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARMINIT_CACHE", str(tmp_path / "cache"))
    said = ""
    for language, block in re.findall(
        r"^```(python|sh)\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE
    ):
        if language == "python":
            code = re.sub(r"data\.(train|test)_(images|labels)(?=[,)])", r"\g<0>[:300]", block)
            path = tmp_path / ("my_project.py" if "def network" in block else "block.py")
            path.write_text(code, encoding="utf-8")
            ended = subprocess.run(
                [sys.executable, str(path)],
                cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        elif block.startswith("warminit"):
            line = block.replace("\\\n", " ").replace(" --open", "")
            ended = typed(line.replace("--steps 100", "--steps 2"), tmp_path)
        else:
            assert block.startswith("pip install")
            continue
        assert ended.returncode == 0, f"{block}\n{ended.stderr}"
        said += ended.stdout
    assert len(list((tmp_path / "my-images").rglob("*.png"))) == 600
    assert "Nothing was run." in said
    assert len(set(re.findall(r"^Report: +(\S+)$", said, re.MULTILINE))) == 2
    answer = re.search(r"^(Yes|No|This study cannot tell), after 2 steps: ", said, re.MULTILINE)
    assert answer
    assert re.search(r"^layer +0\b", said[answer.end() :], re.MULTILINE), "init_ names the layer"
