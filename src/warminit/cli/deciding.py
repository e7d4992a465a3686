"""the options of `warminit compare` that end it early -> keywords of its study."""

from typing import Annotated, Any

import typer

from warminit.errors import unexpected

SEEDS = 8

UntilDecided = Annotated[
    bool,
    typer.Option(
        "--until-decided",
        help="Run seeds until every comparison is decided.",
        show_default="off",
    ),
]
MaxSeeds = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=100,
        metavar="N",
        help="Maximum number of seeds until it is decided.",
        show_default="18",
    ),
]


def seeds_of(seeds: Any, max_seeds: int | None, *, until_decided: bool) -> dict[str, Any]:
    """Return the study's seeds and its key `sequential`.

    A number of seeds is the maximum of a sequential study; listed ones are its first.

    Raises:
        WarminitError: For a maximum of a fixed study.

    Example:
        >>> seeds_of(None, 12, until_decided=True)
        {'sequential': {'max_seeds': 12}}
    """
    given = {} if seeds is None else {"seeds": seeds}
    if until_decided:
        return {"sequential": {} if max_seeds is None else {"max_seeds": max_seeds}} | given
    if max_seeds is not None:
        step = "Add --until-decided, or give --seeds."
        raise unexpected("--max-seeds", max_seeds, "--until-decided beside it", step)
    return {"seeds": SEEDS} | given
