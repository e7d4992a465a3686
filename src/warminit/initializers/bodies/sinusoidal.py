"""model -> sine waves in every layer, the same in every run."""

import math
import time

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
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
    write_,
)
from warminit.initializers.stems.subject import Subject
from warminit.models.find import affine_layers
from warminit.models.surroundings import own_arithmetic
from warminit.models.survey import unwrap
from warminit.report import InitReport


@own_arithmetic()
def sinusoidal(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    gain: float = math.sqrt(2.0),
    content: Content = "own",
) -> InitReport:
    """Set every layer's filters to sine waves (Fernández-Hernández et al., 2025).

    "Sinusoidal Initialization, Time for a New Start" (arXiv:2505.12909). A weight has F filters of
    n values each. Value j of filter i, both counted from zero, is a sin((i + 1) (2 pi j / n + 2 pi
    / F)). The amplitude a gives the weight the variance gain^2 / fan_in. This is the formula of the
    authors' code (jmiravet/Sinusoidal-Initialization). As there, the query, key and value of
    `nn.MultiheadAttention` are three weights, and biases of convolutions and linear layers become
    zero.

    Args:
        model: Any module with a convolution or linear layer.
        images: Not used.
        seed: Seed of the control's draws; the sine waves are not random.
        gain: Square root of the variance times fan_in, above 0; sqrt(2) by default.
        content: "own", or "random": the control, Gaussian weights of the same norms.

    Returns:
        The report. Layers of the same shape get the same weight.

    Raises:
        WarminitError: If a weight cannot be written; the model is then bit-identical to before.
    """
    started = time.perf_counter()
    check_seed(seed)
    check_content(content)
    gain = check_number("gain", gain)
    model = unwrap(model)
    generator = torch.Generator().manual_seed(seed)
    changes: list[Change] = []
    biases: list[Change] = []
    stay: list[str] = []
    for name, module, attribute in _weights(model):
        weight = check_parameter(name, module, attribute)
        if attribute == "weight" and computes_its_weight(module):
            stay.append(name)
            continue
        parts = 3 if attribute == "in_proj_weight" else 1
        shape = (len(weight) // parts, *weight.shape[1:])
        values = sine_bank(shape, gain)
        if float(values.abs().max()) < 1e-9:
            stay.append(name)
            continue
        made = [random_like(values, generator) if content == "random" else values] * parts
        changes.append(Change(name, module, attribute, torch.cat(made)))
        bias = getattr(module, "bias", None)
        if attribute == "weight" and bias is not None:
            biases.append(Change(f"{name}.bias", module, "bias", torch.zeros(bias.shape)))
    if not changes:
        raise WarminitError(
            f"{type(model).__name__} has no convolution or linear layer to set: expected at least "
            "one with a plain weight. Choose another initializer."
        )
    write_([*changes, *biases])
    filters = sum(len(each.values) for each in changes)
    return InitReport(
        method="sinusoidal",
        layer=", ".join(change.name for change in changes),
        found="every convolution, linear layer and attention",
        filters_set=filters,
        out_channels=filters,
        parameters={"gain": gain, "content": content},
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=(f"not set, they compute their weight or have zero waves: {', '.join(stay)}",)
        if stay
        else (),
    )


def sine_bank(shape: tuple[int, ...], gain: float) -> Tensor:
    """Compute sine waves for a weight (F, C, *K), float64, of variance gain^2 / fan_in."""
    filters, values = shape[0], math.prod(shape[1:])
    phase = 2 * math.pi * torch.arange(values, dtype=torch.float64) / values
    number = torch.arange(1, filters + 1, dtype=torch.float64)
    waves = torch.sin(number[:, None] * (phase + 2 * math.pi / filters))
    # One filter of one or two values is zero everywhere: its whole turns meet no other phase.
    deviation = waves.std() if float(waves.abs().max()) > 1e-9 else torch.ones(())
    return (waves * (gain / math.sqrt(values) / deviation)).reshape(shape)


def _weights(model: nn.Module) -> list[tuple[str, nn.Module, str]]:
    """Return every weight to set: full name, module, name in the module."""
    layers = {id(each): name for name, each in affine_layers(model).items()}
    found = []
    for name, module in model.named_modules():
        dotted = f"{name}." if name else ""
        if id(module) in layers:
            found.append((name or "(the model itself)", module, "weight"))
        elif isinstance(module, nn.MultiheadAttention):
            names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
            found += [
                (f"{dotted}{each}", module, each)
                for each in names
                if getattr(module, each, None) is not None
            ]
    return found
