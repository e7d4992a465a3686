"""model, images, a way to fit one layer -> layers fitted in execution order, InitReport."""

import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from warminit.conditioning import Statistics
from warminit.errors import WarminitError
from warminit.images import as_model_input, check_images, standardization
from warminit.init_report import InitReport
from warminit.initializers.forward import Fit, ForwardPass, check_values
from warminit.layers import find_layer
from warminit.rules import check_seed

Scope = Literal["first", "all"]

_AFFINE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_WHOLE_MODEL = "(the model itself)"


def fit_layers_(
    model: nn.Module,
    images: Tensor,
    fit: Fit,
    *,
    arm: str,
    seed: int,
    scope: Scope,
    parameters: Mapping[str, Any],
    layer: str | nn.Module | None = None,
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Run the model once, fit each layer when the pass reaches it, and write at the end.

    One pass is enough, since each layer hands its fitted output to those after it. The pass works
    on copies of every parameter and buffer, without gradients, with every module in eval mode
    (BatchNorm uses and keeps its running statistics, dropout is off) and on random generators that
    are put back. Hooks that the model has are called, as in any forward pass.

    Args:
        model: Any module with an `nn.Conv2d`.
        images: (N, C, H, W), one training batch as the model is fed.
        fit: Fits one layer.
        arm: Name for the report.
        seed: Of the generator of `fit`, and of whatever the model draws in the pass.
        scope: "first" fits the input layer; "all" every convolution and linear layer that runs.
        parameters: What the report lists.
        layer: The input layer: dotted name or module; the first convolution by default.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report, with the layers in execution order; its notes name those that were left alone.

    Raises:
        WarminitError: If the model cannot run on the images, or no layer can be fitted; the model
            is then bit-identical to before.
    """
    started = time.perf_counter()
    check_seed(seed)
    if scope not in get_args(Scope):
        raise WarminitError(
            f"scope={scope!r}; 'first' or 'all' is needed: the input layer, or every layer that "
            "runs. Choose one."
        )
    target = find_layer(model, layer)
    checked = check_images(images)
    batch = as_model_input(checked, standardization(mean, std, checked.shape[1]))
    check_values(model)
    wanted: dict[str, nn.Module] = {target.name: target.module}
    if scope == "all":
        modules = model.named_modules()
        wanted = {name or _WHOLE_MODEL: m for name, m in modules if isinstance(m, _AFFINE)}
    walk = ForwardPass(fit, torch.Generator().manual_seed(seed), wanted, target.module)
    copies = walk.run(model, batch.to(target.module.weight), seed)
    for name in walk.waiting:
        walk.notes.setdefault("left alone, it does not run on these images", []).append(name)
    notes = tuple(f"{', '.join(names)}: {text}" for text, names in walk.notes.items())
    if not walk.fitted:
        raise WarminitError(
            f"{arm} can fit no layer of {type(model).__name__}, and at least one is needed "
            f"({'; '.join(notes)[:160]}). Pass another layer=, or the batch that the model is fed."
        )
    keys = {id(parameter): key for key, parameter in model.named_parameters()}
    with torch.no_grad():
        for name in walk.fitted:
            for parameter in wanted[name].parameters(recurse=False):
                parameter.copy_(copies[keys[id(parameter)]])
    return InitReport(
        arm=arm,
        layer=", ".join(walk.fitted),
        found=target.found if scope == "first" else "every layer that runs, in execution order",
        filters_set=sum(walk.fitted.values()),
        out_channels=sum(len(wanted[name].get_parameter("weight")) for name in walk.fitted),
        parameters={"scope": scope, **parameters},
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def is_constant(outputs: Tensor, std: Tensor, weight: Tensor) -> Tensor:
    """Tell where outputs do not vary beyond the rounding of the dtype that made them.

    Args:
        outputs: (P, n), or all values of a layer (P * n,).
        std: Their standard deviation over the first axis.
        weight: Its dtype is the one that the layer computes in.
    """
    rounding = max(1e-5, 4 * torch.finfo(weight.dtype).eps)
    return std <= rounding * outputs.abs().amax(0)
