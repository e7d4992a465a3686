"""names of 0.1 -> today's names: one table for keywords, study files, stores and run keys.

Functions accept the old keywords for one release, with a warning. Old study files, stores and
results stay readable. The key of a run keeps the names of 0.1.
"""

import functools
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from warminit.checks import outside
from warminit.errors import WarminitError

TODAY = {
    "arm": "method",
    "engine": "algorithm",
    "head": "head_scale",
    "layer": "layers",
    "n_clusters": "n_filters",
    "n_patches": "patches_per_image",
}
"""Keywords of 0.1 -> keywords of today."""

METHODS_OF_0_1 = frozenset(
    (
        "torch-default", "he-normal", "he-uniform", "glorot", "orthogonal", "prewarm",
        "norm-matched-random", "shuffled-prewarm", "random-patches", "whitening",
        "whitening-small-head", "small-head", "coates-ng", "krahenbuhl", "lsuv", "dct", "gabor",
    )
)  # fmt: skip
"""Methods that had keywords of `TODAY`; a user's own function keeps its names."""

COUNTED_FILTERS = frozenset(("whitening", "whitening-small-head"))
"""Methods that said `n_filters` in 0.1 already."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def takes_old_names(*names: str) -> Callable[[FunctionT], FunctionT]:
    """Let a function accept the keywords of 0.1, each with a DeprecationWarning.

    Args:
        *names: Keys of `TODAY`.
    """

    def decorate(function: FunctionT) -> FunctionT:
        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            if any(name in keywords for name in names):
                keywords = in_new_names(keywords, names, warn=True)
            return function(*args, **keywords)

        return call  # type: ignore[return-value]  # the same signature, and the old keywords

    return decorate


def in_new_names(
    keywords: Mapping[str, Any], names: Collection[str], *, warn: bool = False
) -> dict[str, Any]:
    """Rename the keywords in `names` to today's names.

    Raises:
        WarminitError: If one is given under both names.
    """
    result: dict[str, Any] = {}
    for name, value in keywords.items():
        new = TODAY[name] if name in names else name
        if new != name:
            if new in keywords:
                raise WarminitError(
                    f"{name}={value!r} and {new}={keywords[new]!r}: expected only one of the two, "
                    f"which mean the same. Leave {name} out."
                )
            if warn:
                text = f"{name}= is called {new}= since 0.2, and goes in 0.3. Pass {new}=."
                warnings.warn(text, DeprecationWarning, stacklevel=outside())
        result[new] = value
    return result


PARAMETERS = tuple(name for name in TODAY if name != "arm")
"""Names of 0.1 among the parameters of methods."""


def parameters_today(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's parameters under today's names; those of a user's function stay."""
    if method not in METHODS_OF_0_1:
        return dict(parameters)
    return in_new_names(parameters, PARAMETERS)


def parameters_in_keys(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's parameters under their names of 0.1, as the keys of runs have them.

    Example:
        >>> parameters_in_keys("prewarm", {"n_filters": 8, "patches_per_image": 22})
        {'n_clusters': 8, 'n_patches': 22}
        >>> parameters_in_keys("whitening", {"n_filters": 8, "layers": "conv1"})
        {'n_filters': 8, 'layer': 'conv1'}
    """
    if method not in METHODS_OF_0_1:
        names = {"patches_per_image": "n_patches", "algorithm": "engine"}  # of the plan, not theirs
    else:
        names = {new: old for old, new in TODAY.items() if old != "arm"}
        if method in COUNTED_FILTERS:
            del names["n_filters"]
        if not isinstance(parameters.get("layers"), str):
            del names["layers"]
    return {names.get(name, name): value for name, value in parameters.items()}


def in_names_of(names: Collection[str], derived: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's derived values by the names that a function uses, old or new.

    Args:
        names: Keywords of the function.
        derived: Values by today's names.
    """
    result = dict(derived)
    for old, new in TODAY.items():
        if new in result and old in names and new not in names:
            result[old] = result.pop(new)
            warnings.warn(
                f"{old}= of your function is called {new}= since 0.2, and is passed until 0.3. "
                f"Rename it to {new}.",
                DeprecationWarning,
                stacklevel=outside(),
            )
    return result
