"""filters (F, D), patches and responses -> single figures of a diagnosis."""

import math

import torch
from torch import Tensor

from warminit.images.patches import center_patches

DUPLICATE_COSINE = 0.99
"""Absolute cosine above which two filters are near-duplicates."""


def near_duplicates(bank: Tensor) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return the pairs with |cosine| > 0.99, and the number of opposite pairs."""
    norms = bank.norm(dim=1, keepdim=True)
    # A zero filter has no direction: it stays zero, and its cosines with it.
    unit = bank / torch.where(norms > 0, norms, 1.0)
    cosines = (unit @ unit.T).triu(diagonal=1)
    pairs = (cosines.abs() > DUPLICATE_COSINE).nonzero().tolist()
    return tuple((i, j) for i, j in pairs), int((cosines < -DUPLICATE_COSINE).sum())


def energy_captured(patches: Tensor, basis: Tensor) -> float | None:
    """Return the share of the centered patches' sum of squares inside an orthonormal basis."""
    centered = center_patches(patches)
    total = float(centered.square().sum())
    if total <= 1e-24 * float(patches.square().sum()):
        return None
    return min(1.0, float((centered @ basis.T).square().sum()) / total)


def spread(variances: Tensor) -> float | None:
    """Return the deviation of variances over their mean, None for fewer than two."""
    if len(variances) < 2:
        return None
    shares = variances / variances.max()  # their squares may not fit where the variances do
    return float(shares.std(correction=0) / shares.mean())


def white_distance(outputs: Tensor) -> float | None:
    """Return the root mean square correlation of outputs (P, n) of unit variance."""
    count = outputs.shape[1]
    if count < 2:
        return None
    centered = outputs - outputs.mean(0)
    off_diagonal = (centered.T @ centered / len(outputs)).fill_diagonal_(0.0)
    return min(1.0, float(off_diagonal.norm()) / math.sqrt(count * (count - 1)))
