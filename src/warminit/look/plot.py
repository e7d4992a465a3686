"""filters -> a mosaic in which every filter is scaled from black to white."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.models.effective import effective_weight
from warminit.models.find import first_layer
from warminit.models.layer import FoundLayer
from warminit.models.ranks import is_sharded
from warminit.renamed import takes_old_names
from warminit.report import InitReport

if TYPE_CHECKING:
    from PIL.Image import Image

Conditioned = int | Sequence[int] | InitReport | None

TILE_PIXELS = 36
"""Approximate size of a drawn filter; each value is a square of whole pixels."""

BORDER = 3
"""Pixels around a filter: a colored border if it is conditioned, else empty."""

MARK = (213, 94, 0)
"""Vermillion of the Okabe-Ito palette: distinct from gray for all kinds of colour vision."""

_GROUND = (255, 255, 255)


@takes_old_names("layer")
def plot_filters(
    model_or_weight: nn.Module | Tensor,
    *,
    layers: str | nn.Module | None = None,
    images: Tensor | None = None,
    conditioned: Conditioned = None,
    columns: int | None = None,
) -> "Image":
    """Draw the filters of a layer as a mosaic.

    Every filter is scaled to its own range, from black to white, so the picture shows shapes and
    not amplitudes. Filters of three channels in two or three dimensions are drawn in colour,
    filters of one channel in gray. Other numbers of channels are drawn side by side. Slices of 3-D
    filters are side by side, channels of 1-D filters below one another.

    Args:
        model_or_weight: Model, layer, or weight (F, C, *K) of 1 to 3 spatial dimensions.
        layers: Dotted name of the layer, or the module; the model's input layer by default.
        images: Images (N, C, *size), scaled as the model is fed. Required for a linear layer over
            flattened patches, since only images show the order of a patch's values.
        conditioned: Filters with a border: the first n, a list of indices, or the set filters of an
            initialization's report.
        columns: Number of filters per row; by default about as many as rows.

    Returns:
        A Pillow image, RGB, which a notebook shows. Filters keep their order, row by row.

    Raises:
        WarminitError: If Pillow is not installed, if the weight is not a finite filter bank, or if
            `conditioned` names missing filters.

    Example:
        >>> import torch
        >>> picture = plot_filters(torch.rand(32, 3, 3, 3), conditioned=16)
        >>> picture.size
        (252, 252)
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise WarminitError(
            "plot_filters draws with Pillow, which is not installed. Install it with `pip install "
            "pillow`, or everything with `pip install warminit[lab]`."
        ) from error
    filters = filter_weight(model_or_weight, layers, images)
    tiles = filter_tiles(filters)
    marked = set(conditioned_rows(conditioned, len(tiles)))
    columns = _columns(len(tiles), columns, wide=tiles.shape[2] / tiles.shape[1])
    height, width = tiles.shape[1] + 2 * BORDER, tiles.shape[2] + 2 * BORDER
    rows = math.ceil(len(tiles) / columns)
    canvas = np.empty((rows * height, columns * width, 3), dtype=np.uint8)
    canvas[:] = _GROUND
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        if number in marked:
            # One pixel of ground stays around it, so that two marks beside each other are two.
            canvas[top + 1 : top + height - 1, left + 1 : left + width - 1] = MARK
        canvas[top + BORDER : top + height - BORDER, left + BORDER : left + width - BORDER] = tile
    return Image.fromarray(canvas)


