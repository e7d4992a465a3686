"""trainer or framework, its batch -> an initialized model. Each integration requires an extra."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from warminit.checks import outside
from warminit.errors import WarminitError


@contextmanager
def needs(library: str, extra: str) -> Iterator[None]:
    """Turn an ImportError inside into an error that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise WarminitError(
            f"{library} cannot be imported: {error}. Install it with "
            f'`pip install "warminit[{extra}]"`.'
        ) from error


def old_name(old: str, new: str) -> None:
    """Warn about an adapter of 0.1, which had Pre-Warm as its default method."""
    warnings.warn(
        f"{old} is called {new} since 0.2, and goes in 0.3. {new} has the default method of "
        f"`init_`; pass method='prewarm' for that of {old}.",
        DeprecationWarning,
        stacklevel=outside(),
    )
