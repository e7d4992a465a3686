"""model, images -> input layer with Pre-Warm's count and scale, and other content."""

from functools import partial
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

from warminit.conditioning import RuleOptions, condition_
from warminit.init_report import InitReport
from warminit.prewarm import Engine, kmeans_filters
from warminit.rules import Hyperparameters


def norm_matched_random(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layer: str | nn.Module | None = None,
    engine: Engine = "fast",
    **options: Unpack[RuleOptions],
) -> InitReport:
    """Set as many filters as Pre-Warm does, Gaussian, with its bank's standard deviation.

    The control for scale: conditioned filters are larger than the rest of the bank, so a gain over
    `torch-default` may come from their scale alone. A gain over this arm comes from their content.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        seed: Of Pre-Warm, and of the Gaussian draw.
        layer: Dotted name of the layer, or the module; the first convolution by default.
        engine: Of the Pre-Warm that is matched.
        **options: As for `prewarm_`.

    Returns:
        The report; the set filters' standard deviation equals Pre-Warm's at the same seed.
    """
    return condition_(
        model,
        images,
        partial(_matched_gaussian, engine=engine),
        arm="norm-matched-random",
        seed=seed,
        layer=layer,
        parameters={"engine": engine},
        **options,
    )


def _matched_gaussian(
    batch: Tensor,
    hyper: Hyperparameters,
    kernel_size: tuple[int, ...],
    seed: int,
    *,
    engine: Engine,
) -> Tensor:
    matched = kmeans_filters(batch, hyper, kernel_size, seed, engine=engine)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(matched.shape, generator=generator, dtype=torch.float64)
    std = float(np.std(matched.cpu().double().numpy()))
    return (drawn / float(np.std(drawn.numpy())) * std).float().to(batch.device)
