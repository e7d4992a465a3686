"""a command that takes a Place -> the same command with the options of a Place in its own face.

The Place knows the line that gives the same results again, to be typed or copied.
"""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, get_origin

import typer

from warminit.cli.execution import Place

_KEY = "warminit.arguments"

_ONLY_SHOWS = {"--debug", "--json", "--quiet", "-q"}
"""Flags that change what is shown and nothing of the results."""


def placed(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a command's options of where and how: the fields of `Place`, in its `place`'s stead.

    Args:
        *without: Fields that the command leaves at their defaults.
    """
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=each.type)
        for each in fields(Place)
        if each.name not in without and get_origin(each.type) is Annotated
    ]

    def declared(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        shown = [inspect.Parameter("context", keyword, annotation=typer.Context)]
        for each in signature.parameters.values():
            shown += own if each.name == "place" else [each]

        @wraps(command)
        def with_place(*, context: typer.Context, **given: Any) -> None:
            chosen = {each.name: given.pop(each.name) for each in own}
            command(place=Place(**chosen, command=again(context)), **given)

        with_place.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]  # functions take it; typer reads it
        with_place.__annotations__ = {each.name: each.annotation for each in shown}
        return with_place

    return declared


def remember(context: typer.Context, arguments: list[str]) -> None:
    """Keep the typed arguments; the context of every command below shares them."""
    context.meta[_KEY] = tuple(arguments)


def again(context: typer.Context) -> str:
    """Return the typed command, with the data root that the environment gave.

    Flags that only change what is shown are left out.
    """
    typed = [each for each in context.meta.get(_KEY, ()) if each not in _ONLY_SHOWS]
    root = context.params.get("data_root")
    if root is not None and "--data-root" not in {each.partition("=")[0] for each in typed}:
        typed += ["--data-root", str(root)]
    return shlex.join(["warminit", *typed])
