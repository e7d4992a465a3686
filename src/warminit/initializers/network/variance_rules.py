"""model -> weights drawn by the published variance rules, through `torch.nn.init`."""

import math
import time
from functools import partial
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError, unexpected
from warminit.models.find import affine_layers, first_layer
from warminit.models.restore import errors_explained, restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.models.write import check_weight, write_values_
from warminit.report import InitReport

Scope = Literal["first", "all"]


class _Draw(Protocol):
    def __call__(self, tensor: Tensor, *, generator: torch.Generator) -> Tensor: ...


def torch_default(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "first",
) -> InitReport:
    """Draw weights as `nn.Conv2d` and `nn.Linear` do: kaiming_uniform, a = sqrt(5).

    The paper calls this baseline Kaiming (He et al., 2015). The standard deviation is 1 / sqrt(3 *
    fan_in). If the layer's weight was the model's first draw, the seed of the model gives the same
    bits.

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Used only if a linear layer over flattened patches comes first.
        seed: Seed of the draw.
        layers: Dotted name of the layer, or the module; the first convolution by default.
        scope: "first" draws this layer, "all" every convolution and linear layer.

    Returns:
        The report. Every weight lies within 1 / sqrt(fan_in).
    """
    draw = partial(nn.init.kaiming_uniform_, a=math.sqrt(5))
    return _redraw(model, images, draw, "torch-default", seed, layers, scope)


def he_normal(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "first",
) -> InitReport:
    """Draw weights from a normal distribution of deviation sqrt(2 / fan_in) (He et al., 2015).

    This is the Kaiming rule of Section 4.4. Its weights are 2.45 times as large as torch's default.

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Used only if a linear layer over flattened patches comes first.
        seed: Seed of the draw.
        layers: Dotted name of the layer, or the module; the first convolution by default.
        scope: "first" draws this layer, "all" every convolution and linear layer.

    Returns:
        The report. The weight's variance is 2 / fan_in in expectation.
    """
    draw = partial(nn.init.kaiming_normal_, nonlinearity="relu")
    return _redraw(model, images, draw, "he-normal", seed, layers, scope)


def he_uniform(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "first",
) -> InitReport:
    """Draw weights uniformly with deviation sqrt(2 / fan_in) (He et al., 2015).

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Used only if a linear layer over flattened patches comes first.
        seed: Seed of the draw.
        layers: Dotted name of the layer, or the module; the first convolution by default.
        scope: "first" draws this layer, "all" every convolution and linear layer.

    Returns:
        The report. Every weight lies within sqrt(6 / fan_in).
    """
    draw = partial(nn.init.kaiming_uniform_, nonlinearity="relu")
    return _redraw(model, images, draw, "he-uniform", seed, layers, scope)


def glorot(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "first",
) -> InitReport:
    """Draw weights uniformly with variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010).

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Used only if a linear layer over flattened patches comes first.
        seed: Seed of the draw.
        layers: Dotted name of the layer, or the module; the first convolution by default.
        scope: "first" draws this layer, "all" every convolution and linear layer.

    Returns:
        The report. Every weight lies within sqrt(6 / (fan_in + fan_out)).
    """
    return _redraw(model, images, nn.init.xavier_uniform_, "glorot", seed, layers, scope)


def orthogonal(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "first",
    gain: float = 1.0,
) -> InitReport:
    """Draw weights whose rows (or columns) are orthonormal (Saxe, McClelland & Ganguli, 2014).

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Used only if a linear layer over flattened patches comes first.
        seed: Seed of the draw.
        layers: Dotted name of the layer, or the module; the first convolution by default.
        scope: "first" draws this layer, "all" every convolution and linear layer.
        gain: Factor of the orthonormal matrix.

    Returns:
        The report. For each weight as a matrix W (out, fan_in), the smaller of W W^T and W^T W is
        gain^2 I.
    """
    draw = partial(nn.init.orthogonal_, gain=gain)
    return _redraw(model, images, draw, "orthogonal", seed, layers, scope)


def _redraw(
    model: nn.Module,
    images: Tensor,
    draw: _Draw,
    method: str,
    seed: int,
    layers: str | nn.Module | None,
    scope: Scope,
) -> InitReport:
    started = time.perf_counter()
    check_seed(seed)
    if scope not in get_args(Scope):
        raise WarminitError(f"scope={scope!r}: expected one of {', '.join(get_args(Scope))}.")
    if layers is not None and scope == "all":
        raise unexpected(
            "layers", layers, "None with scope='all', which draws every layer", "Leave one out."
        )
    with own_arithmetic(), errors_explained(model):
        first = first_layer(model, layers, images if isinstance(images, Tensor) else None)
        chosen = {first.name: first.module} if scope == "first" else affine_layers(model)
        # All are drawn before one is written, on the CPU in float32, so that every device and dtype
        # starts from the same values, and an error leaves the model as it was.
        generator = torch.Generator().manual_seed(seed)
        drawn = []
        for name, module in chosen.items():
            weight = check_weight(name, module)
            if module is first.module and first.flat is not None:  # drawn as filters are
                shape = (first.out_channels, first.in_channels, *first.kernel_size)
                values = first.as_weight(draw(torch.empty(shape), generator=generator))
            else:
                values = draw(torch.empty(weight.shape), generator=generator)
            drawn.append((weight, values))
        with torch.no_grad(), restored_on_error(chosen.values()):
            for weight, values in drawn:
                write_values_(weight, values)
            return InitReport(
                method=method,
                layer=", ".join(chosen),
                found=first.found if scope == "first" else "every convolution and linear layer",
                filters_set=sum(len(weight) for weight, _ in drawn),
                out_channels=sum(len(weight) for weight, _ in drawn),
                parameters={"scope": scope, "std": float(drawn[0][1].std(correction=0))},
                seed=seed,
                seconds=time.perf_counter() - started,
            )
