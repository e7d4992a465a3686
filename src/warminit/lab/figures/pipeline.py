"""a batch -> the stages from its images to filters, for Pre-Warm and whitening."""

import math
from dataclasses import dataclass

import altair as alt
import torch
from torch import Tensor

from warminit.images.patches import (
    center_patches,
    listing_generator,
    listing_patches,
    sample_patches,
    second_moment,
)
from warminit.initializers.prewarm.clustering import minibatch_kmeans
from warminit.initializers.stems.filters import Scale, scale_bank, shape_filters, weight_centroids
from warminit.initializers.stems.whitening import RELATIVE_EPS, whitening_directions
from warminit.lab.figures.pictures import Picture, images_with_positions, mosaic, patch_strips
from warminit.lab.figures.theme import BLUE, FILE_WIDTH, VERMILLION, Layered, Width, charted

SHOWN_IMAGES = 6
SHOWN_CLUSTERS = 6


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Hold every stage between a batch and its filters.

    Attributes:
        pixels: Batch before standardization, (N, C, H, W), from 0 to 1.
        positions: Row and column of each patch's upper left corner, int64 (N, n_patches, 2).
        patches: Centered patches of the standardized batch, (N * n_patches, C * prod(K)).
        basis: Centroids or whitening directions, (n, C * prod(K)).
        weighted: Basis after the spatial weights; for whitening equal to `basis`.
        filters: Filters of the layer, (n, C, *K).
        labels: Nearest centroid of each patch, int64 (N * n_patches,); empty for whitening.
        spectrum: Eigenvalues of the patches' second moment, decreasing; empty for k-means.
    """

    pixels: Tensor
    positions: Tensor
    patches: Tensor
    basis: Tensor
    weighted: Tensor
    filters: Tensor
    kernel: tuple[int, int]
    labels: Tensor
    spectrum: Tensor


def prewarm_pipeline(
    images: Tensor,
    pixels: Tensor,
    *,
    n_clusters: int,
    n_patches: int,
    scale: Scale,
    kernel: tuple[int, int],
    seed: int,
) -> Pipeline:
    """Compute Pre-Warm's stages as the laboratory runs them (engine `paper`).

    Args:
        images: Standardized images, float32 (N, C, H, W).
        pixels: Same images, from 0 to 1.
        n_clusters: Number of conditioned filters.
        n_patches: Patches per image.
        scale: Scale of the filters.
        kernel: Kernel of the layer, and of the patches.
        seed: Seed of the run.

    Returns:
        The stages; `filters` has the bits that `prewarm_(..., algorithm="paper")` writes.
    """
    patches = listing_patches(images.numpy(), n_patches, kernel, listing_generator(seed))
    # The same draws over images of pixel positions give the position of each patch.
    index = _indices(images).numpy()
    corners = listing_patches(index, n_patches, kernel, listing_generator(seed))[:, 0]
    centered = center_patches(patches)
    centroids = torch.from_numpy(minibatch_kmeans(centered, n_clusters, seed))
    weighted = weight_centroids(centroids, kernel)
    fed = torch.from_numpy(patches)
    filters = shape_filters(scale_bank(weighted, scale, patches=fed), kernel, kernel)
    every = torch.from_numpy(centered)
    return Pipeline(
        pixels=pixels,
        positions=_positions(torch.from_numpy(corners), images),
        patches=every,
        basis=centroids,
        weighted=weighted,
        filters=filters,
        kernel=kernel,
        labels=torch.cdist(every.float(), centroids.float()).argmin(1),
        spectrum=torch.empty(0),
    )


def whitening_pipeline(
    images: Tensor,
    pixels: Tensor,
    *,
    n_filters: int,
    n_patches: int,
    scale: Scale,
    kernel: tuple[int, int],
    seed: int,
    eps: float = RELATIVE_EPS,
) -> Pipeline:
    """Compute whitening's stages; arguments and result as for `prewarm_pipeline`.

    Returns:
        The stages; `filters` has the bits that `whiten_` writes.
    """
    patches = sample_patches(images, n_patches, kernel, torch.Generator().manual_seed(seed))
    corners = sample_patches(
        _indices(images), n_patches, kernel, torch.Generator().manual_seed(seed)
    )[:, 0]
    centered = center_patches(patches)
    directions = whitening_directions(centered, n_filters, eps=eps)
    bank = scale_bank(directions, scale, patches=patches)
    return Pipeline(
        pixels=pixels,
        positions=_positions(corners, images),
        patches=centered,
        basis=directions,
        weighted=directions,
        filters=shape_filters(bank, kernel, kernel),
        kernel=kernel,
        labels=torch.empty(0, dtype=torch.int64),
        spectrum=torch.linalg.eigvalsh(second_moment(centered)).flip(0),
    )


def pipeline_pictures(stages: Pipeline) -> list[Picture]:
    """Draw the stages as panels, in order."""
    shape = (-1, stages.pixels.shape[1], *stages.kernel)
    shown = min(SHOWN_IMAGES, len(stages.pixels))
    corners = [[(int(r), int(c)) for r, c in each] for each in stages.positions[:shown]]
    kernel = stages.kernel
    panels = [
        images_with_positions(
            stages.pixels[:shown], corners, kernel, title="1. Images and where patches are taken"
        )
    ]
    if len(stages.labels):
        counts = torch.bincount(stages.labels, minlength=len(stages.basis))
        largest = counts.argsort(descending=True, stable=True)[:SHOWN_CLUSTERS].tolist()
        panels.append(
            patch_strips(
                {
                    f"cluster {cluster}": stages.patches[stages.labels == cluster].view(shape)
                    for cluster in largest
                },
                title="2. Patches of the largest clusters",
            )
        )
        panels.append(_bank(stages.basis.view(shape), "3. Centroids"))
        panels.append(_bank(stages.weighted.view(shape), "4. Weighted towards the center"))
        panels.append(_bank(stages.filters, "5. Filters, as written"))
        return panels
    panels.append(_bank(stages.basis.view(shape), "2. Directions, strongest first", "direction"))
    panels.append(_bank(stages.filters, "3. Filters, as written"))
    return panels


def spectrum_chart(stages: Pipeline, width: Width = FILE_WIDTH) -> Layered:
    """Draw the eigenvalues of the patches' second moment, with whitening's floor as a rule.

    The last eigenvalue, zero to rounding, is the direction that centering removes; it is left out.
    """
    values = stages.spectrum[:-1].clamp(min=0)
    used = min(len(stages.basis), len(values))
    floor = RELATIVE_EPS * float(stages.spectrum.mean())
    rows = [
        {"number": number, "value": value, "used": "used" if number <= used else "left out"}
        for number, value in enumerate(values.tolist(), start=1)
        if value > 0
    ]
    points = (
        charted(rows)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X(
                "number:Q",
                title="direction, strongest first",
                scale=alt.Scale(nice=False, domain=[0.5, len(values) + 0.5]),
                axis=alt.Axis(tickMinStep=1, format="d"),
            ),
            y=alt.Y(
                "value:Q",
                title="eigenvalue (standardized pixels squared)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g", tickCount=5),
            ),
            color=alt.Color(
                "used:N",
                title=None,
                scale=alt.Scale(domain=["used", "left out"], range=[BLUE, "#7A7F87"]),
            ),
            shape=alt.Shape(
                "used:N",
                title=None,
                scale=alt.Scale(domain=["used", "left out"], range=["circle", "cross"]),
            ),
            tooltip=[alt.Tooltip("number:Q"), alt.Tooltip("value:Q", format=".3~g")],
        )
    )
    rule = (
        charted([{"eps": floor}])
        .mark_rule(color=VERMILLION, strokeDash=[4, 3], strokeWidth=2)
        .encode(y="eps:Q", tooltip=[alt.Tooltip("eps:Q", format=".3~g")])
    )
    share = float(values[:used].sum() / values.sum()) if len(values) else math.nan
    return alt.layer(points, rule).properties(
        width=width,
        height=220,
        description=(
            f"Spectrum of the patches: {len(values)} eigenvalues, of which the first {used} become "
            f"filters and hold {100 * share:.1f} % of the energy; the rule is whitening's eps, "
            f"{floor:.3g}."
        ),
    )


def _bank(filters: Tensor, title: str, name: str = "filter") -> Picture:
    names = [f"{name} {number}" for number in range(len(filters))]
    return mosaic(filters, title=title, names=names)


def _indices(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    index = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    return index.expand(len(images), 1, -1, -1).contiguous()


def _positions(corners: Tensor, images: Tensor) -> Tensor:
    flat = corners.long().view(len(images), -1)
    width = images.shape[3]
    return torch.stack([flat // width, flat % width], dim=-1)
