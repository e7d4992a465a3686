"""model, images, a way to make filters -> model conditioned in place, InitReport."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from torch import Tensor, nn

from warminit.errors import WarminitError, WarminitWarning
from warminit.filters import NAMED_SCALES, Scale
from warminit.images import as_model_input, check_images, standardization
from warminit.init_report import InitReport
from warminit.layers import find_layer, looks_trained, write_filters_
from warminit.rules import (
    Hyperparameters,
    as_kernel_size,
    check_count,
    check_seed,
    count_positions,
    derive_rules,
)

Statistics = Sequence[float] | float | Tensor | None

MakeFilters = Callable[[Tensor, Hyperparameters, tuple[int, ...], int], Tensor]
"""(images as the model is fed, hyperparameters, kernel_size, seed) -> filters (n, C, *K)."""


class RuleOptions(TypedDict, total=False):
    """What a caller may give in place of the derived rules; `prewarm_` documents each."""

    n_clusters: int | None
    n_patches: int | None
    scale: Scale | None
    patch_size: int | tuple[int, ...] | None
    mean: Statistics
    std: Statistics
    raw_images: Tensor | None


def condition_(
    model: nn.Module,
    images: Tensor,
    make_filters: MakeFilters,
    *,
    arm: str,
    seed: int,
    layer: str | nn.Module | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[RuleOptions],
) -> InitReport:
    """Find the layer, derive what is not given, make filters and write them.

    Every arm that writes filters into the input layer goes this way, so they share its guarantees:
    all checks come before the one write, and nothing but the set filters changes.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        make_filters: Draws only from generators of its own, seeded by its last argument.
        arm: Name for the report.
        seed: Passed to `make_filters`.
        layer: Dotted name of the layer, or the module.
        parameters: What the report lists besides the hyperparameters.
        **options: In place of the derived rules.

    Returns:
        The report; `filters_set` is min(n_clusters, out_channels).

    Raises:
        WarminitError: For any input that cannot be used; the model is then bit-identical to before.
    """
    started = time.perf_counter()
    target = find_layer(model, layer)
    conv = target.module
    check_images(images, channels=conv.in_channels // conv.groups)
    filters, hyper = filters_from_images(
        images, conv.out_channels, conv.kernel_size, make_filters, seed=seed, **options
    )
    notes = []
    if looks_trained(conv.weight):
        notes.append(
            f"{target.name} looks trained: its weights fit no fresh initialization. This is meant "
            "for models that start from scratch."
        )
        warnings.warn(notes[-1], WarminitWarning, stacklevel=3)
    filters_set = write_filters_(target, filters)
    if filters_set < len(filters):
        notes.append(f"the first {filters_set} of {len(filters)} filters fit into the layer")
    return InitReport(
        arm=arm,
        layer=target.name,
        found=target.found,
        filters_set=filters_set,
        out_channels=conv.out_channels,
        parameters={
            "n_clusters": hyper.n_clusters,
            "n_patches": hyper.n_patches,
            "patch_size": hyper.patch_size,
            "scale": hyper.scale,
            **(parameters or {}),
        },
        provenance=hyper.provenance,
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=tuple(notes),
    )


def filters_from_images(
    images: Tensor,
    out_channels: int,
    kernel_size: int | tuple[int, ...],
    make_filters: MakeFilters,
    *,
    seed: int,
    **options: Unpack[RuleOptions],
) -> tuple[Tensor, Hyperparameters]:
    """Check the images, derive what is not given, and make the filters.

    Returns:
        Filters (n, C, *K) and the hyperparameters that they were made with.
    """
    kernel = as_kernel_size(kernel_size)
    batch = check_images(images, spatial_dims=len(kernel))
    hyper = _resolve(batch, out_channels, kernel, seed=seed, **options)
    statistics = standardization(options.get("mean"), options.get("std"), batch.shape[1])
    return make_filters(as_model_input(batch, statistics), hyper, kernel, seed), hyper


def _resolve(
    batch: Tensor,
    out_channels: int,
    kernel_size: tuple[int, ...],
    *,
    seed: int,
    n_clusters: int | None = None,
    n_patches: int | None = None,
    scale: Scale | None = None,
    patch_size: int | tuple[int, ...] | None = None,
    mean: Statistics = None,
    std: Statistics = None,
    raw_images: Tensor | None = None,
) -> Hyperparameters:
    """Derive what is not given, and check what is."""
    check_seed(seed)
    hyper = derive_rules(
        batch,
        out_channels,
        kernel_size,
        mean=mean,
        std=std,
        raw_images=raw_images,
        n_patches=n_patches,
        seed=seed,
    )
    provenance = dict(hyper.provenance)
    if n_clusters is not None:
        hyper = replace(hyper, n_clusters=check_count("n_clusters", n_clusters))
        provenance["n_clusters"] = "given"
    if scale is not None:
        if isinstance(scale, str):
            usable = scale in NAMED_SCALES
        else:
            usable = type(scale) in {int, float} and 0 < scale < float("inf")
        if not usable:
            raise WarminitError(
                f"scale={scale!r}; a finite number above 0 is needed, or one of "
                f"{', '.join(NAMED_SCALES)}. The paper uses 0.20 for one channel and 0.25 for "
                "more; leave it out to have it derived."
            )
        hyper = replace(hyper, scale=scale)
        provenance["scale"] = "given"
    if patch_size is not None:
        sizes = as_kernel_size(patch_size, len(kernel_size), "patch_size")
        if any(patch < kernel for patch, kernel in zip(sizes, kernel_size, strict=True)):
            raise WarminitError(
                f"patch_size={patch_size!r} is smaller than the kernel {kernel_size}; patches must "
                "cover the kernel. Leave it out to use the kernel's size."
            )
        count_positions(batch, sizes)
        hyper = replace(hyper, patch_size=sizes)
        provenance["patch_size"] = "given"
    total = hyper.n_patches * len(batch)
    if total < hyper.n_clusters:
        raise WarminitError(
            f"n_patches={hyper.n_patches} x {len(batch)} images gives {total} patches, fewer than "
            f"n_clusters={hyper.n_clusters}. Pass more images, or a larger n_patches."
        )
    return replace(hyper, provenance=provenance)
