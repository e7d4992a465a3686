"""weight -> whether it looks like a fresh draw, or trained."""

import math

import torch
from torch import Tensor

_KS_LIMIT = 2.23
"""Kolmogorov-Smirnov limit of sqrt(n) * D: a true sample exceeds it once in 10,000 times."""

_TRUNCATED = 0.879626
"""Deviation of a normal distribution that is truncated at two deviations, as a share of its own."""

_ZOO_DEVIATIONS = (0.01, 0.02, 0.02 * _TRUNCATED, 0.03, 0.1)
"""Fixed deviations: VGG, transformers of torch and of timm, torchvision's SSDlite, Inception."""


def looks_trained(weight: Tensor) -> bool:
    """Tell whether a weight is unlike a fresh draw of the usual initializers.

    The values are held by a Kolmogorov-Smirnov test against the uniform, normal and truncated
    normal distributions of torch's default, He, Glorot and LeCun, and against the fixed deviations
    0.01, 0.02 (before or after truncation), 0.03 and 0.1 that model zoos use. What one of these
    drew is called trained at most once in 10,000 times.

    False means "may be fresh", and no more: training shows only where it has changed how the values
    are distributed. 300 steps of Adam at 1e-3 left 32 filters of 3 x 3 and of 7 x 7 looking fresh.
    True means "of none of these", trained or not: other deviations, zeros, constants, values that
    are not finite, and orthogonal filters that outnumber their values are called trained, too.

    Args:
        weight: (F, C, *K), at least two values.
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
    """Largest distance between the sorted values' distribution and a zero-mean one."""
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
