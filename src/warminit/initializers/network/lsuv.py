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

    Mishkin & Matas (2016), "All you need is a good init", Algorithm 1. Layers are fitted in
    execution order. The weights are divided by the deviation of the layer's whole output while
    |Var(output) - 1| >= tol, at most `max_iterations` times. Two details are from their code
    (ducha-aiki/LSUV-pytorch). First, `tol` is 0.1; that code tests the deviation, the paper the
    variance. Second, the biases begin at zero. Each correction then moves them by the mean of the
    whole output, one number per layer, so this mean becomes 0. BatchNorm runs in eval mode, as in
    their code.

    Args:
        model: Any module with a convolution.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or batches of
            a loader.
        seed: Seed of the orthonormal draws.
        layers: Layer for scope="first", by dotted name or as a module; found as for `prewarm_` by
            default.
        scope: "all" as published, for every convolution and linear layer that runs, or "first".
        tol: Tolerance of the variance, above 0.
        max_iterations: Maximum number of corrections per layer. A layer is affine, so one is enough
            up to rounding.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report. In eval mode the output of each set layer has |variance - 1| < `tol` on these
        images, unless a note says otherwise. Its weight is a multiple of an orthonormal matrix. A
        layer with a constant output does not change.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

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
            f"tol={tol!r}: expected a finite number above 0, as the variance is never exactly 1. "
            "Leave it out for 0.1."
        )
    count = check_count("max_iterations", max_iterations)
    if layers is not None and scope == "all":
        raise WarminitError(
            f"layers={layers!r} with scope='all': expected only one of the two, since 'all' sets "
            "every layer that runs. Pass scope='first', or leave layers out."
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
            layer.note("not set, its output is constant")
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
