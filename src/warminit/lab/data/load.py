"""name or folder -> ImageDataset: uint8 tensors, labels and their statistics.

The steps are: `sources.py` with `folders.py` (name -> files with a fingerprint), `reading.py` and
`hub.py` (files -> encoded rows), `decoding.py` (rows -> pixels), `arrays.py` (pixels -> mean, std,
fingerprint), `cache.py` (arrays <-> checksummed file). This module combines them.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.data.arrays import HELD_OUT, ImageArrays, choose_stratified
from warminit.lab.data.cache import Allocate, cache_folder, cached_arrays
from warminit.lab.data.decoding import decode_rows
from warminit.lab.data.folders import split_of
from warminit.lab.data.reading import folder_rows, pixel_arrays
from warminit.lab.data.sources import Source, find_source
from warminit.layout import Layout, Tabled, plain

MAX_CLASSES_SHOWN = 20


@dataclass(frozen=True, eq=False)
class ImageDataset(Tabled):
    """Hold the images of one data set, as the laboratory trains on them.

    Attributes:
        name: the published name, the hub id, or the name of the folder or file.
        train_images: uint8 (N, C, H, W), contiguous; C is 1 (gray) or 3 (RGB).
        train_labels: int64 (N,), 0 <= label < n_classes.
        test_images: uint8 (M, C, H, W), contiguous.
        test_labels: int64 (M,).
        class_names: one name a class, in label order.
        mean: one value a channel, of the training split, pixels in [0, 1].
        std: the population standard deviation for `mean`.
        fingerprint: SHA-256 (hexadecimal) over the four tensors' types, shapes and bytes.
        partial: whether the counts differ from the published ones, so no figure reproduces a
            published one.
        test_split: the source's name of the test split ("test", "val"), or "held-out" if the source
            has none.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    partial: bool
    test_split: str = "test"

    __repr__ = Tabled.__str__  # its pixels would fill pages

    @property
    def in_channels(self) -> int:
        """Number of channels of an image: 1 or 3."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        return self.train_images.shape[2], self.train_images.shape[3]

    @property
    def n_classes(self) -> int:
        """Number of classes, including classes without images."""
        return len(self.class_names)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of training images of each class, in label order."""
        counts = torch.bincount(self.train_labels, minlength=self.n_classes)
        return tuple(int(count) for count in counts)

    def with_validation(self, n: int, seed: int = 0) -> "ImageDataset":
        """Move `n` training images to a validation split, which replaces the test split.

        The choice depends only on the labels, `n` and `seed`, and is stratified by class. The
        published test images are not in the result, so they cannot influence a choice.

        Args:
            n: number of validation images, at least 1; every class must keep a training image.
            seed: seed of the choice, 0 or larger.

        Returns:
            A data set with "+validation" after its name. Its training and test splits are disjoint
            parts of this training split, in order. Mean and std are those of the remaining training
            images.

        Raises:
            WarminitError: if `n` or `seed` is invalid.

        Example:
            >>> load_dataset("fashion-mini").with_validation(1000).test_images.shape
            torch.Size([1000, 1, 28, 28])
        """
        labels = self.train_labels.numpy()
        chosen = choose_stratified(labels, n, seed)
        rest = np.setdiff1d(np.arange(len(labels)), chosen)
        images = self.train_images.numpy()
        arrays = ImageArrays(
            images[rest],
            labels[rest],
            images[chosen],
            labels[chosen],
            self.class_names,
            test_split="validation",
        )
        return _dataset(f"{self.name}+validation", arrays.measured(), partial=self.partial)

    def describe(self) -> str:
        """Return the counts, sizes, mean, std and class balance as a small table.

        Example:
            >>> print(load_dataset("fashion-mini").describe().splitlines()[0])
            fashion-mini: 6,000 train / 2,000 test images, 1 x 28 x 28, 10 classes
        """
        return str(self)

    def tables(self) -> list[Layout]:
        """Return what `describe` says: counts and sizes, then a row a class."""
        partial = " (partial: counts differ from the published ones)" if self.partial else ""
        counts = f"{len(self.train_labels):,} train / {len(self.test_labels):,} test"
        shape = plain((self.in_channels, *self.image_size))
        lines = [
            f"{self.name}{partial}: {counts} images, {shape}, {self.n_classes} classes",
            "mean " + " ".join(f"{value:.4f}" for value in self.mean),
            "std  " + " ".join(f"{value:.4f}" for value in self.std),
        ]
        if split_of(self.test_split) != "test":
            lines.append(f"test images are of the split {self.test_split!r}")
        train = self.class_counts
        test = torch.bincount(self.test_labels, minlength=self.n_classes).tolist()
        lines.append(f"class balance: {min(train):,} to {max(train):,} training images per class")
        each = zip(self.class_names, train, test, strict=True)
        rows = [(name, f"{a:>7,}", f"{b:>7,}") for name, a, b in each][:MAX_CLASSES_SHOWN]
        more = self.n_classes - len(rows)
        below = [f"... and {more} more classes"] if more else []
        return [Layout("\n".join(lines), rows, ("class", "  train", "   test"), below)]


