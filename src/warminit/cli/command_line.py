"""a command's context -> the command line that gives the same results."""

import shlex

import typer

_KEY = "warminit.arguments"

_ONLY_SHOWS = {"--debug", "--json", "--quiet", "-q"}
"""Flags that change the display but not the results."""


def remember(context: typer.Context, arguments: list[str]) -> None:
    """Keep the typed arguments; the contexts of all subcommands share them."""
    context.meta[_KEY] = tuple(arguments)


def again(context: typer.Context) -> str:
    """Return the typed command, with the data root of the environment.

    Flags that only change the display are left out.
    """
    typed = [each for each in context.meta.get(_KEY, ()) if each not in _ONLY_SHOWS]
    root = context.params.get("data_root")
    if root is not None and "--data-root" not in {each.partition("=")[0] for each in typed}:
        typed += ["--data-root", str(root)]
    return shlex.join(["warminit", *typed])
