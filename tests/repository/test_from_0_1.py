"""names of 0.1 -> docs/from-0.1.md: each that is called otherwise today is on the page."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from warminit import lab
from warminit.renamed import TODAY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/from-0.1.md").read_text("utf-8")

LAB_OF_0_1 = [
    "data.load.load_dataset", "data.load.ImageDataset", "study.study.Study",
    "study.builtin.load_study", "study.builtin.changed_study", "engines.driver.run_study",
    "engines.driver.read_study", "engines.choose.EngineOptions", "verdict.analysis.analyse",
    "verdict.analysis.Analysis", "verdict.paired.compare_paired", "verdict.paired.holm",
    "verdict.paired.relative_error_change", "verdict.comparison.Comparison", "report.write_report",
    "verdict.export.export", "figures.forest.forest", "figures.render.save",
]  # fmt: skip
"""The laboratory in the API reference of 0.1, but for `warminit.lab.compare`."""


def rows() -> dict[str, str]:
    """Return the first cell of each row of the page's tables -> the second."""
    cells = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    return {first.removeprefix("| "): second for first, second, *_ in cells}


@cache
def adapters() -> list[tuple[str, str]]:
    """Return (old, new) of every call of `old_name` in the integrations."""
    found = []
    for path in (ROOT / "src/warminit/integrations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "old_name":
                old, new = (ast.literal_eval(each) for each in node.args)
                found.append((f"{path.stem}.{old}", new))
    return found


@pytest.mark.parametrize("old", TODAY)
def test_every_keyword_that_was_renamed_is_on_the_page(old: str) -> None:
    told = [(first, second) for first, second in rows().items() if re.search(rf"\b{old}=", first)]
    assert any(re.search(rf"\b{TODAY[old]}=", second) for _, second in told), told


def test_every_adapter_that_was_renamed_is_on_the_page() -> None:
    assert len(adapters()) == 7
    for old, new in adapters():
        told = [second for first, second in rows().items() if f"`{old}`" in first]
        assert told == [f"`{new}`"], old


@pytest.mark.parametrize("name", LAB_OF_0_1)
def test_every_name_of_the_laboratory_is_on_the_page(name: str) -> None:
    line = next(each for each in PAGE.splitlines() if f"| `warminit.lab.{name}` |" in each)
    short = name.rpartition(".")[2]
    assert f"| `warminit.lab.{short}` |" in line
    assert short in lab.__all__
    home, _, _ = name.rpartition(".")
    works = hasattr(importlib.import_module(f"warminit.lab.{home}"), short)
    assert works is ("moved" not in line)