def load_dataset(
    name: str,
    *,
    data_root: str | Path | None = None,
    resize: int | tuple[int, int] | None = None,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageDataset:
    """Load a data set by name, hub id, folder or file.

    Args:
        name: `fashion-mini` (embedded), `digits` (scikit-learn's), `mnist`, `fashion-mnist`,
            `cifar10`, `svhn` or `cifar100`; a hub id `owner/name` or `owner/name:configuration`; a
            folder with train/ and test/ (one folder per class) or laid out like a hub repository; a
            `.parquet` or `.npz` file.
        data_root: folder laid out like the hub, read instead of the hub. By default the environment
            variable WARMINIT_DATA, else the hub.
        resize: (height, width) or one number for both, to resize every image (bilinear). None, the
            default, keeps the size, which must be the same for all images.
        cache_dir: folder for decoded images. By default the environment variable WARMINIT_CACHE,
            else the user's cache folder.
        progress: function of (images decoded, images in all), called while decoding.

    Returns:
        The data set. The same files give the same tensors and fingerprint, decoded or from the
        cache.

    Raises:
        WarminitError: for an unknown name, missing data, undecodable images, 16-bit images, bad
            labels or columns. Also for several sizes without `resize`, and an unwritable cache
            folder.

    Example:
        >>> dataset = load_dataset("fashion-mini")
        >>> dataset.train_images.shape, dataset.n_classes, round(dataset.mean[0], 2)
        (torch.Size([6000, 1, 28, 28]), 10, 0.29)
    """
    size = _checked_size(resize)
    return load_source(find_source(name, data_root), size, cache_dir, progress)


def load_source(
    source: Source,
    size: tuple[int, int] | None = None,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageDataset:
    """Load a source of `find_source`, with the arguments of `load_dataset`."""
    if source.kind in ("embedded", "npz"):
        arrays = pixel_arrays(source, size).measured()
    else:
        arrays = _cached(source, size, cache_folder(cache_dir), progress)
    counts = (len(arrays.train_labels), len(arrays.test_labels))
    partial = source.published is not None and counts != source.published.counts
    if source.kind == "embedded":
        # digits has no test split of its own; the fixed one here is part of what the name means.
        arrays = replace(arrays, test_split="test")
    _say_absent_classes(source.name, arrays)
    name = source.name + "+held-out" * (arrays.test_split == HELD_OUT)
    return _dataset(name, arrays, partial=partial)


def _say_absent_classes(name: str, arrays: ImageArrays) -> None:
    train, test = (
        np.bincount(labels, minlength=len(arrays.class_names)) > 0
        for labels in (arrays.train_labels, arrays.test_labels)
    )
    for split, absent in (("test", train & ~test), ("training", test & ~train)):
        if absent.any():
            names = [arrays.class_names[label] for label in np.flatnonzero(absent)]
            more = f" and {len(names) - 10} more" * (len(names) > 10)
            warnings.warn(
                f"{name}: no {split} image of {', '.join(names[:10])}{more}.",
                WarminitWarning,
                stacklevel=3,
            )


def _cached(
    source: Source,
    size: tuple[int, int] | None,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> ImageArrays:
    def build(allocate: Allocate, scratch: Path) -> ImageArrays:
        if source.kind == "folder":
            rows = folder_rows(source)
        else:
            from warminit.lab.data.hub import (
                hub_rows,  # loads pyarrow and pandas: not for cached data
            )

            rows = hub_rows(source, scratch)
        images = decode_rows(rows, size, allocate, progress)
        labels = np.empty_like(rows.labels)
        labels[rows.order] = rows.labels
        n = rows.n_train
        return ImageArrays(
            images[:n],
            labels[:n],
            images[n:],
            labels[n:],
            rows.class_names,
            test_split=rows.test_split,
        ).measured()

    place = f"{source.kind} {source.location} {source.configuration} {size}"
    readable = re.sub(r"[^a-z0-9]+", "-", source.name.lower()).strip("-") or "data"
    file = folder / f"{readable}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.images"
    return cached_arrays(file, f"{place} {source.fingerprint}", build)


def _checked_size(resize: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if resize is None:
        return None
    size = (resize, resize) if isinstance(resize, int) else resize
    whole = isinstance(size, tuple) and len(size) == 2 and all(type(side) is int for side in size)
    if isinstance(resize, bool) or not whole or min(size) < 1:
        raise WarminitError(
            f"resize={resize!r}: expected (height, width), or one number for both, in whole "
            "pixels of at least 1. Pass for example 32."
        )
    return size


def _dataset(name: str, arrays: ImageArrays, *, partial: bool) -> ImageDataset:
    return ImageDataset(
        name,
        torch.from_numpy(arrays.train_images),
        torch.from_numpy(arrays.train_labels),
        torch.from_numpy(arrays.test_images),
        torch.from_numpy(arrays.test_labels),
        class_names=arrays.class_names,
        mean=arrays.mean,
        std=arrays.std,
        fingerprint=arrays.fingerprint,
        partial=partial,
        test_split=arrays.test_split,
    )
