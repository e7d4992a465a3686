"""model -> large depthwise filters that are smooth, as in trained models."""

import time

import torch
from torch import Tensor, nn

from warminit.checks import check_count, check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.bodies.parameters import (
    Change,
    Content,
    check_content,
    check_number,
    check_parameter,
    computes_its_weight,
    random_like,
    whole,
    write_,
)
from warminit.initializers.stems.subject import Subject
from warminit.models.ranks import all_or_none
from warminit.models.record import CONVOLUTIONS
from warminit.models.surroundings import own_arithmetic
from warminit.report import InitReport

SMALLEST = 5
"""Smallest kernel size with structure to set (ConvMixer has 5 and more)."""


@own_arithmetic()
def convcov(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    sigma: float = 0.16,
    growth: float = 0.32,
    acceleration: float = 2.88,
    smallest: int = SMALLEST,
    content: Content = "own",
) -> InitReport:
    """Draw large depthwise filters with the covariance of trained ones (Trockman et al., 2023).

    "Understanding the Covariance Structure of Convolutional Filters" (arXiv:2210.03651): filters
    are samples of a Gaussian whose covariance has a closed form. With z(p) = exp(-|p - center|^2 /
    (2 s)) for a position p of the kernel and c(p, q) = exp(-|p - q|^2 / (2 s)), the covariance is
    the symmetric part of z(p) (c(p, q) - z(q) / 2): neighbours resemble each other, and filters are
    large at their center. The variance s = sigma + growth d + acceleration d^2 / 2 grows with the
    depth d, from 0 at the first of these layers to 1 at the last. The authors' repository is empty;
    this form and these numbers follow their description and may differ in detail. Negative
    eigenvalues become zero. Each layer keeps its root mean square, so only the covariance changes.

    Args:
        model: Any module with depthwise convolutions.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; one
            image shows the order of the layers.
        seed: Seed of the draws.
        sigma: Variance at the first layer, in squared pixels, above 0.
        growth: Growth of the variance over the depth, from 0 up.
        acceleration: Growth of `growth` over the depth, from 0 up.
        smallest: Size of the smallest kernel to set, along its longest side.
        content: "own", or "random": the control, white filters with the same norms.

    Returns:
        The report; biases and all other layers stay.

    Raises:
        WarminitError: If there is no large depthwise convolution; the model is then bit-identical
            to before.
    """
    started = time.perf_counter()
    check_seed(seed)
    check_content(content)
    sigma = check_number("sigma", sigma)
    growth = check_number("growth", growth, above=False)
    acceleration = check_number("acceleration", acceleration, above=False)
    smallest = check_count("smallest", smallest)
    subject = Subject.of(model, images)
    with all_or_none():
        subject.first()
        order = subject.survey.order()
    named = dict(subject.survey.model.named_modules())
    layers = {
        name: named[name]
        for name in order
        if name in named and _is_large_depthwise(named[name], smallest)
    }
    for name, module in layers.items():
        check_parameter(name, module)
    plain = {name: each for name, each in layers.items() if not computes_its_weight(each)}
    if not plain:
        raise WarminitError(
            f"smallest={smallest}: {type(model).__name__} runs no depthwise convolution of this "
            "size with a plain weight: expected at least one. Choose another initializer, or a "
            "smaller size."
        )
    generator = torch.Generator().manual_seed(seed)
    control = torch.Generator().manual_seed(seed)
    changes = []
    for index, (name, module) in enumerate(plain.items()):
        depth = index / max(len(plain) - 1, 1)
        variance = sigma + growth * depth + acceleration * depth**2 / 2
        before = whole(module.get_parameter("weight")).double().cpu()
        values = _sampled(before.shape, variance, generator)
        values *= before.square().mean().sqrt() / values.square().mean().sqrt()
        if content == "random":
            values = random_like(values, control, by_row=True)
        changes.append(Change(name, module, "weight", values))
    write_(changes)
    filters = sum(len(each.values) for each in changes)
    skipped = len(layers) - len(plain)
    notes = [f"{skipped} layers not set: they compute their weight"] if skipped else []
    return InitReport(
        method="convcov",
        layer=", ".join(plain),
        found=f"every depthwise convolution of {smallest} or more, in execution order",
        filters_set=filters,
        out_channels=filters,
        parameters={
            "sigma": sigma,
            "growth": growth,
            "acceleration": acceleration,
            "content": content,
        },
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=(*([subject.note] if subject.note else []), *notes),
    )


def filter_covariance(kernel: tuple[int, ...], variance: float) -> Tensor:
    """Compute the covariance of a filter's values in closed form.

    Args:
        kernel: Size of the kernel, D values in all.
        variance: Variance of the Gaussian that positions are weighted by, in squared pixels.

    Returns:
        (D, D) float64, symmetric; small eigenvalues may be negative.
    """
    axes = [torch.arange(size, dtype=torch.float64) - size // 2 for size in kernel]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    centered = torch.exp(-places.square().sum(1) / (2 * variance))
    apart = (places[:, None] - places[None]).square().sum(2)
    alike = torch.exp(-apart / (2 * variance))
    product = centered[:, None] * (alike - centered[None] / 2)
    return (product + product.T) / 2


def _sampled(shape: tuple[int, ...], variance: float, generator: torch.Generator) -> Tensor:
    """Draw filters (F, 1, *K) of this covariance."""
    values, vectors = torch.linalg.eigh(filter_covariance(tuple(shape[2:]), variance))
    drawn = torch.randn(shape[0], len(values), generator=generator, dtype=torch.float64)
    filters: Tensor = (drawn * values.clamp(min=0).sqrt()) @ vectors.T
    return filters.reshape(shape)


def _is_large_depthwise(module: nn.Module, smallest: int) -> bool:
    return (
        isinstance(module, CONVOLUTIONS)
        and module.groups > 1
        and module.groups == module.in_channels
        and max(module.kernel_size) >= smallest
    )
