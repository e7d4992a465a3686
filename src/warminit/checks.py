"""a count, a seed or a kernel size -> checked, or one clear error."""

import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from warminit.errors import WarminitError


def as_kernel_size(
    kernel_size: int | tuple[int, ...], dims: int | None = None, name: str = "kernel_size"
) -> tuple[int, ...]:
    """Return a kernel size as a tuple; a single number is repeated `dims` times (default 2)."""
    sizes: tuple[Any, ...] = (
        tuple(kernel_size)
        if isinstance(kernel_size, tuple | list)
        else (kernel_size,) * (dims or 2)
    )
    dims = dims or len(sizes)
    if len(sizes) != dims or not 1 <= dims <= 3 or not all(map(_is_size, sizes)):
        raise WarminitError(
            f"{name}={kernel_size!r}: expected one whole number of at least 1, or {dims} of them. "
            "Pass the layer's kernel_size."
        )
    return tuple(int(size) for size in sizes)


def _is_size(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def check_count(name: str, value: int) -> int:
    """Check that a count is a whole number of at least 1, and return it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise WarminitError(
            f"{name}={value!r}: expected a whole number of at least 1. Leave it out to derive it."
        )
    return int(value)


def check_seed(seed: int) -> None:
    """Raise unless torch, NumPy and scikit-learn all accept a seed."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise WarminitError(
            f"seed={seed!r}: expected a whole number from 0 to 2**32 - 1, since NumPy and "
            "scikit-learn accept no others. Choose another seed."
        )


def count_positions(
    images: Tensor,
    patch_size: tuple[int, ...],
    dilation: tuple[int, ...] = (),
    instead: str = "name a layer of a smaller kernel with layers=",
) -> int:
    """Count the positions of a (dilated) patch in an image: at least 1, or an error."""
    size = tuple(images.shape[2:])
    steps = dilation or (1,) * len(size)
    covered = [step * (k - 1) + 1 for k, step in zip(patch_size, steps, strict=True)]
    if any(cover > extent for cover, extent in zip(covered, size, strict=True)):
        raise WarminitError(
            f"patches of {_times(covered)} do not fit images of {_times(size)}: expected a patch "
            f"no larger than the image. Use larger images, or {instead}."
        )
    return math.prod(extent - cover + 1 for cover, extent in zip(covered, size, strict=True))


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)


def outside() -> int:
    """Return the `stacklevel` of the code that called into this package."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads every source file
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] == "warminit":
        level, frame = level + 1, frame.f_back
    return level


def check_keywords(function: str, given: Iterable[str], options: Any) -> None:
    """Raise TypeError, as Python does, for a keyword that a TypedDict does not have.

    Args:
        function: Name of the function.
        given: Remaining keywords.
        options: TypedDict of the accepted keywords.
    """
    known = sorted(options.__annotations__)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its options: {', '.join(known)}"
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}; {hint}")
