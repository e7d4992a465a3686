"""arms: model, images -> model initialized in place, InitReport. Every initializer by name."""

import difflib
import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from warminit.batch import Images
from warminit.errors import WarminitError
from warminit.init_report import InitReport
from warminit.initializers.ablations import prewarm
from warminit.initializers.coates_ng import coates_ng
from warminit.initializers.controls import norm_matched_random, random_patches, shuffled_prewarm
from warminit.initializers.krahenbuhl import krahenbuhl
from warminit.initializers.lsuv import lsuv
from warminit.initializers.published import (
    glorot,
    he_normal,
    he_uniform,
    orthogonal,
    torch_default,
)
from warminit.initializers.small_head import small_head, whitening_small_head
from warminit.initializers.structure import dct, gabor
from warminit.whitening import whiten_

Arm = Callable[..., InitReport]
"""(model, images, *, seed, **parameters) -> InitReport."""

ENTRY_POINTS = "warminit.initializers"
"""Entry-point group by which an installed package adds arms."""

ARMS: dict[str, Arm] = {
    "torch-default": torch_default,
    "he-normal": he_normal,
    "he-uniform": he_uniform,
    "glorot": glorot,
    "orthogonal": orthogonal,
    "prewarm": prewarm,
    "norm-matched-random": norm_matched_random,
    "shuffled-prewarm": shuffled_prewarm,
    "random-patches": random_patches,
    "whitening": whiten_,
    "whitening-small-head": whitening_small_head,
    "small-head": small_head,
    "coates-ng": coates_ng,
    "krahenbuhl": krahenbuhl,
    "lsuv": lsuv,
    "dct": dct,
    "gabor": gabor,
}


DEFAULT_ARM = "whitening-small-head"
"""What the search for a default chose; docs/choose.md says on what evidence."""


def init_(
    model: nn.Module, images: Images, arm: str = DEFAULT_ARM, *, seed: int = 0, **parameters: Any
) -> InitReport:
    """Initialize a model by any arm, in place; without one, by the arm that the search chose.

    Args:
        model: Any module that the arm can use.
        images: (N, C, H, W), one training batch as the model is fed.
        arm: A name of `ARMS`, or `module:function` of your own. The default sets whitening filters
            in the first convolution and makes the last linear layer small.
        seed: Of the arm's own generator.
        **parameters: Passed to the arm.

    Returns:
        The arm's report.

    Raises:
        WarminitError: If there is no such arm, or as the arm raises.

    Example:
        >>> import torch
        >>> model = torch.nn.Conv2d(1, 8, 3)
        >>> images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> init_(model, images, "he-normal").filters_set
        8
        >>> init_(model, images).arm
        'whitening-small-head'
    """
    return get_arm(arm)(model, images, seed=seed, **parameters)


def get_arm(name: str) -> Arm:
    """Return an arm by its name: of `ARMS`, of an installed package, or `module:function`.

    A package offers arms of its own by the entry-point group `warminit.initializers`.

    Raises:
        WarminitError: If there is none; the text names the nearest.
    """
    if name in ARMS:
        return ARMS[name]
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if name in installed or ":" in name:
        return _import_arm(name, installed.get(name, name))
    near = difflib.get_close_matches(name, [*ARMS, *installed], n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise WarminitError(
        f"arm={name!r} is unknown. {hint}There are: {', '.join(arm_names())}; your own is named "
        "module:function."
    )


def arm_names() -> tuple[str, ...]:
    """Return the names of all arms: those of `ARMS`, then those of installed packages."""
    installed = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
    return (*ARMS, *(name for name in installed if name not in ARMS))


def describe_arm(name: str) -> str:
    """Return the first line of an arm's docstring: what it does, and whose algorithm it is."""
    lines = (inspect.getdoc(get_arm(name)) or "").splitlines()
    return lines[0] if lines else ""


def _import_arm(name: str, target: str) -> Arm:
    module_name, _, function_name = target.partition(":")
    try:
        arm = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise WarminitError(
            f"arm={name!r} cannot be imported: {error}. Name a function that can be imported from "
            "here, as module:function."
        ) from error
    if not callable(arm):
        raise WarminitError(
            f"arm={name!r} is a {type(arm).__name__}; a function (model, images, *, seed, "
            "**parameters) -> InitReport is needed."
        )
    result: Arm = arm
    return result
