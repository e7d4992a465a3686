"""Patches, statistics and published rules become the weights of a model; every method by name.

`init_` applies a method, `methods` lists them. The families stand in rooms of their own: `stems`,
`prewarm`, `network` and `heads`.
"""

import difflib
from typing import Any

from torch import nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.registry import (
    DEFAULT_METHOD,
    METHODS,
    Initializer,
    Method,
    get_method,
    keywords,
    method_names,
    methods,
)
from warminit.renamed import METHODS_OF_0_1, PARAMETERS, in_new_names, takes_old_names
from warminit.report import InitReport

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "Initializer",
    "Method",
    "get_method",
    "init_",
    "keywords",
    "method_names",
    "methods",
]


@takes_old_names("arm")
def init_(
    model: nn.Module,
    images: Images,
    method: str = DEFAULT_METHOD,
    *,
    seed: int = 0,
    **parameters: Any,
) -> InitReport:
    """Initialize a model by any method, in place; without one, by the one that the search chose.

    Args:
        model: Any module that the method can use.
        images: (N, C, *size), one training batch as the model is fed, a tensor; or batches of them,
            such as a DataLoader.
        method: A name that `methods()` lists, or `module:function` of your own. The default,
            `whitening_small_head`, sets whitening filters in the first convolution and makes the
            last linear layer small, unless a normalization feeds it or its outputs are small.
        seed: Of the method's own generator.
        **parameters: Passed to the method; docs/initializers.md lists them.

    Returns:
        The method's report. What the default left undone, such as the head of a model that does not
        end in a linear layer, is in its notes.

    Raises:
        WarminitError: If there is no such method, or as the method raises.

    Example:
        >>> import torch
        >>> model = torch.nn.Conv2d(1, 8, 3)
        >>> images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> init_(model, images, "he-normal").filters_set
        8
        >>> init_(model, images).method
        'whitening-small-head'
    """
    chosen = get_method(method)
    check_seed(seed)
    if method in METHODS_OF_0_1:
        parameters = in_new_names(parameters, PARAMETERS, warn=True)
    names, any_other = keywords(chosen)
    if not any_other and (unknown := [name for name in parameters if name not in names]):
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise WarminitError(
            f"method {method!r} does not take {unknown[0]!r}. {hint}It takes: "
            f"{', '.join(sorted(names)) or 'no parameters'}."
        )
    return chosen(model, images, seed=int(seed), **parameters)
