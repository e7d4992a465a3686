"""docs/, README.md, examples/ -> the rules of words that a test can hold."""

import re
from pathlib import Path

import pytest

from words import (
    MOST_COLUMNS,
    MOST_NUMBERS,
    MOST_WORDS,
    PHRASES,
    numbers,
    paragraphs,
    sentences,
    words,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HOW_TOS = sorted(
    re.findall(
        r": ([\w./-]+\.md)$",
        re.split(r"^  - ", (ROOT / "mkdocs.yml").read_text("utf-8").partition("- How-to:")[2],
                 maxsplit=1, flags=re.MULTILINE)[0],
        re.MULTILINE,
    )
)  # fmt: skip
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "results").glob("*.md"))]


def name(page: Path) -> str:
    """Return the path of a page below docs/."""
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def test_the_menu_has_how_tos() -> None:
    assert {"own-network.md", "study-file.md", "adapt.md", "scaling.md"} <= set(HOW_TOS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_sentences_of_a_page_are_short(page: Path) -> None:
    units = paragraphs(page.read_text(encoding="utf-8"))
    each = [sentence for unit in units for sentence in sentences(unit)]
    assert [text for text in each if words(text) > MOST_WORDS] == []


@pytest.mark.parametrize("page", [DOCS / page for page in HOW_TOS], ids=name)
def test_a_how_to_says_first_which_question_it_answers(page: Path) -> None:
    assert re.search(r"\?|\banswers\b", paragraphs(page.read_text(encoding="utf-8"))[0])


@pytest.mark.parametrize("page", [DOCS / page for page in HOW_TOS], ids=name)
def test_a_paragraph_of_a_how_to_has_few_numbers(page: Path) -> None:
    units = paragraphs(page.read_text(encoding="utf-8"))
    assert [unit for unit in units if len(numbers(unit)) > MOST_NUMBERS] == []


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "examples").glob("*.py"))], ids=name)
def test_a_page_has_no_forbidden_phrase(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert [text[max(0, m.start() - 40) : m.end()] for m in PHRASES.finditer(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_of_a_page_are_short(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    # A row of a table is one line, however long.
    long = [line for line in lines if len(line) > MOST_COLUMNS and not line.startswith("|")]
    assert long == []


def test_the_rules_see_what_breaks_them() -> None:
    text = "# Twelve, 1, 2, 3, 4\n\nIt has 3 x 3 filters, -0.5 and 1,000.\n- One `a 1 b`. Two.\n"
    assert paragraphs(text) == ["It has 3 x 3 filters, -0.5 and 1,000.", "One code. Two."]
    assert sentences("One code. Two, e.g. three? Four") == ["One code.", "Two, e.g. three?", "Four"]
    assert numbers("It has 3 x 3 filters, -0.5 and 1,000.") == ["3 x 3", "-0.5", "1,000"]
    assert numbers("ResNet-20, float32, model.fc2") == []
    assert words("Two words - and code.") == 4
    for wrong in ("each start", "compare starts", "no gain that can be told from none"):
        assert PHRASES.search(wrong), wrong
    for right in ("it starts here", "to start", "The longest runs start first"):
        assert not PHRASES.search(right), right
