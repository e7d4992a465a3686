"""a study under way -> its page, after the first finished run; what goes wrong never ends it."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from cli_cases import invoke, plain, stubbed
from warminit.lab.own_loop import compare

ARGUMENTS = (
    "compare", "--datasets", "digits", "--arms", "torch-default,prewarm", "--seeds", "2",
    "--steps", "4", "--batch-size", "32",
)  # fmt: skip


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain(monkeypatch, tmp_path)


TOLD = pytest.mark.filterwarnings("always::warminit.errors.WarminitWarning")
"""As in a terminal: what is told there as a warning is no error."""


PAGE = Path("warminit-results/compare/report.html")


def look() -> str | None:
    """Return the page as it stands; None where there is none."""
    return PAGE.read_text("utf-8") if PAGE.is_file() else None


def lead(page: str) -> str:
    """Return the heading of the page's state section, "" where it has none."""
    found = re.search(r'<h2 id="state">(.*?)</h2>', page)
    return found[1] if found else ""


def command(page: str) -> str:
    found = re.search(r'<pre id="command"[^>]*>(.*?)</pre>', page)
    assert found
    return found[1]


def test_the_page_is_there_from_the_first_finished_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = stubbed(monkeypatch, look=look)
    ended = invoke(*ARGUMENTS)
    assert ended.exit_code == 0, ended.output
    first = stub.seen[0]
    assert first is not None
    assert lead(first) == "This study is not finished"
    assert "1 of 4 runs done, 0 failed, 3 to do" in first
    last = PAGE.read_text("utf-8")
    assert lead(last) == ""
    assert "&#34;torch-default&#34;" in last  # the study file, escaped
    assert f"Report:  {PAGE}" in ended.output
    # With the data at hand, the last page shows filters too.
    assert "from images to filters, prewarm" in last
    assert not list(PAGE.parent.glob(".*.part"))


def test_the_page_names_the_command_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stubbed(monkeypatch)
    monkeypatch.setenv("WARMINIT_DATA", str(tmp_path / "my data"))
    ended = invoke("--debug", *ARGUMENTS, "--quiet")
    assert ended.exit_code == 0, ended.output
    root = ["--data-root", str(tmp_path / "my data")]
    import html

    said = html.unescape(command(PAGE.read_text("utf-8")))
    assert shlex.split(said) == ["warminit", *ARGUMENTS, *root]


def test_ctrl_c_leaves_an_unfinished_page_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch, stop_after=3)
    ended = invoke(*ARGUMENTS)
    assert ended.exit_code == 130, ended.output
    tail = ended.output.splitlines()[-2:]
    assert tail == [
        "Interrupted; 3 finished runs kept. Continue with the same command:",
        f"  warminit {shlex.join(ARGUMENTS)}",
    ]
    assert lead(PAGE.read_text("utf-8")) == "This study is not finished"
    stubbed(monkeypatch)
    again = invoke(*shlex.split(tail[1])[1:])
    assert again.exit_code == 0
    assert "3 of 4 runs are already finished." in again.output


@TOLD
def test_without_what_the_page_needs_the_study_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stubbed(monkeypatch)
    for name in [name for name in sys.modules if name.startswith("warminit.lab.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as if it were not installed
    ended = invoke(*ARGUMENTS)
    assert ended.exit_code == 0, ended.output
    assert ended.output.count("there will be no report page") == 1
    assert 'pip install "warminit[lab]"' in ended.output
    assert "Report:" not in ended.output
    assert (PAGE.parent / "results.csv").is_file()
    monkeypatch.undo()
    importlib.import_module("warminit.lab.report")


@TOLD
def test_a_page_that_cannot_be_written_does_not_end_the_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stubbed(monkeypatch)
    PAGE.mkdir(parents=True)  # a folder in the file's place
    ended = invoke(*ARGUMENTS)
    assert ended.exit_code == 0, ended.output
    assert "the report page cannot be kept up to date" in ended.output
    assert "the report page was not written" in ended.output
    assert "difference" in ended.output


def test_json_names_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    stubbed(monkeypatch)
    content = json.loads(invoke(*ARGUMENTS, "--json").stdout)
    assert content["report"] == str(PAGE)
    assert content["command"] == f"warminit {shlex.join(ARGUMENTS)}"


def test_a_loop_of_your_own_leaves_a_page_too(tmp_path: Path) -> None:
    import torch

    seen = []

    def train(init: Any, seed: int) -> dict[str, float]:
        model = torch.nn.Conv2d(1, 8, 3)
        init(model, torch.rand(4, 1, 8, 8))
        page = tmp_path / "report.html"
        seen.append(lead(page.read_text("utf-8")) if page.exists() else None)
        return {"accuracy": float(model.weight.detach().abs().mean())}

    compare(train, ["torch-default", "he-normal"], 2, out=tmp_path, version="1")
    assert seen == [None, *["This study is not finished"] * 3]
    last = (tmp_path / "report.html").read_text("utf-8")
    assert lead(last) == ""
    assert "in your own training loop" in last
