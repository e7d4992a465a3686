"""src/warminit -> its docstrings, errors and printed texts keep the word rules."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import warminit
import warminit.lab

SOURCES = sorted(Path(warminit.__file__).parent.rglob("*.py"))

#: Phrases of no error, help text or docstring, and what to write instead.
PHRASES = {
    r"what is given": "the given values",
    r"where it is so": "if so",
    r"to be had": "available",
    r"nothing that can be told": "no statistically significant gain",
    r"\bwhat it is fed\b|\bis fed\b.*\bis fed\b": "its inputs",
    r"\ba slip of the pen\b": "a typo",
    r"\bis (wanted|needed)[.,;]": "expected ...",
    r"\ball the same\b": "anyway",
    r"\b(the|an?|each|every|all|no|another|which|whose|one) starts?\b": "initializer, arm",
    r"\bStarts (to|that)\b": "Initializers",
}
LONGEST = 25

#: Sentences of public docstrings that may be longer, by a few of their words.
MAY_BE_LONGER: tuple[str, ...] = ()


def texts(source: Path) -> Iterator[tuple[int, str]]:
    """Yield every string of a module with its line; an f-string's values are left out."""
    inside: set[int] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(each) for each in ast.walk(node)}
            parts = [v.value for v in node.values if isinstance(v, ast.Constant)]
            yield node.lineno, "_".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            yield node.lineno, node.value if isinstance(node.value, str) else ""


def broken(text: str) -> list[str]:
    """Return the forbidden phrases of a text, each with what to write instead."""
    flat = " ".join(text.split())
    found = ((re.search(phrase, flat), better) for phrase, better in PHRASES.items())
    return [f"{match[0]!r}: write {better!r}" for match, better in found if match]


def sentences(doc: str) -> Iterator[str]:
    """Yield the sentences of a docstring: its example is left out, an argument begins one."""
    doc = doc.partition("Example:")[0]
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=\**\w+: )", doc):
        flat = " ".join(paragraph.split())
        yield from re.split(r"(?<=[.!?:;])\s+", flat)


def public() -> Iterator[tuple[str, str]]:
    """Yield the docstring of every public function and class."""
    for package in (warminit, warminit.lab):
        for name in package.__all__:
            each = getattr(package, name)
            if inspect.isfunction(each) or inspect.isclass(each):
                yield name, inspect.getdoc(each) or ""


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_text_has_a_forbidden_phrase(source: Path) -> None:
    wrong = [f"line {line}: {each}" for line, text in texts(source) for each in broken(text)]
    assert not wrong


def test_sentences_of_public_docstrings_are_short() -> None:
    long = [
        f"{name}: {sentence}"
        for name, doc in public()
        for sentence in sentences(doc)
        if len(re.findall(r"[\w`'/*.=-]+", sentence)) > LONGEST
        and not any(words in sentence for words in MAY_BE_LONGER)
    ]
    assert not long


@pytest.mark.parametrize(
    "text", ["Train the same network from each start.", "tf32 is not to be had on cpu", "Starts to"]
)
def test_a_planted_phrase_is_found(text: str) -> None:
    assert broken(text)


def test_a_long_sentence_is_found() -> None:
    doc = "Do it.\n\nArgs:\n    x: " + "word " * 26 + "end.\n"
    assert max(len(each.split()) for each in sentences(doc)) > LONGEST
