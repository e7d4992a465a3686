"""new pixels, statistics of old pixels -> the channel map that keeps the responses."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from warminit.errors import unexpected
from warminit.images.check import as_model_input
from warminit.images.patches import second_moment
from warminit.models.ranks import agreed_tensor, all_or_none, pooled

_VALUES = 2**23
"""Most values in the sample, spread evenly over all images: 64 MiB of float64."""

_RANK = 1e-10
"""Eigenvalues below this share of the largest are rounding."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


Moments = tuple[Tensor, Tensor]
"""Mean (C,) and covariance (C, C) of pixels, float64."""


@dataclass(frozen=True, slots=True)
class ChannelMap:
    """Map new pixels x to old pixels `matrix @ x + constant`.

    Attributes:
        matrix: (C, C') float64.
        constant: (C,) float64.
        kept: Number of dimensions of the old colors that the new channels can carry, at most C.
        fit: Name of the fitted data, for the report.
    """

    matrix: Tensor
    constant: Tensor
    kept: int
    fit: str

    def filters(self, old: Tensor) -> Tensor:
        """Return W A, (F, C', *K) float64, of filters W (F, C, *K)."""
        return torch.einsum("fc...,cn->fn...", old.cpu().double(), self.matrix)

    def constants(self, old: Tensor) -> Tensor:
        """Return W c, (F,) float64, to add to the responses of W A."""
        return old.cpu().double().flatten(2).sum(2) @ self.constant


def fit_map(
    images: Tensor | None,
    statistics: tuple[Tensor, Tensor] | None,
    old_images: Tensor | None,
    old_statistics: tuple[Tensor, Tensor] | None,
    prior: Tensor,
    *,
    paired: bool,
) -> ChannelMap:
    """Fit the map from new pixels to old ones; under a process group, the same on every rank.

    Args:
        images: (N, C', *size), checked.
        statistics: (mean, std) that uint8 images are standardized with, or None.
        old_images: (N', C, *size), checked, or None for ImageNet's colors.
        old_statistics: (mean, std) that the old images were standardized with.
        prior: (C, C') float64, the map that a rule without data makes.
        paired: Whether the old images show the same scenes, pixel by pixel.

    Raises:
        WarminitError: If images are missing, or paired images do not match.
    """
    with all_or_none():
        if images is None:
            step = "method='least-squares' looks at them."
            raise unexpected("images", None, "images as the model will be fed", step)
        size, *others = ((len(x), *x.shape[2:]) for x in (images, old_images) if x is not None)
        if paired and others != [size]:
            wanted = f"{size[0]} images of size {size[1:]}, as images are, since paired=True"
            raise unexpected("old_images", others, wanted, "Pass the same scenes in old channels.")
        if old_images is None and (old_statistics is None or len(prior) != len(IMAGENET_MEAN)):
            wanted = f"images of the {len(prior)} channels that the model was trained on"
            raise unexpected("old_images", None, wanted, "Only those of three are known without.")
    new = _pixels(images, statistics, max(prior.shape))
    old = None if old_images is None else _pixels(old_images, old_statistics, max(prior.shape))
    if paired and old is not None:
        fitted = regression_map(new, old)
    elif old is not None:
        fitted = matching_map(moments(new), moments(old), prior, "moments of old_images")
    else:
        target = _photographs(old_statistics)
        fitted = matching_map(moments(new), target, prior, "moments of ImageNet's colors")
    matrix, constant = agreed_tensor(fitted.matrix), agreed_tensor(fitted.constant)
    return replace(fitted, matrix=matrix, constant=constant)


def _pixels(images: Tensor, statistics: tuple[Tensor, Tensor] | None, channels: int) -> Tensor:
    """Return pixels (P, C) float64 of the images on all ranks, scaled as the model is fed.

    Large batches give an evenly spread sample. `channels` sets its size, so two batches of one
    shape are sampled at the same positions.
    """
    by_pixel = images.movedim(1, -1)
    size = by_pixel.shape[:-1]
    count, most = size.numel(), max(1, _VALUES // channels)
    if count > most:
        spread = torch.linspace(0, count - 1, most, dtype=torch.float64).round().long()
        places = torch.unravel_index(spread, size)
        by_pixel = by_pixel[tuple(each.to(images.device) for each in places)]
    pixels = as_model_input(by_pixel.reshape(-1, images.shape[1]), statistics)
    return pooled(pixels.double().cpu())


def moments(pixels: Tensor) -> Moments:
    """Return mean and covariance of pixels (P, C)."""
    mean = pixels.mean(0)
    return mean, second_moment(pixels - mean)


def _photographs(statistics: Any) -> Moments:
    """Return the moments of ImageNet's RGB pixels, standardized with (mean, std), (3,) each.

    Source: the principal components of AlexNet's color augmentation (Krizhevsky et al., 2012), with
    the values of Facebook's fb.resnet.torch.
    """
    mean, std = (each.double() for each in statistics)
    vectors, values, center = (
        torch.tensor(each, dtype=torch.float64)
        for each in (_EIGENVECTORS, _EIGENVALUES, IMAGENET_MEAN)
    )
    return (center - mean) / std, (vectors * values) @ vectors.T / std / std[:, None]


def matching_map(new: Moments, old: Moments, prior: Tensor, fit: str) -> ChannelMap:
    """Return the map nearest to `prior` whose results have the old mean and covariance.

    The map moves the pixels `prior @ x` least in the mean square. It combines whitening, a rotation
    and coloring: the optimal transport between two Gaussians.

    Args:
        new: Moments of the new pixels x.
        old: Moments of the pixels that the filters were trained on.
        prior: (C, C') float64, the map that a rule without data makes.
        fit: Name of the old moments.

    Returns:
        The map A with A cov(x) A^T = old covariance. If `prior @ x` varies in fewer than C
        directions (gray for RGB), only those directions count: the covariance is that of the old
        colors' regression on them.
    """
    root, _ = _roots(old[1])
    between = root @ prior @ new[1] @ prior.T @ root
    _, inverse = _roots(between)
    matrix = root @ inverse @ root @ prior
    kept = int(torch.linalg.matrix_rank(between, hermitian=True, rtol=_RANK))
    return ChannelMap(matrix, old[0] - matrix @ new[0], kept, fit)


def regression_map(new: Tensor, old: Tensor) -> ChannelMap:
    """Return the least-squares map of least norm from pixels (P, C') to pixels (P, C)."""
    size = new.shape[1]
    mean, both = moments(torch.cat([new, old], 1))
    inner, across = both[:size, :size], both[size:, :size]
    matrix = across @ torch.linalg.pinv(inner, hermitian=True, rtol=_RANK)
    told = float((matrix @ across.T).trace() / both[size:, size:].trace())
    kept = int(torch.linalg.matrix_rank(matrix, rtol=_RANK))
    fit = f"regression that explains {told:.1%} of the old pixels' variance"
    return ChannelMap(matrix, mean[size:] - matrix @ mean[:size], kept, fit)


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the root of a symmetric matrix, and the inverse root on the space that it spans."""
    values, vectors = torch.linalg.eigh(matrix)
    large = values > _RANK * values[-1:]
    safe = torch.where(large, values, 1.0)
    root, inverse = (torch.where(large, each, 0.0) for each in (safe.sqrt(), safe.rsqrt()))
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T
