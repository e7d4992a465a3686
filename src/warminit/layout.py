"""rows of texts -> a table: aligned text for `print`, HTML for a notebook."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Layout:
    """What a result shows of itself.

    Attributes:
        title: One line, or "".
        rows: Cells; each row has as many.
        headings: Of the columns, as many, or none.
        below: Lines under the table.
    """

    title: str
    rows: Sequence[Sequence[str]] = ()
    headings: Sequence[str] = ()
    below: Sequence[str] = ()

    def text(self) -> str:
        """Return plain text.

        Example:
            >>> print(
            ...     Layout("two", [("a", "1"), ("long", "2")], ("name", "n"), ("note: x",)).text()
            ... )
            two
            name  n
            a     1
            long  2
            note: x
        """
        rows = [self.headings, *self.rows] if self.headings else self.rows
        return "\n".join([*([self.title] if self.title else []), *aligned(rows), *self.below])

    def html(self) -> str:
        """Return HTML in which every text is escaped.

        Example:
            >>> Layout("a & b", [("<i>",)]).html()
            '<table><caption>a &amp; b</caption><tbody><tr><td>&lt;i&gt;</td></tr></tbody></table>'
        """
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        head = f"<thead>{_row('th', self.headings)}</thead>" if self.headings else ""
        body = "".join(_row("td", row) for row in self.rows)
        below = "".join(f"<p>{escape(line)}</p>" for line in self.below)
        return f"<table>{caption}{head}<tbody>{body}</tbody></table>{below}"


class Tabled:
    """A result that `print` and a notebook show as tables; it says which in `tables`."""

    __slots__ = ()

    def tables(self) -> Iterable[Layout]:
        """Return what is shown, from top to bottom."""
        raise NotImplementedError  # every class that is shown has its own tables

    def __str__(self) -> str:
        return "\n\n".join(table.text() for table in self.tables())

    def _repr_html_(self) -> str:
        return "".join(table.html() for table in self.tables())


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return each row as a line; columns are as wide as their longest cell.

    Example:
        >>> aligned([("a", "1", ""), ("long", "2", "why")])
        ['a     1', 'long  2  why']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def plain(value: object) -> str:
    """Return a value as a cell has it: four digits, `3 x 3` for a size.

    Example:
        >>> plain(0.123456), plain((3, 3)), plain(None)
        ('0.1235', '3 x 3', 'None')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return " x ".join(str(part) for part in value)
    return str(value)


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
