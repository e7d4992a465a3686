"""Patches, statistics and published rules become the weights of a model; every method by name.

`init_` applies a method or several, `methods` lists them. The families stand in rooms of their own:
`stems`, `prewarm`, `network`, `bodies` and `heads`.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from warminit.checks import check_seed
from warminit.errors import WarminitError, did_you_mean
from warminit.images.source import Images
from warminit.initializers.compose import JOIN, get_method, keywords, taken_by
from warminit.initializers.default import default_for
from warminit.initializers.registry import (
    DEFAULT_METHOD,
    METHODS,
    Initializer,
    Method,
    method_names,
    methods,
)
from warminit.initializers.stems.subject import Subject
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
    "taken_by",
]


@takes_old_names("arm")
def init_(
    model: nn.Module,
    images: Images,
    method: str | Sequence[str] | None = None,
    *,
    seed: int = 0,
    **parameters: Any,
) -> InitReport:
    """Initialize a model in place by any method or several; without one, as suits the architecture.

    Args:
        model: Any module that the method can use.
        images: (N, C, *size), one training batch as the model is fed, a tensor; or batches of them,
            such as a DataLoader.
        method: A name that `methods()` lists, or `module:function` of your own; or a list of names
            for different parts of the model, applied in this order with one seed. By default what
            `initializers/default.py` has for the architecture that one image shows. Today that is
            `whitening_small_head` for all: it sets whitening filters in the first convolution and
            makes the last linear layer small, unless a normalization feeds it or its outputs are
            small.
        seed: Of the method's own generator.
        **parameters: Passed to the method; docs/initializers.md lists them. Of a list each option
            begins with its method's name, `zero_residual__value=0.2`, but for `mean`, `std` and
            `batches`, which are about the images.

    Returns:
        The method's report; of a list one report, whose `parts` are those of the methods. That of
        the default has the row of the table in `parameters["default_for"]`, and in its notes what
        was left undone, such as the head of a model that does not end in a linear layer.

    Raises:
        WarminitError: If there is no such method, two of a list set the same part, or as a method
            raises; the model is then bit-identical to before, also where the last of a list fails.

    Example:
        >>> import torch
        >>> model = torch.nn.Conv2d(1, 8, 3)
        >>> images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> init_(model, images, "he-normal").filters_set
        8
        >>> report = init_(model, images)
        >>> report.method, report.parameters["default_for"]
        ('whitening-small-head', 'plain, not normalized')
        >>> model = torch.nn.Sequential(model, torch.nn.Conv2d(8, 8, 3))
        >>> init_(model, images, ["he-normal", "dirac"]).layer
        '0, 1'
    """
    if method is None:
        return _default(model, images, seed, parameters)
    method = method if isinstance(method, str) else _joined(method)
    return _apply(method, model, images, seed, parameters)


def _apply(
    method: str, model: nn.Module, images: Images | Subject, seed: int, parameters: dict[str, Any]
) -> InitReport:
    chosen = get_method(method)
    check_seed(seed)
    if method in METHODS_OF_0_1:
        parameters = in_new_names(parameters, PARAMETERS, warn=True)
    names, any_other = keywords(chosen)
    if not any_other and (unknown := [name for name in parameters if name not in names]):
        near = f" {did_you_mean(unknown[0], names)}".rstrip()
        raise WarminitError(
            f"method {method!r} does not take {unknown[0]!r}.{near} It takes: "
            f"{', '.join(sorted(names)) or 'no parameters'}."
        )
    return chosen(model, images, seed=int(seed), **parameters)


def _default(model: nn.Module, images: Images, seed: int, parameters: dict[str, Any]) -> InitReport:
    """Choose the method by what one image shows, and apply it to the same survey."""
    started = time.perf_counter()
    check_seed(seed)
    parameters = in_new_names(parameters, PARAMETERS, warn=True)
    subject = Subject(
        model,
        images,
        parameters.pop("batches", None),
        mean=parameters.get("mean"),
        std=parameters.get("std"),
        operations=True,
    )
    row = default_for(subject, parameters.get("layers"))
    report = _apply(row.method, model, subject, seed, parameters)
    evidence = f"compared in docs/results/{row.evidence}" if row.evidence else "not compared yet"
    return replace(
        report,
        parameters={**report.parameters, "default_for": row.architecture},
        provenance={**report.provenance, "default_for": evidence},
        seconds=time.perf_counter() - started,
    )


def _joined(method: Any) -> str:
    """Return the names of several methods as one."""
    listed = isinstance(method, Sequence) and bool(method)
    if not (listed and all(isinstance(each, str) for each in method)):
        raise WarminitError(
            f"method={method!r}: expected a name, or a list of names. Pass one such as "
            f"{DEFAULT_METHOD!r}."
        )
    return JOIN.join(method)
