"""filters (F, C, *K) -> filters for another number of channels, by a fixed rule without data."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from warminit.errors import unexpected, unknown

Others = Literal["repeat", "mean", "zero"]
"""Rule for the channels that `bands` does not name."""

Bands = Mapping[str, int] | Mapping[int, int] | Mapping[str | int, int]
"""An old channel, by its index or as "red", "green" or "blue" -> its index in the new images."""

BANDS = 'Pass for example bands={"red": 2, "green": 1, "blue": 0}.'
_RGB = ("red", "green", "blue")


def repeat_channels(filters: Tensor, channels: int) -> Tensor:
    """Repeat the channels in turn and rescale by old / new; one channel gets their sum.

    Source: timm's `adapt_input_conv`, to the bit for weights of 16 and 32 bits.

    Args:
        filters: (F, C, *K), any floating point.
        channels: New channels.

    Returns:
        (F, channels, *K) in the same dtype; the same tensor if `channels` is C. If the new channels
        repeat the old images equally often, the responses stay the same.
    """
    old = filters.shape[1]
    if channels == old:
        return filters
    wide = _wide(filters)
    if channels == 1:
        return wide.sum(1, keepdim=True).to(filters.dtype)
    times = (1, math.ceil(channels / old), *[1] * (filters.ndim - 2))
    return (wide.repeat(times)[:, :channels] * (old / channels)).to(filters.dtype)


def mean_channels(filters: Tensor, channels: int) -> Tensor:
    """Give each new channel the mean over the old channels, times old / new.

    Returns:
        (F, channels, *K) in the same dtype. The responses to gray images do not change.
    """
    wide = _wide(filters)
    mean = wide.mean(1, keepdim=True) * (filters.shape[1] / channels)
    return mean.expand(-1, channels, *filters.shape[2:]).to(filters.dtype).contiguous()


def copy_channels(filters: Tensor, channels: int, bands: Mapping[int, int], others: str) -> Tensor:
    """Copy filters to the channels in `bands`, and apply a rule to the others.

    Args:
        filters: (F, C, *K).
        channels: New channels.
        bands: Map checked by `check_bands`; several old channels on one new channel are added.
        others: Rule for the other channels, one of `Others`.

    Returns:
        (F, channels, *K) in the same dtype. With `others="zero"`, images that hold all old channels
        at the named positions give the old responses.
    """
    rules = {"repeat": repeat_channels, "mean": mean_channels, "zero": _zeros}
    result = rules[others](filters, channels).clone()
    result[:, list(bands.values())] = 0
    for old, place in bands.items():
        result[:, place] += filters[:, old]
    return result


def check_bands(bands: Bands, old: int, channels: int) -> dict[int, int]:
    """Return the new index of each old channel.

    Raises:
        WarminitError: If an old channel or a new index does not exist.
    """
    names: dict[str | int, int] = dict(zip(_RGB, range(old), strict=True)) if old == 3 else {}
    names |= {index: index for index in range(old)}
    result = {}
    for key, place in bands.items():
        if key not in names:
            raise unknown("bands", key, map(str, names))
        if place not in range(channels):
            wanted = f"places from 0 to {channels - 1}, for {channels} channels"
            raise unexpected("bands", dict(bands), wanted, BANDS)
        result[names[key]] = place
    return result


def _zeros(filters: Tensor, channels: int) -> Tensor:
    return filters.new_zeros(filters.shape[0], channels, *filters.shape[2:])


def _wide(filters: Tensor) -> Tensor:
    return filters if filters.dtype == torch.float64 else filters.float()
