"""Turn patches, statistics and published rules into the weights of a model.

`init_` applies one method or several by name; `methods` lists all names. Each family has its room:
`stems`, `prewarm`, `network`, `bodies`, `heads`.
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
    """Initialize a model in place, by default with the method for its architecture.

    Args:
        model: Any module that the method can use.
        images: Training images (N, C, *size), scaled as the model is fed: one batch as a tensor, or
            an iterable of batches like a DataLoader.
        method: Name from `methods()`, or your function as `module:function`. A list of names sets
            several parts of the model, in this order and with one seed. The default depends on the
            architecture (`initializers/default.py`). Today it is `whitening_small_head` for all. It
            sets whitening filters in the first convolution. It makes the last linear layer small,
            unless a normalization feeds that layer or its outputs are small.
        seed: Seed of the method's own generator.
        **parameters: Options of the method; docs/initializers.md lists them. With a list of
            methods, each option begins with its method's name: `zero_residual__value=0.2`. Only
            `mean`, `std` and `batches`, which describe the images, need no prefix.

    Returns:
        The method's report. For a list, `parts` holds one report per method. For the default,
        `parameters["default_for"]` names the row of the table. Notes say what was not set, for
        example the head of a model that does not end in a linear layer.

    Raises:
        WarminitError: If the method is unknown, if two methods of a list set the same part, or if a
            method fails. The model is then bit-identical to before, even if the last method of a
            list fails.

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
    """Choose the method from one image's pass, and apply it to the same survey."""
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
    """Join the names of several methods."""
    listed = isinstance(method, Sequence) and bool(method)
    if not (listed and all(isinstance(each, str) for each in method)):
        raise WarminitError(
            f"method={method!r}: expected a name, or a list of names. Pass for example "
            f"{DEFAULT_METHOD!r}."
        )
    return JOIN.join(method)