def filter_weight(
    model_or_weight: nn.Module | FoundLayer | Tensor,
    layers: Any = None,
    images: Tensor | None = None,
) -> Tensor:
    """Return the layer's effective filters (F, C, *K), on the CPU in float32.

    Args:
        model_or_weight: Model, a found layer of a model, or a weight.
        layers: Layer, as for `plot_filters`.
        images: Images, as for `plot_filters`.

    Raises:
        WarminitError: If the weight is not a finite filter bank.
    """
    if isinstance(model_or_weight, Tensor):
        if layers is not None:
            raise WarminitError(
                f"layers={layers!r}: expected None with a weight. Pass a model with layers=, or "
                "only the weight."
            )
        name, weight = "the weight", model_or_weight
    else:
        found = model_or_weight
        if isinstance(found, nn.Module):
            found = first_layer(found, layers, images)
        name = f"{found.name}.weight"
        weight = found.module.weight
        if not is_sharded(weight):  # all ranks would have to gather it
            effective = effective_weight(found.module)
            weight = found.as_filters(weight if effective is None else effective)
    if is_sharded(weight):
        raise WarminitError(
            f"{name} is spread over ranks. Pass `weight.full_tensor()`, which every rank must call."
        )
    if not 3 <= weight.ndim <= 5 or 0 in weight.shape:
        raise WarminitError(
            f"{name} has shape {tuple(weight.shape)}: expected filters (F, C, *K) with 1 to 3 "
            "spatial dimensions. Pass the weight of a convolution."
        )
    filters = weight.detach().float().cpu()
    bad = int((~torch.isfinite(filters)).sum())
    if bad:
        raise WarminitError(
            f"{name} has {bad} values of {filters.numel()} that are not finite: expected finite "
            "values. Initialize the layer again, or plot an earlier state."
        )
    return filters


def filter_tiles(filters: Tensor) -> NDArray[np.uint8]:
    """Draw each filter separately.

    Args:
        filters: Filters (F, C, *K), finite, on the CPU.

    Returns:
        uint8 (F, height, width, 3). Each filter's smallest value is 0 and its largest 255, over all
        its channels. A constant filter is gray, 128.
    """
    values = filters.double().flatten(1)
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    span = high - low
    shades = torch.where(span > 0, (values - low) / torch.where(span > 0, span, 1.0), 128 / 255)
    plane = _planes((shades * 255).round().to(torch.uint8).view_as(filters))
    cell = max(2, TILE_PIXELS // max(plane.shape[1], 1))
    pixels: NDArray[np.uint8] = plane.numpy().repeat(cell, axis=1).repeat(cell, axis=2)
    return pixels


def conditioned_rows(conditioned: Conditioned, n_filters: int) -> tuple[int, ...]:
    """Return the indices of the filters that `conditioned` names.

    Raises:
        WarminitError: If an index is not below `n_filters`.
    """
    if conditioned is None:
        return ()
    if isinstance(conditioned, InitReport):
        if conditioned.out_channels != n_filters:
            raise WarminitError(
                f"conditioned is a report on {conditioned.out_channels} filters of "
                f"{conditioned.layer}, and the layer has {n_filters}. Pass that layer, or the "
                "indices of the filters."
            )
        # Each group of a grouped convolution has conditioned filters of its own.
        groups = int(conditioned.parameters.get("groups", 1))
        set_each, each = conditioned.filters_set // groups, n_filters // groups
        return tuple(group * each + number for group in range(groups) for number in range(set_each))
    rows = range(conditioned) if isinstance(conditioned, int) else conditioned
    wrong = [row for row in rows if not 0 <= int(row) < n_filters]
    if wrong:
        raise WarminitError(
            f"conditioned names filter {wrong[0]}, and there are {n_filters}, from 0 to "
            f"{n_filters - 1}. Pass the number of first filters that are conditioned, or their "
            "indices."
        )
    return tuple(int(row) for row in rows)


def _planes(values: Tensor) -> Tensor:
    """Flatten filters (F, C, *K) to pictures (F, height, width, 3)."""
    spatial = values.ndim - 2
    if spatial == 1:  # channels below one another
        return values[..., None].expand(-1, -1, -1, 3)
    if spatial == 3:  # slices side by side: T, H, W -> H, T * W
        values = values.permute(0, 1, 3, 2, 4).flatten(3)
    if values.shape[1] == 3:
        return values.permute(0, 2, 3, 1)
    side_by_side = values.permute(0, 2, 1, 3).flatten(2)
    return side_by_side[..., None].expand(-1, -1, -1, 3)


def _columns(n_filters: int, columns: int | None, *, wide: float) -> int:
    if columns is None:
        return min(n_filters, max(1, math.ceil(math.sqrt(n_filters / wide))))
    if isinstance(columns, bool) or columns < 1:
        raise WarminitError(
            f"columns={columns!r}: expected a whole number of at least 1. Leave it out for a "
            "square mosaic."
        )
    return min(columns, n_filters)
