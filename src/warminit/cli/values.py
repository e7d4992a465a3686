"""texts of the command line -> values: a path, a number of seeds or a list of seeds."""

import typer


def seeds(given: str | int | list[int]) -> int | list[int]:
    """Return a number of seeds, or a list of seeds if there is a comma.

    Example:
        >>> seeds("8"), seeds("1,2,3"), seeds("42,")
        (8, [1, 2, 3], [42])
    """
    if not isinstance(given, str):
        return given  # a default
    parts = [part.strip() for part in given.split(",") if part.strip()]
    numbers = [int(part) for part in parts if part.isdecimal()]
    several = "," in given
    if not parts or len(numbers) < len(parts) or not (several or numbers[0]):
        raise typer.BadParameter(
            f"{given!r}: expected a number like 8, or seeds like 1,2,3. Pass one of them."
        )
    return numbers if several else numbers[0]
