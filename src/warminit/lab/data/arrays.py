"""pixels, labels -> ImageArrays with mean, std and fingerprint; labels -> a stratified choice."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from warminit.errors import WarminitError

HELD_OUT = "held-out"
PIXELS_AT_ONCE = 1 << 24  # np.bincount copies its input to 8 bytes a value: 128 MiB at most


@dataclass(frozen=True, slots=True)
class ImageArrays:
    """Both splits of a data set as NumPy arrays, in memory or memory-mapped, with their facts.

    Attributes:
        train_images: uint8 (N, C, H, W).
        train_labels: int64 (N,).
        test_images: uint8 (M, C, H, W).
        test_labels: int64 (M,).
        class_names: one name per class, in label order.
        mean: one value per channel, of the training split, pixels in [0, 1].
        std: population standard deviation for `mean`.
        fingerprint: SHA-256 over types, shapes and bytes of the four arrays.
        test_split: the source's name of the test split ("test", "eval"), or HELD_OUT if a fifth of
            each class was held out.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fingerprint: str = ""
    test_split: str = "test"

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return the four arrays in the order in which they are stored and fingerprinted."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def measured(self) -> "ImageArrays":
        """Return the same arrays with `mean`, `std` and `fingerprint` computed from them."""
        mean, std = mean_and_std(self.train_images)
        return replace(self, mean=mean, std=std, fingerprint=fingerprint_of(self.arrays()))


def mean_and_std(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel, pixels scaled to [0, 1].

    Computed from the histogram in whole numbers, so that neither the number of images nor their
    order costs a digit.

    Args:
        images: uint8 (N, C, H, W), N at least 1.

    Returns:
        Two tuples of length C; 0 <= mean <= 1 and 0 <= std <= 0.5.
    """
    channels = images.shape[1]
    histogram = np.zeros((channels, 256), dtype=np.int64)
    step = max(1, PIXELS_AT_ONCE // max(1, images[0, 0].size))
    for start in range(0, len(images), step):
        for channel in range(channels):
            values = images[start : start + step, channel].ravel()
            histogram[channel] += np.bincount(values, minlength=256)
    means, deviations = [], []
    for counts in histogram.tolist():
        number = sum(counts)
        total = sum(value * count for value, count in enumerate(counts))
        squares = sum(value * value * count for value, count in enumerate(counts))
        means.append(total / (number * 255))
        deviations.append(float(number * squares - total * total) ** 0.5 / (number * 255))
    return tuple(means), tuple(deviations)


def fingerprint_of(arrays: tuple[NDArray[Any], ...]) -> str:
    """Return the SHA-256 (hexadecimal) over the arrays' types, shapes and bytes, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def choose_stratified(labels: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Choose `n` rows, stratified by class.

    Args:
        labels: int64 (N,).
        n: rows to choose; at least 1, and every class keeps a row.
        seed: of the choice, 0 or larger.

    Returns:
        The chosen rows, ascending and distinct. The same labels, n and seed give the same rows.

    Raises:
        WarminitError: if `n` or `seed` is invalid.
    """
    for argument, value, least in (("n", n, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise WarminitError(
                f"{argument}={value!r} is not a whole number of at least {least}. Give "
                f"{argument} as an int of {least} or more."
            )
    classes, counts = np.unique(labels, return_counts=True)
    if n > len(labels) - len(classes):
        raise WarminitError(
            f"n={n} validation images of {len(labels)} training images in {len(classes)} classes "
            f"leave a class without a training image. Choose n of at most "
            f"{len(labels) - len(classes)}."
        )
    # Largest remainder in whole numbers; a tie goes to the class with the lower label. A class
    # that would lose its last row gives nothing beyond its whole share.
    shares = counts * n // len(labels)
    remainders = np.where(shares + 1 < counts, counts * n % len(labels), -1)
    for position in np.argsort(-remainders, kind="stable")[: n - int(shares.sum())]:
        shares[position] += 1
    if np.any(shares >= counts):
        smallest = int(np.argmax(shares >= counts))
        raise WarminitError(
            f"n={n} of {len(labels)} training images takes all {counts[smallest]} images of class "
            f"{classes[smallest]}. Choose a smaller n."
        )
    # One random key a row, drawn for all rows at once: the oldest and stablest draw that NumPy has.
    keys = np.random.default_rng(seed).random(len(labels))
    chosen = []
    for label, share in zip(classes, shares, strict=True):
        rows = np.flatnonzero(labels == label)
        chosen.append(rows[np.argsort(keys[rows], kind="stable")[:share]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
