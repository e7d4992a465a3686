"""images, layer shape, options -> Hyperparameters, all checked."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from warminit.checks import as_kernel_size, check_count, count_positions
from warminit.errors import WarminitError
from warminit.initializers.stems.design_rules import Hyperparameters, rules_of, scale_rule
from warminit.initializers.stems.filters import NAMED_SCALES, Scale


def resolve_rules(
    images: Tensor,
    out_channels: int,
    kernel_size: tuple[int, ...],
    *,
    groups: int = 1,
    dilation: tuple[int, ...] = (),
    seed: int = 0,
    n_filters: int | None = None,
    patches_per_image: int | None = None,
    scale: Scale | None = None,
    patch_size: int | tuple[int, ...] | None = None,
    mean: Sequence[float] | float | Tensor | None = None,
    std: Sequence[float] | float | Tensor | None = None,
    raw_images: Tensor | None = None,
) -> Hyperparameters:
    """Check the given options, and derive the others.

    Args:
        images: Checked (N, C, *size).
        out_channels: Number of filters F of the layer.
        kernel_size: Kernel size K of the layer.
        groups: Groups of the layer. Each group gets floor(F / groups / 2) filters, at least one,
            scaled by its channels and fan-in.
        dilation: Dilation of the layer.
        seed: Seed of the patch-norm sample.
        n_filters: Number of filters to set in each group.
        patches_per_image: Number of patches per image.
        scale: Number above 0, or one of `NAMED_SCALES`.
        patch_size: Patch size, at least the kernel's size.
        mean: Per-channel mean, as for `derive_rules`.
        std: Per-channel standard deviation.
        raw_images: Raw pixels, as for `derive_rules`.

    Returns:
        Hyperparameters with n_patches * N >= n_clusters.

    Raises:
        WarminitError: For any invalid value.
    """
    if patches_per_image is not None:
        check_count("patches_per_image", patches_per_image)
    hyper = rules_of(
        images,
        out_channels,
        kernel_size,
        dilation=dilation,
        mean=mean,
        std=std,
        raw_images=raw_images,
        n_patches=patches_per_image,
        seed=seed,
    )
    if images.shape[1] // groups * math.prod(kernel_size) == 1:
        raise WarminitError(
            f"a patch of kernel {kernel_size} over 1 channel has 1 value, and removing its mean "
            "leaves nothing: expected at least 2. Condition another layer with "
            "layers=."
        )
    provenance = dict(hyper.provenance)
    if groups > 1:
        per_group = out_channels // groups
        group_scale, why_scale = scale_rule(images.shape[1] // groups, kernel_size)
        hyper = replace(hyper, n_clusters=max(1, per_group // 2), scale=group_scale)
        provenance["n_clusters"] = f"max(1, floor(F / 2)) with F = {per_group} in each group"
        provenance["scale"] = f"{why_scale}, of a group"
    if n_filters is not None:
        hyper = replace(hyper, n_clusters=check_count("n_filters", n_filters))
        provenance["n_clusters"] = "given"
    if scale is not None:
        hyper = replace(hyper, scale=_checked_scale(scale))
        provenance["scale"] = "given"
    if patch_size is not None:
        sizes = as_kernel_size(patch_size, len(kernel_size), "patch_size")
        if any(patch < kernel for patch, kernel in zip(sizes, kernel_size, strict=True)):
            raise WarminitError(
                f"patch_size={patch_size!r} is smaller than the kernel: expected at least "
                f"{kernel_size}. Leave it out for the kernel's size."
            )
        count_positions(images, sizes, dilation, "a smaller patch_size")
        hyper = replace(hyper, patch_size=sizes)
        provenance["patch_size"] = "given"
    total = hyper.n_patches * len(images)
    if total < hyper.n_clusters:
        raise WarminitError(
            f"patches_per_image={hyper.n_patches} x {len(images)} images gives {total} patches: "
            f"expected at least n_filters={hyper.n_clusters}. Pass more images, or a larger "
            "patches_per_image."
        )
    return replace(hyper, provenance=provenance)


def _checked_scale(scale: Scale) -> Scale:
    if isinstance(scale, str):
        usable = scale in NAMED_SCALES
    else:
        usable = (
            not isinstance(scale, bool) and isinstance(scale, numbers.Real) and 0 < scale < math.inf
        )
    if not usable:
        raise WarminitError(
            f"scale={scale!r}: expected a finite number above 0, or one of "
            f"{', '.join(NAMED_SCALES)}. The paper uses 0.20 for one channel and 0.25 for more; "
            "leave it out to derive it."
        )
    return scale if isinstance(scale, str) else float(scale)
