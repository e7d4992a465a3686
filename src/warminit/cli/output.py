"""results -> standard output: tables on a console, or JSON only."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def console(*, as_json: bool = False) -> "Console":
    """Return the console, on standard error if standard output gets JSON."""
    from rich.console import Console

    return Console(stderr=as_json)


def print_json(content: Any) -> None:
    """Print plain values as JSON; numbers that are not finite become null."""
    from warminit.lab.store.plain_json import plain_json

    typer.echo(plain_json(content))


def duration(seconds: float) -> str:
    """Format a time in words.

    Example:
        >>> duration(4000), duration(75), duration(3)
        ('1 h 6 min', '1 min 15 s', '3 s')
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
