"""the command `warminit`: arguments -> laboratory -> terminal and files.

Each group of commands has one module; `execution.py` runs a study for all of them. Imports happen
when a command is called, so `warminit --help` does not load torch or pandas.
"""

import difflib
import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from warminit.cli import (
    across,
    banks,
    exporting,
    listings,
    looking,
    page,
    reproduce,
    studies,
    trying,
)
from warminit.cli.placing import remember
from warminit.errors import WarminitError, WarminitWarning

EXIT_CODES = (
    "Exit codes: 0 success; 1 a run or warminit failed; 2 invalid input; 130 interrupted "
    "(Ctrl-C), and the same command continues."
)


class _Group(TyperGroup):
    """Turn every expected error into one line on standard error and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # A terminal that tells no width says 0, and Rich would print that many columns: none.
        if os.environ.get("COLUMNS", "").strip("0") == "":
            os.environ.pop("COLUMNS", None)
        # `--debug` may stand anywhere, also after the command, where one adds it to a line.
        if "--debug" in args:
            args = ["--debug", *(each for each in args if each != "--debug")]
        remember(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        debug = bool(ctx.params.get("debug"))
        with warnings.catch_warnings():
            _show_warnings_plainly()
            try:
                return super().invoke(ctx)
            except WarminitError as error:
                raise _ended(f"warminit: {error}", 2, debug) from error
            except KeyboardInterrupt as error:
                raise _ended("warminit: interrupted", 130, debug) from error
            except Exception as error:
                # The framework's own: usage errors and exits carry their code.
                own = hasattr(error, "exit_code") or isinstance(error, typer.Abort)
                if own or isinstance(error, BrokenPipeError):
                    _name_the_nearest(error)
                    raise
                text = f"warminit failed: {type(error).__name__}: {error}"
                advice = "" if debug else "\nAdd --debug to see where."
                raise _ended(text + advice, 1, debug) from error


def _name_the_nearest(error: Any) -> None:
    """Suggest only the nearest option for a wrong one."""
    possible = getattr(error, "possibilities", None)
    if possible and hasattr(error, "option_name"):
        near = difflib.get_close_matches(error.option_name, possible, n=1)
        error.message += f". Did you mean {(near or sorted(possible))[0]!r}?"
        error.possibilities = None


def _ended(text: str, code: int, debug: bool) -> typer.Exit:
    if debug:
        traceback.print_exc()
    typer.echo(text, err=True)
    return typer.Exit(code)


def _show_warnings_plainly() -> None:
    """Print the package's warnings without a line of code."""
    usual = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **options: Any) -> None:
        if issubclass(category, WarminitWarning):
            typer.echo(f"warminit: warning: {message}", err=True)
        else:
            usual(message, category, *where, **options)

    warnings.showwarning = show


app = typer.Typer(
    name="warminit",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"warminit {package_version('warminit')}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def _warminit(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", show_default="off")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and end.",
            show_default="off",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    """Initialize a vision network from its training images, and measure whether that helps."""


def _add(command: Callable[..., None], *examples: str, name: str | None = None) -> None:
    """Register a command; its help is its docstring, with one line per example."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    app.command(
        name=name,
        help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        epilog="\n\n".join(["Examples:", *(f"  {line}" for line in examples)]),
    )(command)


_add(
    trying.try_,
    "warminit try my_project.networks:small --images my-images/ --resize 32",
    "warminit try resnet20 --images cifar10 --steps 500 --max-seeds 8",
    name="try",
)
_add(
    studies.compare,
    "warminit compare",
    "warminit compare --datasets fashion-mnist --steps 5000 --batch-size 256",
    "warminit compare --until-decided --max-seeds 12",
    "warminit compare --models resnet20 --optimizer adamw --lr 0.002 --warmup 20",
)
_add(
    studies.run,
    "warminit run table3 --dry-run",
    "warminit run control --steps 1000 --seeds 4",
    "warminit run my-study.toml --out results/mine",
)
_add(
    reproduce.reproduce,
    "warminit reproduce table1",
    "warminit reproduce table3 --datasets mnist,fashion-mnist --seeds 2 --steps 300",
    "warminit reproduce grid --dry-run",
)
_add(
    exporting.export,
    "warminit export warminit-results/compare --format csv",
    "warminit export warminit-results/table3 --format latex --out table3.tex",
)
_add(
    page.report,
    "warminit report warminit-results/compare --open",
    "warminit report table3 --data-root /data/hub",
)
_add(
    across.across,
    "warminit across warminit-results/cifar10 warminit-results/svhn",
    "warminit across docs/results/robustness-* --figure profile.svg",
)
_add(
    listings.rules,
    "warminit rules",
    "warminit rules --datasets mnist,cifar10 --json",
    "warminit rules --datasets my-images/ --resize 32",
)
_add(
    looking.diagnose,
    "warminit diagnose",
    "warminit diagnose --datasets cifar10 --arms he-normal,dct --models resnet20",
)
_add(
    banks.filters,
    "warminit filters fashion-mini",
    "warminit filters cifar10 --arm whitening --kernel-size 5",
    "warminit filters my-images/ --resize 32 --out bank.safetensors",
)
_add(listings.arms, "warminit arms", "warminit arms --json")
_add(listings.models, "warminit models", "warminit models --json")
_add(listings.datasets, "warminit datasets", "warminit datasets --data-root /data/hub --json")


def main() -> None:
    """Run the command; `module:function` is also found in the current folder."""
    # Last: a file of that folder, which may hold someone's data, never stands in for a package.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    app()
