"""Flax layer or parameters, images (N, H, W, C) -> kernel with first filters from the images.

There are two entry points. A tree of parameters has no layers, so paths and shapes must show the
right kernel.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from warminit.errors import WarminitError
from warminit.initializers import DEFAULT_METHOD
from warminit.integrations import needs, old_name
from warminit.integrations.kernels import condition_kernel, conditioned_filters
from warminit.renamed import takes_old_names
from warminit.report import InitReport

with needs("Flax", "flax"):
    import jax
    import jax.numpy as jnp

Initializer = Callable[..., Any]
"""(key, shape, dtype) -> kernel (*K, C, F)."""


def warm_kernel_init(
    images: ArrayLike,
    method: str = DEFAULT_METHOD,
    *,
    base: Initializer | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Initializer:
    """Make a `kernel_init` that draws the first filters from images and the rest by `base`.

    Args:
        images: Training images (N, *size, C), scaled as the model is fed.
        method: Name from `methods()`; only the stem is set.
        base: Initializer of the other filters; Flax's own default, `lecun_normal()`.
        seed: Seed of the method's own generator; the key is `base`'s alone.
        **parameters: Options of the method: `mean` and `std` of standardized images, and others.

    Returns:
        A function (key, shape, dtype) for `flax.nnx` and `flax.linen`, also under `jax.jit`. It
        raises WarminitError if the method fails, or if the kernel does not fit the images.
    """
    rest = jax.nn.initializers.lecun_normal() if base is None else base

    def init(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32, **options: Any) -> Any:
        filters = conditioned_filters(tuple(shape), images, method, seed=seed, **parameters)
        others = rest(key, shape, dtype, **options)[..., filters.shape[-1] :]
        return jnp.concatenate([jnp.asarray(filters, dtype), others], axis=-1)

    return init


def prewarm_init(images: ArrayLike, arm: str = "prewarm", **options: Any) -> Initializer:
    """Call `warm_kernel_init` by its name of 0.1, with the default method of 0.1."""
    old_name("prewarm_init", "warm_kernel_init")
    return warm_kernel_init(images, arm, **options)


def prewarm(
    params: Any, images: ArrayLike, arm: str = "prewarm", **options: Any
) -> tuple[Any, InitReport]:
    """Call `warm_init` by its name of 0.1, with the default method of 0.1."""
    old_name("prewarm", "warm_init")
    return warm_init(params, images, arm, **options)


@takes_old_names("layer")
def warm_init(
    params: Any,
    images: ArrayLike,
    method: str = DEFAULT_METHOD,
    *,
    layers: str | None = None,
    dilation: int | tuple[int, ...] = 1,
    seed: int = 0,
    **parameters: Any,
) -> tuple[Any, InitReport]:
    """Return a copy of a parameter tree with its input layer conditioned.

    Args:
        params: Parameters of `flax.linen`, or a state of `flax.nnx`: kernels (*K, C / groups, F).
        images: Training images (N, *size, C), scaled as the model is fed.
        method: Name from `methods()`; only the stem is set.
        layers: Dotted name of the layer, or an unambiguous part of it. By default the only layer
            whose kernel fits the images' channels.
        dilation: Dilation of the layer, which a tree does not show.
        seed: Seed of the method's own generator.
        **parameters: Options of the method: `mean` and `std` of standardized images, and others.

    Returns:
        The new tree, in which one leaf differs, and the method's report. The filters equal those of
        torch for the same images.

    Raises:
        WarminitError: For any invalid input.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(params)
    leaves = [leaf for _, leaf in paths]
    names = [_name(path) for path, _ in paths]
    index = _find(names, leaves, np.shape(images), layers)
    kernel, report = condition_kernel(
        np.asarray(leaves[index]).astype(np.float32),
        images,
        method,
        groups=max(1, np.shape(images)[-1] // leaves[index].shape[-2]),
        dilation=dilation,
        seed=seed,
        **parameters,
    )
    leaves[index] = jnp.asarray(kernel, leaves[index].dtype)
    how = "given by name" if layers else "the only kernel that fits the images' channels"
    report = replace(report, layer=names[index].removesuffix(".kernel"), found=how)
    return jax.tree_util.tree_unflatten(structure, leaves), report


def _name(path: Any) -> str:
    # A state of nnx has a variable around each array, whose only child is called value.
    name: str = jax.tree_util.keystr(path, simple=True, separator=".")
    return name.removesuffix(".value")


def _find(names: list[str], leaves: list[Any], images: tuple[int, ...], layer: str | None) -> int:
    kernels = [
        index
        for index, (name, leaf) in enumerate(zip(names, leaves, strict=True))
        if f".{name}".endswith(".kernel") and leaf.ndim == len(images) >= 3
    ]
    found = [
        index
        for index in kernels
        if (
            f".{names[index]}".endswith(f".{layer}.kernel")
            if layer
            else leaves[index].shape[-2] == images[-1]
        )
    ]
    if len(found) != 1:
        there = ", ".join(f"{names[i]} {leaves[i].shape}" for i in found or kernels) or "none"
        raise WarminitError(
            f"layers={layer!r} with images {images} leads to {len(found)} kernels: expected "
            f"exactly one. There are: {there}. Pass images (N, *size, C), or name the layer with "
            "layers=."
        )
    return found[0]
