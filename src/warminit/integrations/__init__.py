"""trainer or framework, its own batch -> a model that starts from it. Each needs an extra."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from warminit.checks import outside
from warminit.errors import WarminitError


@contextmanager
def needs(library: str, extra: str) -> Iterator[None]:
    """Import what is inside, or say which extra brings it."""
    try:
        yield
    except ImportError as error:
        raise WarminitError(
            f"{library} cannot be imported: {error}. Install it with "
            f'`pip install "warminit[{extra}]"`.'
        ) from error


def old_name(old: str, new: str) -> None:
    """Warn that an adapter of 0.1 is used, whose default method was Pre-Warm."""
    warnings.warn(
        f"{old} is called {new} since 0.2, and goes in 0.3. {new} has the default method of "
        f"`init_`; pass method='prewarm' for that of {old}.",
        DeprecationWarning,
        stacklevel=outside(),
    )
