"""weight -> whether it looks freshly drawn or trained."""

import math

import torch
from torch import Tensor

_KS_LIMIT = 2.23
"""Kolmogorov-Smirnov limit of sqrt(n) * D: a true sample exceeds it once in 10,000 times."""

_TRUNCATED = 0.879626
"""Deviation of a normal distribution truncated at two deviations, as a share of the full one."""

_ZOO_DEVIATIONS = (0.01, 0.02, 0.02 * _TRUNCATED, 0.03, 0.1)
"""Fixed deviations of VGG, transformers of torch and timm, torchvision's SSDlite, Inception."""


def looks_trained(weight: Tensor) -> bool:
    """Tell whether a weight differs from a fresh draw of the usual initializers.

    A Kolmogorov-Smirnov test compares the values with the uniform, normal and truncated normal
    distributions of torch's default, He, Glorot and LeCun. It also compares them with the fixed
    deviations of model zoos: 0.01, 0.02 (before or after truncation), 0.03 and 0.1. A fresh draw of
    these is called trained at most once in 10,000 times.

    False means only "may be fresh": training is visible only if it changed the distribution of the
    values. 300 steps of Adam at 1e-3 left 32 filters of 3 x 3 and of 7 x 7 looking fresh. True
    means "from none of these", trained or not. It also covers other deviations, zeros, constants,
    values that are not finite, and orthogonal filters that outnumber their values.

    Args:
        weight: Weight (F, C, *K) with at least two values.
    """
    values = weight.detach().float().flatten().cpu().double().sort().values
    if not bool(torch.isfinite(values).all()) or bool(values[0] == values[-1]):
        return True
    fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
    variances = [1 / fan_in, 1 / fan_out, 2 / fan_in, 2 / fan_out, 2 / (fan_in + fan_out)]
    deviations = [math.sqrt(v) for v in (1 / (3 * fan_in), *variances)]
    deviations += _ZOO_DEVIATIONS
    return all(
        _ks_distance(values, deviation, kind) > _KS_LIMIT / math.sqrt(values.numel())
        for deviation in deviations
        for kind in ("uniform", "normal", "truncated")
    )


def _ks_distance(values: Tensor, deviation: float, kind: str) -> float:
    """Return the largest distance between the values' distribution and a zero-mean one."""
    if kind == "uniform":
        bound = deviation * math.sqrt(3)
        expected = ((values / bound + 1) / 2).clamp(0, 1)
    elif kind == "normal":
        expected = torch.special.ndtr(values / deviation)
    else:
        # Truncated at two deviations of the normal behind it.
        z = (values / deviation * _TRUNCATED).clamp(-2, 2)
        edge = torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64))
        expected = (torch.special.ndtr(z) - edge) / (1 - 2 * edge)
    n = values.numel()
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    return float(torch.maximum(steps - expected, expected - steps + 1 / n).max())
