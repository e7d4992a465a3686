"""model, images -> orthonormal layers whose outputs have unit variance (Mishkin & Matas, 2016)."""

from functools import partial

import torch
from torch import nn

from warminit.checks import check_count
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.network.forward import RunningLayer
from warminit.initializers.network.layerwise import Scope, fit_layers_, is_constant
from warminit.initializers.stems.subject import Statistics
from warminit.report import InitReport


def lsuv(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "all",
    tol: float = 0.1,
    max_iterations: int = 10,
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Draw every layer orthonormal, and scale it until its output has unit variance.

    Mishkin & Matas (2016), "All you need is a good init", Algorithm 1: layer by layer in execution
    order, while |Var(output) - 1| >= tol and fewer than `max_iterations` corrections are made, the
    weights are divided by the deviation of the layer's whole output. Two things are from their code
    (ducha-aiki/LSUV-pytorch): `tol` is 0.1 (which that code asks of the deviation, the paper of the
    variance), and the biases of these layers are first zero, then moved with each correction by the
    mean of the whole output, one number a layer, so that this mean becomes 0. BatchNorm runs in
    eval mode, as its author does.

    Args:
        model: Any module with a convolution.
        images: (N, C, *size), one training batch as the model is fed, or batches of them.
        seed: Of the orthonormal draws.
        layers: With scope="first", the layer: dotted name or module; found as for `prewarm_` by
            default.
        scope: "all" as published, for every convolution and linear layer that runs, or "first".
        tol: Above 0.
        max_iterations: Corrections of a layer at most. A layer is affine, so one is enough but for
            rounding.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report. In eval mode the output of each layer that was set has |variance - 1| < `tol` on
        these images, unless a note says otherwise, and its weight is a multiple of an orthonormal
        matrix. A layer whose output is constant is left as it was.

    Raises:
        WarminitError: For any input that cannot be used; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
        >>> images = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> report = lsuv(model, images, seed=0)
        >>> round(model[0](images).var().item(), 3)
        1.0
    """
    if type(tol) not in {int, float} or not 0 < tol < float("inf"):
        raise WarminitError(
            f"tol={tol!r}; a finite number above 0 is needed, as the variance is never exactly 1. "
            "Leave it out for 0.1."
        )
    count = check_count("max_iterations", max_iterations)
    if layers is not None and scope == "all":
        raise WarminitError(
            f"layers={layers!r} was given with scope='all', which takes every layer that runs; one "
            "of the two is needed. Pass scope='first' with it, or leave it out."
        )
    return fit_layers_(
        model,
        images,
        partial(_unit_variance, tol=float(tol), max_iterations=count),
        method="lsuv",
        seed=seed,
        scope=scope,
        parameters={"tol": float(tol), "max_iterations": count},
        layers=layers,
        mean=mean,
        std=std,
    )


def _unit_variance(
    layer: RunningLayer, generator: torch.Generator, *, tol: float, max_iterations: int
) -> int:
    start = torch.empty(layer.weight.shape, dtype=torch.float64)
    layer.weight.copy_(nn.init.orthogonal_(start, generator=generator))
    if layer.bias is not None:
        layer.bias.zero_()
    for iteration in range(max_iterations + 1):
        outputs = layer.run().flatten()
        mean, std = outputs.mean(), outputs.std(correction=0)
        if bool(is_constant(outputs, std, layer.weight)):
            layer.note("left alone, its output is constant")
            return 0
        variance = float(std.square())
        if abs(variance - 1) < tol:
            break
        if iteration == max_iterations:
            layer.note(f"variance {variance:.3g} after {max_iterations} iterations")
            break
        layer.weight.div_(std)
        if layer.bias is not None:
            # As the published code at its first correction, where the bias is still zero.
            layer.bias.sub_(mean).div_(std)
    return len(layer.weight)
