"""images of one batch or many, on one rank or many -> patches as the model is fed."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from warminit.errors import WarminitError
from warminit.images.check import as_model_input
from warminit.images.patches import listing_generator, listing_patches, sample_patches
from warminit.models.randomness import random_state_kept
from warminit.models.ranks import pooled

MEMORY_BOUND = 256 * 2**20
"""Bytes beyond the input that sampling and clustering may use, 256 MiB."""

_IMAGE_BYTES = MEMORY_BOUND // 4
_PATCH_BYTES = MEMORY_BOUND // 2
_BYTES_BESIDE_A_PATCH = 128
"""Values that clustering keeps per patch: position, label, distances, cumulated mass."""

DEFAULT_BATCHES = 8
"""Number of batches that are read from a loader."""

_PIECE = 10_000

Images = Tensor | Iterable[Any]
"""A tensor (N, C, *size), or batches of them: tensors, (images, ...) or mappings."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Hold the images of one group of channels, and sample patches from them.

    Attributes:
        images: Images (N, C / groups, *size): uint8, or floats as the model is fed.
        statistics: (mean, std) that uint8 pixels are standardized with, or None.
        dilation: Dilation of the layer: a patch covers the same pixels as its kernel.
    """

    images: Tensor
    statistics: tuple[Tensor, Tensor] | None = None
    dilation: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Number of input channels of a filter."""
        return self.images.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the images."""
        return self.images.device

    def group(self, index: int, groups: int) -> "Batch":
        """Return the channels for the filters of one group."""
        if groups == 1:
            return self
        width = self.channels // groups
        part = slice(index * width, (index + 1) * width)
        statistics = self.statistics and (self.statistics[0][part], self.statistics[1][part])
        return replace(self, images=self.images[:, part], statistics=statistics)

    def patches(
        self, n_patches: int, patch_size: tuple[int, ...], generator: torch.Generator
    ) -> Tensor:
        """Sample `n_patches` per image at random positions, from all ranks together.

        Returns:
            (P, C * prod(patch_size)), float32 or wider, scaled as the model is fed.
        """
        sampled = sample_patches(
            self.images, n_patches, patch_size, generator, dilation=self.dilation
        )
        if self.images.dtype == torch.uint8:
            pixels, sampled = sampled, torch.empty_like(sampled, dtype=torch.float32)
            for part, target in zip(pixels.split(_PIECE), sampled.split(_PIECE), strict=True):
                by_channel = part.view(len(part), self.channels, -1)
                target.copy_(as_model_input(by_channel, self.statistics).flatten(1))
        return pooled(sampled if sampled.dtype == torch.float64 else sampled.float())

    def listed_patches(self, n_patches: int, patch_size: tuple[int, ...], seed: int) -> Tensor:
        """Sample the patches of Listing 1 with this seed, in the images' dtype.

        Raises:
            WarminitError: If the layer is not a Conv2d without dilation.
        """
        if self.images.ndim != 4 or any(step != 1 for step in self.dilation):
            raise WarminitError(
                "algorithm='paper': expected a Conv2d without dilation, as in Listing 1. This "
                f"layer has dilation {self.dilation} and images {tuple(self.images.shape)}. Use "
                "algorithm='fast'."
            )
        images = as_model_input(self.images, self.statistics)
        # NumPy has no bfloat16.
        pixels = (images.float() if images.dtype == torch.bfloat16 else images).cpu().numpy()
        taken = listing_patches(pixels, n_patches, patch_size, listing_generator(seed))
        return pooled(torch.from_numpy(taken))


def within_memory(
    batch: Batch,
    n_patches: int,
    patch_size: tuple[int, ...],
    *,
    least: int = 1,
    world_size: int = 1,
) -> tuple[Batch, int, str | None]:
    """Reduce the number of patches to stay within the memory bound.

    A patch is held twice, as sampled and centered, in at least float32. Half of the bound is for
    the images of `read_images` and for the pieces of clustering.

    Args:
        batch: Images of one group of channels.
        n_patches: Requested number of patches per image.
        patch_size: Size of the patches.
        least: Minimum number of patches: one per filter.
        world_size: Number of ranks that share the bound.

    Returns:
        The batch, with fewer images only if one patch per image is still too much; the number of
        patches per image; and a note for the report, None if all fit.
    """
    values = batch.channels * math.prod(patch_size)
    each = 2 * max(4, batch.images.element_size()) * values + _BYTES_BESIDE_A_PATCH
    most = max(least, _PATCH_BYTES // each // world_size)
    asked = n_patches * len(batch.images)
    if asked <= most:
        return batch, n_patches, None
    # Every so many images, as a view: a selection would copy them.
    images = batch.images[:: -(-len(batch.images) // most)]
    n_patches = most // len(images)
    note = (
        f"{n_patches * len(images):,} patches of {values} values were sampled instead of "
        f"{asked:,}, to stay within {MEMORY_BOUND // 2**20} MiB"
    )
    return replace(batch, images=images), n_patches, note


def read_images(images: Images, batches: int | None = None) -> tuple[Tensor, str | None]:
    """Return images as one tensor, and read batches from a loader if needed.

    All random states that reading advances are restored: the global generators of torch, NumPy and
    Python, and those of the loader and its samplers. So training sees the same order with and
    without the call. An even selection of each batch is kept, so that all images stay within a
    quarter of the memory bound.

    Args:
        images: Tensor, or an iterable of batches. An iterator that cannot start again is advanced.
        batches: Number of batches to read, 8 by default.

    Returns:
        (N, C, *size), and a note for the report, None for a tensor.

    Raises:
        WarminitError: If there is no batch, or a batch has no images.
    """
    if isinstance(images, Tensor):
        return images, None
    if isinstance(images, Mapping):
        raise WarminitError(
            f"images is a {type(images).__name__} with {', '.join(map(str, images))}: expected a "
            "tensor (N, C, H, W), or batches of them. Pass its tensor, for example "
            "images['pixel_values']."
        )
    if not isinstance(images, Iterable) or isinstance(images, str | bytes | np.ndarray):
        raise WarminitError(
            f"images is a {type(images).__name__}: expected a torch.Tensor (N, C, H, W), an "
            "iterable of batches or a DataLoader. Convert it first, for example with "
            "torch.as_tensor."
        )
    wanted = DEFAULT_BATCHES if batches is None else batches
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise WarminitError(
            f"batches={batches!r}: expected a whole number of at least 1. Leave it out to read "
            f"{DEFAULT_BATCHES}."
        )
    kept: list[Tensor] = []
    seen = 0
    with _loader_kept(images):
        for number, item in enumerate(itertools.islice(images, wanted)):
            batch = _images_of(item, number)
            if kept and batch.dtype != kept[0].dtype:
                raise WarminitError(
                    f"batch {number} of images is {batch.dtype} and batch 0 {kept[0].dtype}: "
                    "expected one dtype, since whole numbers mean pixels from 0 to 255. Convert "
                    "them first."
                )
            if kept and batch.shape[1:] != kept[0].shape[1:]:
                raise WarminitError(
                    f"batch {number} has images of {tuple(batch.shape[1:])} and batch 0 of "
                    f"{tuple(kept[0].shape[1:])}: expected one size. Resize or crop them first. "
                    "From a batch of images and masks, pass only the images."
                )
            seen += len(batch)
            size = max(1, batch[0].numel() * batch.element_size()) if len(batch) else 1
            # Joined at the end, they are held twice for a moment.
            most = max(1, _IMAGE_BYTES // wanted // size)
            if len(batch) > most:
                spread = torch.linspace(0, len(batch) - 1, most, dtype=torch.float32, device="cpu")
                batch = batch[spread.long().to(batch.device)]
            kept.append(batch)
    if not kept:
        raise WarminitError(
            f"images is a {type(images).__name__} without a single batch: expected at least one. "
            "Pass a loader that is not empty."
        )
    result = torch.cat(kept)
    some = "" if seen == len(result) else f", of which {len(result):,} were kept"
    return result, f"read {seen:,} images from {len(kept)} batches{some}"


def _images_of(item: Any, number: int) -> Tensor:
    found = item
    if isinstance(item, Mapping):
        names = ("pixel_values", "images", "image", "img", "x")
        found = next((item[name] for name in names if name in item), None)
    elif isinstance(item, tuple | list) and item:
        found = item[0]
    if not isinstance(found, Tensor):
        raise WarminitError(
            f"batch {number} of images is a {type(item).__name__} without a tensor of images: "
            "expected a tensor, a tuple that begins with a tensor, or a mapping with 'images' or "
            "'pixel_values'. Pass a torch.Tensor (N, C, H, W), or batches of them."
        )
    if found.ndim < 3:
        raise WarminitError(
            f"batch {number} of images has shape {tuple(found.shape)}: expected (N, C, H, W). From "
            "a batch of (images, labels), pass only the images."
        )
    return found.detach()


@contextmanager
def _loader_kept(loader: Any) -> Iterator[None]:
    """Restore every random state that reading a loader advances, and its persistent workers."""
    samplers = (
        loader,
        getattr(loader, "sampler", None),
        getattr(loader, "batch_sampler", None),
        getattr(getattr(loader, "batch_sampler", None), "sampler", None),
    )
    found = {
        id(generator): generator
        for generator in (getattr(each, "generator", None) for each in samplers)
        if isinstance(generator, torch.Generator)
    }
    # Persistent workers of the training would be left in the middle of an epoch, with their own
    # random states advanced; and those that start here would take a draw from it.
    persistent = isinstance(loader, DataLoader) and loader.persistent_workers
    kept = loader._iterator if persistent else None  # noqa: SLF001 - torch offers no public way
    if persistent:
        loader._iterator = None  # noqa: SLF001 - as above
    try:
        with random_state_kept(generators=found.values()):
            yield
    finally:
        if persistent:
            loader._iterator = kept  # noqa: SLF001 - as above
