"""name -> method, its requirements, and the part of a model that it sets."""

import importlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import Any

from warminit.errors import WarminitError, did_you_mean
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
from warminit.initializers.network.variance_rules import (
    glorot,
    he_normal,
    he_uniform,
    orthogonal,
    torch_default,
)
from warminit.initializers.prewarm.controls import (
    norm_matched_random,
    random_patches,
    shuffled_prewarm,
)
from warminit.initializers.prewarm.method import prewarm_
from warminit.initializers.stems.coates_ng import coates_ng
from warminit.initializers.stems.structure import dct, gabor
from warminit.initializers.stems.whitening import whiten_
from warminit.layout import Layout, Tabled
from warminit.report import InitReport

Initializer = Callable[..., InitReport]
"""(model, images, *, seed, **parameters) -> InitReport."""

ENTRY_POINTS = "warminit.initializers"
"""Entry-point group by which an installed package adds methods."""

DEFAULT_METHOD = "whitening-small-head"
"""Method that the search for a default chose; docs/results/evidence.md has the reasons."""

METHODS: dict[str, Initializer] = {
    "torch-default": torch_default,
    "he-normal": he_normal,
    "he-uniform": he_uniform,
    "glorot": glorot,
    "orthogonal": orthogonal,
    "prewarm": prewarm_,
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

_STEM = ("stem", ("convolution", "images"))
_SETS_AND_NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(METHODS, _STEM),
    **dict.fromkeys(
        ("torch-default", "he-normal", "he-uniform", "glorot", "orthogonal"),
        ("stem", ("convolution",)),
    ),
    "whitening-small-head": ("stem, head", ("convolution", "images")),
    "small-head": ("head", ("linear head", "images")),
    "gabor": ("stem", ("2-D convolution", "images")),
    "krahenbuhl": ("every layer", ("convolution", "images")),
    "lsuv": ("every layer", ("convolution", "images")),
    "dirac": ("convolutions", ("convolution", "images")),
    "mimetic": ("attention", ("attention", "images")),
    "impulse": ("attention", ("attention", "images")),
    "convcov": ("convolutions", ("depthwise convolution", "images")),
    "zero-residual": ("residual branches", ("residual blocks", "images")),
    "embed-scale": ("stem", ("convolution", "images")),
    "sinusoidal": ("every layer", ()),
}


@dataclass(frozen=True, slots=True)
class Method:
    """Describe a method: its name, requirements and the part of a model that it sets.

    Attributes:
        name: Name for `init_`.
        sets: Part that it sets by default: "stem", "convolutions" (those after the first),
            "attention", "residual branches" (the last layer of each), "head", "stem, head" or
            "every layer"; "" if an installed package does not say. Methods for different parts can
            be applied together.
        needs: Requirements on the model ("convolution", "attention", "linear head"), and "images"
            if it reads them.
        summary: First line of its docstring.
    """

    name: str
    sets: str
    needs: tuple[str, ...]
    summary: str


class Methods(Tabled, tuple[Method, ...]):
    """Hold all methods; prints as a table."""

    __slots__ = ()
    __repr__ = Tabled.__str__

    def tables(self) -> list[Layout]:
        """Return one table, a row a method."""
        rows = [(each.name, each.sets, ", ".join(each.needs), each.summary) for each in self]
        return [Layout("", rows, [field.name for field in fields(Method)])]


def methods() -> Methods:
    """List the methods of `init_` with their requirements and the parts that they set.

    Returns:
        A tuple of `Method`s that prints as a table; methods of installed packages are last.

    Example:
        >>> [each.name for each in methods() if "images" not in each.needs]
        ['torch-default', 'he-normal', 'he-uniform', 'glorot', 'orthogonal', 'sinusoidal']
    """
    return Methods(
        Method(name, *_SETS_AND_NEEDS.get(name, ("", ())), _summary(name))
        for name in method_names()
    )


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a model that a method sets, or none if it does not say."""
    sets, _ = _SETS_AND_NEEDS.get(name, ("", ()))
    return tuple(filter(None, sets.split(", ")))


def get_single_method(name: str) -> Initializer:
    """Return a method by its name in `METHODS` or an installed package, or by `module:function`.

    Raises:
        WarminitError: If the name is unknown; the text suggests the nearest.
    """
    if not isinstance(name, str):
        raise WarminitError(
            f"method={name!r} is a {type(name).__name__}: expected a name, for example "
            f"{DEFAULT_METHOD!r}."
        )
    if name in METHODS:
        return METHODS[name]
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if name in installed or ":" in name:
        return _import_method(name, installed.get(name, name))
    near = f" {did_you_mean(name, method_names())}".rstrip()
    raise WarminitError(
        f"method={name!r} is unknown.{near} There are: {', '.join(method_names())}; your own is "
        "named module:function."
    )


def keywords_of(method: Callable[..., Any]) -> tuple[set[str], bool]:
    """Return the names of a method's keywords without `seed`, and whether it accepts any other."""
    names, any_other = set(), False
    for each in inspect.signature(method).parameters.values():
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


def method_names() -> tuple[str, ...]:
    """Return the names of all methods, with installed packages last."""
    installed = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
    return (*METHODS, *(name for name in installed if name not in METHODS))


def _summary(name: str) -> str:
    """Return the first line of a method's docstring."""
    lines = (inspect.getdoc(get_single_method(name)) or "").splitlines()
    return lines[0] if lines else ""


def _import_method(name: str, target: str) -> Initializer:
    module_name, _, function_name = target.partition(":")
    try:
        method = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise WarminitError(
            f"method={name!r} cannot be imported: {error}. Pass an importable function as "
            "module:function."
        ) from error
    if not callable(method):
        raise WarminitError(
            f"method={name!r} is a {type(method).__name__}: expected a function (model, images, *, "
            "seed, **parameters) -> InitReport."
        )
    result: Initializer = method
    return result
