"""arms: model, images -> model initialized in place, InitReport. Every initializer by name."""

import difflib
import importlib
import inspect
import typing
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.bodies.convcov import convcov
from warminit.initializers.bodies.dirac import dirac
from warminit.initializers.bodies.embed_scale import embed_scale
from warminit.initializers.bodies.impulse import impulse
from warminit.initializers.bodies.mimetic import mimetic
from warminit.initializers.bodies.sinusoidal import sinusoidal
from warminit.initializers.bodies.zero_residual import zero_residual
from warminit.initializers.heads.small_head import small_head, whitening_small_head
from warminit.initializers.network.krahenbuhl import krahenbuhl
from warminit.initializers.network.lsuv import lsuv
from warminit.initializers.network.published import (
    glorot,
    he_normal,
    he_uniform,
    orthogonal,
    torch_default,
)
from warminit.initializers.prewarm.ablations import prewarm
from warminit.initializers.prewarm.controls import (
    norm_matched_random,
    random_patches,
    shuffled_prewarm,
)
from warminit.initializers.stems.coates_ng import coates_ng
from warminit.initializers.stems.structure import dct, gabor
from warminit.initializers.stems.whitening import whiten_
from warminit.report import InitReport

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
    "dirac": dirac,
    "mimetic": mimetic,
    "impulse": impulse,
    "convcov": convcov,
    "zero-residual": zero_residual,
    "embed-scale": embed_scale,
    "sinusoidal": sinusoidal,
}


DEFAULT_ARM = "whitening-small-head"
"""What the search for a default chose; docs/evidence.md says on what grounds."""


def init_(
    model: nn.Module, images: Images, arm: str = DEFAULT_ARM, *, seed: int = 0, **parameters: Any
) -> InitReport:
    """Initialize a model by any arm, in place; without one, by the arm that the search chose.

    Args:
        model: Any module that the arm can use.
        images: (N, C, *size), one training batch as the model is fed, a tensor; or batches of them,
            such as a DataLoader.
        arm: A name of `ARMS`, or `module:function` of your own. The default,
            `whitening_small_head`, sets whitening filters in the first convolution and makes the
            last linear layer small, unless a normalization feeds it or its outputs are small.
        seed: Of the arm's own generator.
        **parameters: Passed to the arm; docs/initializers.md lists them.

    Returns:
        The arm's report. What the default left undone, such as the head of a model that does not
        end in a linear layer, is in its notes.

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
    chosen = get_arm(arm)
    check_seed(seed)
    names, any_other = keywords(chosen)
    if not any_other and (unknown := [name for name in parameters if name not in names]):
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise WarminitError(
            f"arm {arm!r} does not take {unknown[0]!r}. {hint}It takes: "
            f"{', '.join(sorted(names)) or 'no parameters'}."
        )
    return chosen(model, images, seed=int(seed), **parameters)


def get_arm(name: str) -> Arm:
    """Return an arm by its name: of `ARMS`, of an installed package, or `module:function`.

    A package offers arms of its own by the entry-point group `warminit.initializers`.

    Raises:
        WarminitError: If there is none; the text names the nearest.
    """
    if not isinstance(name, str):
        raise WarminitError(
            f"arm={name!r} is a {type(name).__name__}; a name is needed, such as {DEFAULT_ARM!r}."
        )
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


def keywords(arm: Callable[..., Any]) -> tuple[set[str], bool]:
    """Return the names of an arm's own keywords without `seed`, and whether it takes any other."""
    names, any_other = set(), False
    for each in inspect.signature(arm).parameters.values():
        if each.kind is each.KEYWORD_ONLY:
            names.add(each.name)
        elif each.kind is each.VAR_KEYWORD:
            # `**options: Unpack[Options]` lists what it takes, any other `**options` takes all.
            listed = typing.get_args(each.annotation)
            if typing.get_origin(each.annotation) is typing.Unpack:
                names |= set(typing.get_type_hints(listed[0]))
            else:
                any_other = True
    return names - {"seed"}, any_other


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
