"""model -> input layer with structure but without data: cosines or Gabor functions."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.source import Batch, Images
from warminit.initializers.stems.conditioning import condition_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.filters import scale_bank, shape_filters
from warminit.initializers.stems.keywords import StemOptions
from warminit.report import InitReport


def dct(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    brightness: bool = False,
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set the lowest frequencies of the orthonormal DCT-II over channels and space.

    This is the control for data: smooth orthogonal directions, similar to whitening filters of
    natural images, but from no image (Ahmed, Natarajan & Rao, 1974). Count and scale are
    Pre-Warm's.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: Training images (N, C, H, W); only for the number of channels, and for scales that
            need patches.
        seed: Seed of those patches.
        brightness: Whether the constant direction is used; centering removes it from Pre-Warm.
        **options: Options of `prewarm_`, including `layers` and `batches`; `n_filters` is the
            number of filters.

    Returns:
        The report. The D directions (D - 1 without brightness) are followed by their negatives;
        further filters are not set.
    """
    return condition_(
        model,
        images,
        partial(_fixed_bank, bank=partial(dct_directions, brightness=brightness)),
        method="dct",
        seed=seed,
        parameters={"brightness": brightness},
        **options,
    )


def gabor(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set Gabor functions: edges and bars at evenly spaced orientations, equal in all channels.

    This is the control for learned edges: shapes that trained first layers show, but from no image
    (Gabor, 1946; Olshausen & Field, 1996). Count and scale are Pre-Warm's.

    Args:
        model: Any module with an `nn.Conv2d` whose kernel is at least 3 x 3.
        images: Training images (N, C, H, W); only for the number of channels, and for scales that
            need patches.
        seed: Seed of those patches.
        **options: Options of `prewarm_`, including `layers` and `batches`; `n_filters` is the
            number of filters.

    Returns:
        The report. Each set filter has zero mean.
    """
    return condition_(
        model,
        images,
        partial(_fixed_bank, bank=gabor_bank),
        method="gabor",
        seed=seed,
        **options,
    )


def dct_directions(n: int, shape: tuple[int, ...], *, brightness: bool = False) -> Tensor:
    """Compute the orthonormal DCT-II basis of an array, lowest frequencies first.

    Args:
        n: Requested number of directions.
        shape: Shape (C, *K) of a filter.
        brightness: Whether the constant direction is included.

    Returns:
        (min(n, 2 m), D) float64, with D = prod(shape) and m = D or D - 1. Orthonormal rows, ordered
        by the sum of their frequencies as shares of each axis, then their negatives.
    """
    axes = []
    for size in shape:
        frequency, place = torch.meshgrid(
            torch.arange(size, dtype=torch.float64),
            torch.arange(size, dtype=torch.float64),
            indexing="ij",
        )
        cosine = torch.cos(math.pi / size * (place + 0.5) * frequency) * math.sqrt(2 / size)
        cosine[0] /= math.sqrt(2)
        axes.append(cosine)
    orders = sorted(
        itertools.product(*(range(size) for size in shape)),
        key=lambda order: (sum(k / size for k, size in zip(order, shape, strict=True)), order),
    )
    rows = []
    for order in orders if brightness else orders[1:]:
        row = torch.ones((), dtype=torch.float64)
        for axis, k in zip(axes, order, strict=True):
            row = (row[..., None] * axis[k]).flatten()
        rows.append(row)
    directions = torch.stack(rows)[:n] if rows else torch.empty(0, math.prod(shape))
    return torch.cat([directions, -directions])[:n]


def gabor_bank(n: int, shape: tuple[int, ...]) -> Tensor:
    """Compute Gabor functions at evenly spaced orientations: half odd (edges), half even (bars).

    Args:
        n: Requested number of functions.
        shape: Shape (C, H, W) of a filter. The larger of H and W is the wavelength; the envelope's
            deviation is half of it.

    Returns:
        (n, D) float64 of zero mean and unit norm; edges first, orientations from 0 up.
    """
    if len(shape) != 3:
        raise WarminitError(
            f"the layer has {len(shape) - 1} spatial dimensions: expected 2 for Gabor functions. "
            "Use the arm dct, which accepts any number."
        )
    channels, height, width = shape
    size = max(height, width)
    if min(height, width) < 3:
        # Some orientation is flat there: nothing is left of it once its mean is removed.
        raise WarminitError(
            f"the layer's kernel is {height} x {width}: expected at least 3 x 3 for Gabor "
            "functions. Use another arm, for example dct."
        )
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    envelope = torch.exp(-(x**2 + y**2) / (2 * (size / 2) ** 2))
    n_edges = (n + 1) // 2
    rows = []
    for index in range(n):
        edge = index < n_edges
        # Edges at an angle and half a turn on are opposite, bars are the same.
        turn = 2 * math.pi if edge else math.pi
        angle = turn * (index if edge else index - n_edges) / (n_edges if edge else n - n_edges)
        phase = 2 * math.pi / size * (x * math.cos(angle) + y * math.sin(angle))
        wave = envelope * (phase.sin() if edge else phase.cos())
        wave = (wave - wave.mean()).flatten().repeat(channels)
        rows.append(wave / wave.norm())
    return torch.stack(rows)


def _fixed_bank(
    batch: Batch,
    hyper: Hyperparameters,
    kernel_size: tuple[int, ...],
    seed: int,
    *,
    bank: Callable[[int, tuple[int, ...]], Tensor],
) -> Tensor:
    directions = bank(hyper.n_clusters, (batch.channels, *hyper.patch_size)).to(batch.device)
    patches = batch.patches(hyper.n_patches, hyper.patch_size, torch.Generator().manual_seed(seed))
    return shape_filters(
        scale_bank(directions, hyper.scale, patches=patches), hyper.patch_size, kernel_size
    )
