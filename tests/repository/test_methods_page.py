"""docs/initializers.md -> its tables are what tools/methods_page.py writes."""

import re

import pytest

import methods_page
from warminit.initializers import METHODS

TEXT = methods_page.PAGE.read_text(encoding="utf-8")


def test_writing_the_tables_again_changes_nothing() -> None:
    assert methods_page.filled(TEXT) == TEXT, "python tools/methods_page.py"


def test_every_shipped_method_has_a_row_that_is_complete() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| ([^|]+) \|[^|]*\| ([^|]+\.) \|[^|]*\|$", TEXT, re.MULTILINE
    )
    assert [name for name, *_ in rows] == list(METHODS)


def test_a_page_without_its_region_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one region <!-- table: methods -->"):
        methods_page.filled("")
