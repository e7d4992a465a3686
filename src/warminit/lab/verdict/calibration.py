"""predicted probabilities, labels -> calibration error over bins of equal numbers of images."""

import numpy as np
from numpy.typing import ArrayLike

from warminit.errors import WarminitError


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15) -> float:
    """Compute the distance between the confidence of the predicted class and its accuracy.

    Args:
        probabilities: Predicted probabilities, shape (images, classes); each row sums to 1.
        labels: Classes, shape (images,), whole numbers from 0 to classes - 1.
        bins: Number of bins of equally many images, sorted by confidence. With fewer images than
            bins, each image is a bin.

    Returns:
        The mean over the images of |accuracy - mean confidence| of the image's bin, in [0, 1].

    Raises:
        WarminitError: If shapes, labels or probabilities are invalid.

    Source:
        Naeini et al. 2015, with the equal-mass bins of Nguyen and O'Connor 2015.

    Example:
        >>> round(calibration_error([[0.9, 0.1], [0.6, 0.4]], [0, 1], bins=1), 2)
        0.25
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or not p.size or y.shape != (len(p),):
        raise WarminitError(
            f"probabilities has shape {p.shape} and labels {y.shape}: expected (images, classes)"
            " and (images,). Pass one row and one label an image."
        )
    if not np.allclose(p.sum(axis=1), 1.0, atol=1e-3) or (p < 0).any():
        raise WarminitError(
            f"probabilities: a row sums to {p.sum(axis=1)[np.abs(p.sum(axis=1) - 1).argmax()]:g}:"
            " expected probabilities that sum to 1. Apply softmax to the logits."
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= p.shape[1]:
        raise WarminitError(
            f"labels: expected whole numbers from 0 to {p.shape[1] - 1}. Pass the class indices."
        )
    if bins < 1:
        raise WarminitError(f"bins={bins}: expected a whole number of at least 1. Pass 15.")
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == y
    order = np.argsort(confidence, kind="stable")
    gap = hit[order].astype(np.float64) - confidence[order]
    parts = np.array_split(gap, min(bins, len(gap)))
    return float(sum(abs(part.sum()) for part in parts) / len(gap))
