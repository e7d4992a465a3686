"""survey -> the linear layer over flattened patches, and the order of their values.

Each pixel gets a code word of random bits. Each bit is one pass of an image and one of its
complement. An input of the layer is larger in one of the two passes. This holds through every
operation that keeps the order of values: a change of range, or a normalization of each patch. So
the code word of each input, and its pixel, can be read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.models.reach import fed_to
from warminit.models.survey import Survey

_BITS = 62
"""Bits of a code word: of a million pixels, two agree in one of nine million models."""

_ENOUGH = 24
"""Bits of a patch that must be known: a normalization hides bits shared by all pixels."""

_TOKENS = 9
"""Number of patches that are read, spread evenly."""

_ROUNDING = 1e-3
"""Share of the largest difference above which two values differ."""


@dataclass(frozen=True, slots=True)
class FlatPatches:
    """Describe the order of a patch's values in a linear layer.

    Attributes:
        channels: Number of channels C.
        kernel_size: Size K of a patch.
        order: Index of each input of the layer in a flattened patch (C, *K).
        as_images: Whether the values are pixels, up to a fixed change of each channel's range.
            False if an operation on the whole patch comes between, for example a normalization.
    """

    channels: int
    kernel_size: tuple[int, ...]
    order: tuple[int, ...]
    as_images: bool

    def weight(self, filters: Tensor) -> Tensor:
        """Return filters (n, C, *K) as rows of the layer's weight, (n, D)."""
        return filters.flatten(1)[:, list(self.order)]

    def filters(self, values: Tensor) -> Tensor:
        """Return rows of the weight, or inputs of the layer, (..., D), as (n, C, *K)."""
        rows = values.reshape(-1, len(self.order))
        filters = torch.empty_like(rows)
        filters[:, list(self.order)] = rows
        return filters.view(-1, self.channels, *self.kernel_size)


def find_flat_patches(
    named: Mapping[str, nn.Module], survey: Survey | None
) -> tuple[str, FlatPatches] | None:
    """Return the linear layer over flattened patches of the images, and their order.

    Args:
        named: Modules of the model by name.
        survey: Survey of the model and its images, or None.

    Returns:
        Its name and the order of a patch's values; None if the first layer that runs is another
        one, or has no patches.

    Raises:
        WarminitError: If the layer's inputs could be patches of the images, but are not.
    """
    if survey is None or not 3 <= survey.images.ndim <= 5 or survey.lazy:
        return None
    try:
        first = next(iter(survey.order()), "")
    except WarminitError:  # it takes more than images, say: nothing is known of the order
        return None
    layer, channels = named.get(first), survey.images.shape[1]
    if not isinstance(layer, nn.Linear):
        return None
    call = next(each for each in survey.passed.calls if each.module is layer)
    several = call.fed is not None and math.prod(call.fed[:-1]) > 1
    if not several or layer.in_features % channels or layer.in_features == channels:
        return None
    return first, _read(first, layer, survey)


def _read(name: str, layer: nn.Linear, survey: Survey) -> FlatPatches:
    """Read the order of the values off the code words of the pixels."""
    shape = survey.images.shape[1:]
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(2**_BITS, shape, generator=generator)
    probes = (((words >> bit & 1) ^ turn)[None].float() for bit in range(_BITS) for turn in (0, 1))
    tokens: list[Tensor] = []
    for fed in fed_to(survey.model, layer, name, probes, batch_statistics=False):
        rows = fed.reshape(-1, layer.in_features)
        spread = torch.linspace(0, len(rows) - 1, min(_TOKENS, len(rows)), dtype=torch.float64)
        tokens.append(rows[spread.round().long().to(rows.device)].double().cpu())
    ones, zeros = torch.stack(tokens[0::2]), torch.stack(tokens[1::2])  # (bits, tokens, D)
    difference = ones - zeros
    known = difference.abs() > _ROUNDING * difference.abs().max()
    found = {
        each: order
        for each in range(difference.shape[1])
        if (order := _order(words, difference[:, each] > 0, known[:, each].all(1))) is not None
    }
    if len(set(found.values())) != 1:
        size = " x ".join(map(str, shape))
        raise WarminitError(
            f"{name} is a Linear and runs first, but its {layer.in_features} inputs are not "
            f"patches of the {size} images: pixels are mixed before it, or a patch lacks channels. "
            f"Take patches by nn.Conv2d({shape[0]}, {layer.out_features}, ...), or choose an "
            "initializer that sets no first layer."
        )
    kernel, places = next(iter(found.values()))
    channel = torch.tensor(places) // math.prod(kernel)
    ends = (torch.maximum(ones, zeros), torch.minimum(ones, zeros))
    of_channels = [
        end[:, list(found)][..., channel == each] for end in ends for each in range(shape[0])
    ]
    limit = _ROUNDING * difference.abs().max()
    same = all(bool(values.max() - values.min() <= limit) for values in of_channels)
    return FlatPatches(shape[0], kernel, places, as_images=same)


def _order(
    words: Tensor, bits: Tensor, known: Tensor
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return (K, order) of a patch's values (bits, D); None if they are not a patch of pixels."""
    if int(known.sum()) < _ENOUGH:
        return None
    places = 1 << torch.arange(len(known))[known]
    masked, pixel = (words.flatten() & places.sum()).sort()
    code = (bits[known] * places[:, None]).sum(0)
    found = torch.searchsorted(masked, code).clamp(max=len(masked) - 1)
    if not torch.equal(masked[found], code):
        return None
    channel, *position = torch.unravel_index(pixel[found], words.shape)
    inside = [each - each.min() for each in position]
    kernel = tuple(int(each.max()) + 1 for each in inside)
    place = channel
    for each, size in zip(inside, kernel, strict=True):
        place = place * size + each
    count = len(words) * math.prod(kernel)
    if count != len(place) or not torch.equal(place.sort().values, torch.arange(count)):
        return None
    return kernel, tuple(place.tolist())
