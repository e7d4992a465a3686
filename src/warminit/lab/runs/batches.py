"""data set, seed -> batches; pixels stay uint8 until a batch is gathered and normalized."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from warminit.errors import WarminitError

if TYPE_CHECKING:
    from warminit.lab.data.load import ImageDataset

MAX_SHIFT = 4
"""Largest shift of `flip-crop` in pixels, in each direction."""

Augmentation = Literal["none", "flip-crop"]

# Augmentation draws from a generator of its own, so that the order of the images is the same with
# it and without; the constant only keeps the two streams apart.
_AUGMENTATION_STREAM = 0x5EED_0A06_0000_0000


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Hold the images of one split on the training device, with their statistics.

    Attributes:
        images: uint8 (N, C, H, W), contiguous.
        labels: int64 (N,).
        mean: float32 (1, C, 1, 1), pixels in [0, 1].
        std: float32 (1, C, 1, 1), above 0.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def batch(
        self, indices: Tensor, memory_format: torch.memory_format = torch.contiguous_format
    ) -> tuple[Tensor, Tensor]:
        """Gather images and labels: float32 standardized (B, C, H, W) and int64 (B,)."""
        pixels = self.images.index_select(0, indices)
        return self.standardize(pixels, memory_format), self.labels.index_select(0, indices)

    def standardize(
        self, pixels: Tensor, memory_format: torch.memory_format = torch.contiguous_format
    ) -> Tensor:
        """Return (pixels / 255 - mean) / std in float32 (Section 3.2) of uint8 pixels."""
        # Laid out at the end: channels whose values lie side by side take half the time.
        values = pixels.to(torch.float32, copy=True).div_(255).sub_(self.mean).div_(self.std)
        return values.to(memory_format=memory_format)


def place_split(
    dataset: "ImageDataset", split: Literal["train", "test"], device: torch.device
) -> Split:
    """Put one split of a data set on a device; nothing is copied if it is already there.

    Raises:
        WarminitError: If the split is empty, or a channel is constant, so its standard deviation is
            0.
    """
    images, labels = (
        (dataset.train_images, dataset.train_labels)
        if split == "train"
        else (dataset.test_images, dataset.test_labels)
    )
    if not len(images):
        raise WarminitError(
            f"dataset={dataset.name!r} has 0 {split} images: expected at least 1. Choose a data "
            "set with both splits, or carve a validation split from the training images."
        )
    if not all(value > 0 for value in dataset.std):
        raise WarminitError(
            f"dataset={dataset.name!r} has std={list(dataset.std)}: expected values above 0, but "
            "one channel is constant. Drop that channel, or check how it was read."
        )
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        for values in (dataset.mean, dataset.std)
    )
    return Split(images.to(device), labels.to(device), mean, std)


def check_batch_size(n_images: int, batch_size: int, name: str) -> None:
    """Raise WarminitError if `n_images` do not fill one batch."""
    if batch_size > n_images:
        raise WarminitError(
            f"batch_size={batch_size} is larger than the {n_images} training images of {name!r}, "
            f"and incomplete batches are dropped. Choose batch_size={n_images} or less."
        )


def batch_order(n_images: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield the image indices of one epoch after another, without end.

    Args:
        n_images: Images in the training split, at least `batch_size`.
        batch_size: Images in a batch.
        seed: Seed of the order; these three numbers determine it.

    Yields:
        int64 (n_images // batch_size, batch_size): the rows are the batches of the epoch, in order;
        no image is in it twice, and the images of an incomplete last batch are left out.

    Example:
        >>> next(batch_order(10, 4, seed=0)).shape
        torch.Size([2, 4])
    """
    generator = torch.Generator().manual_seed(seed)
    n_batches = n_images // batch_size
    while True:
        order = torch.randperm(n_images, generator=generator)
        yield order[: n_batches * batch_size].view(n_batches, batch_size)


def first_batch(split: Split, batch_size: int, seed: int) -> Tensor:
    """Return the first training batch of a seed for the arms: standardized, not augmented.

    Returns:
        float32 (batch_size, C, H, W), contiguous: the first batch of `training_batches` for the
        same seed.
    """
    indices = next(batch_order(len(split.images), batch_size, seed))[0]
    return split.batch(indices.to(split.images.device))[0]


def batch_plan(
    n_images: int, batch_size: int, seed: int, *, augmentation: Augmentation = "none"
) -> Iterator[Tensor]:
    """Yield the plan of each training batch, without end; every epoch is a new permutation.

    Args:
        n_images: Images in the training split, at least `batch_size`.
        batch_size: Images in a batch; an incomplete last batch of an epoch is dropped.
        seed: Seed of the order and, from a second generator, of the augmentation.
        augmentation: `none`, or `flip-crop`: every image is shifted by up to 4 pixels in each
            direction, padded with black (0), and mirrored with probability 1/2.

    Yields:
        int64 (1, B), the indices of the images; with flip-crop (4, B): indices, row and column
        where the crop begins, and whether it is mirrored.
    """
    generator = torch.Generator().manual_seed(seed ^ _AUGMENTATION_STREAM)
    for epoch in batch_order(n_images, batch_size, seed):
        if augmentation == "none":
            yield from epoch[:, None]
            continue
        shifts = torch.randint(2 * MAX_SHIFT + 1, (*epoch.shape, 2), generator=generator)
        mirrored = torch.randint(2, epoch.shape, generator=generator, dtype=torch.bool)
        yield from torch.stack((epoch, shifts[..., 0], shifts[..., 1], mirrored.long()), dim=1)


def planned_batch(split: Split, plan: Tensor) -> tuple[Tensor, Tensor]:
    """Gather a batch by its plan; on a GPU the host does not wait.

    Returns:
        Standardized images, float32 (B, C, H, W) in channels_last memory format, and labels.
    """
    if len(plan) == 1:
        return split.batch(plan[0], torch.channels_last)
    pixels = flip_crop(split.images.index_select(0, plan[0]), plan[1:3].T, plan[3].bool())
    return split.standardize(pixels, torch.channels_last), split.labels.index_select(0, plan[0])


def training_batches(
    split: Split, batch_size: int, seed: int, *, augmentation: Augmentation = "none"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the training batches of a run without end; arguments as for `batch_plan`.

    Yields:
        Standardized images, float32 (B, C, H, W) in channels_last memory format, and labels.
    """
    for plan in batch_plan(len(split.images), batch_size, seed, augmentation=augmentation):
        yield planned_batch(split, plan.to(split.images.device))


def flip_crop(pixels: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
    """Crop each zero-padded image at its shift, and mirror some images.

    Args:
        pixels: uint8 (B, C, H, W).
        shift: int64 (B, 2), row and column from 0 to 8 at which the crop of the image padded by 4
            pixels begins; (4, 4) leaves the image where it is.
        mirror: bool (B,), which images are mirrored left to right, after the crop.

    Returns:
        uint8 (B, C, H, W).
    """
    n, _, height, width = pixels.shape
    device = pixels.device
    padded = F.pad(pixels, [MAX_SHIFT] * 4).permute(0, 2, 3, 1)
    columns = torch.arange(width, device=device).expand(n, width)
    columns = torch.where(mirror[:, None], width - 1 - columns, columns) + shift[:, 1:]
    rows = torch.arange(height, device=device) + shift[:, :1]
    images = torch.arange(n, device=device)[:, None, None]
    return padded[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
