"""text -> its paragraphs, sentences and numbers, and the phrases that the documents do without."""

import re

MOST_WORDS = 25
MOST_NUMBERS = 3
MOST_COLUMNS = 120

PHRASES = re.compile(
    r"told from (?:none|nothing)|gain that can be told|what is given|as it was\b|where it is so"
    r"|to be had\b|taught it|one of its own that|and the store has not|with everything about"
    r"|slip of the pen"
    r"|\b(?:a|an|the|each|every|its|default|another|one|no|any|of|between|per|whose) start\b"
    r"|\b(?:the|these|those|its|other|two|three|four|all|of|between|compare|comparing) starts\b",
    re.IGNORECASE,
)
"""Old-fashioned or unclear phrases, and "start" as a noun: say initializer, arm or weights."""

_UNIT = re.compile(r"^\s*(?:[-*]|\d+\.)\s+|^:::.*$|^#+ .*$", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.,/-])[-+±]?\d+(?: x \d+|[\d.,]*\d)*(?![\w-])")


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs and list items of Markdown, without code, tables, headings and links.

    A span of code counts as one word and no number.
    """
    text = re.sub(r"^( *)```.*?^\1```$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->|^\|.*$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]+`", "code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    units = re.split(r"\n\s*\n", _UNIT.sub("\n\n", text))
    return [" ".join(unit.replace("**", "").split()) for unit in units if unit.strip()]


def sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph."""
    return re.split(r"(?<=[.?!])[\"')]*\s+(?=\W*[A-Z0-9]|code\b)", paragraph)


def words(sentence: str) -> int:
    """Return how many words a sentence has."""
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


def numbers(paragraph: str) -> list[str]:
    """Return the numbers of a paragraph; `3 x 3` is one."""
    return _NUMBER.findall(paragraph)
