"""a command's context -> the line that gives the same results again, to be typed or copied."""

import shlex

import typer

_KEY = "warminit.arguments"

_ONLY_SHOWS = {"--debug", "--json", "--quiet", "-q"}
"""Flags that change what is shown and nothing of the results."""


def remember(context: typer.Context, arguments: list[str]) -> None:
    """Keep the arguments as they were typed; the context of every command below shares them."""
    context.meta[_KEY] = tuple(arguments)


def again(context: typer.Context) -> str:
    """Return the command as it was typed, with the data root that the environment gave.

    Flags that only change what is shown are left out.
    """
    typed = [each for each in context.meta.get(_KEY, ()) if each not in _ONLY_SHOWS]
    root = context.params.get("data_root")
    if root is not None and "--data-root" not in {each.partition("=")[0] for each in typed}:
        typed += ["--data-root", str(root)]
    return shlex.join(["warminit", *typed])
