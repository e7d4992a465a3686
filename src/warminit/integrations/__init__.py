"""trainer or framework, its own batch -> a model that starts from it. Each needs an extra."""

from collections.abc import Iterator
from contextlib import contextmanager

from warminit.errors import WarminitError


@contextmanager
def needs(library: str, extra: str) -> Iterator[None]:
    """Import what is inside, or say which extra brings it."""
    try:
        yield
    except ImportError as error:
        raise WarminitError(
            f"{library} is needed here and cannot be imported: {error}. Install it with "
            f'`pip install "warminit[{extra}]"`.'
        ) from error
