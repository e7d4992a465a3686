"""model, images, a function that fits a layer -> layers fitted in execution order, InitReport."""

import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.source import Images
from warminit.initializers.network.forward import Fit, ForwardPass, check_values
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.models.find import affine_layers
from warminit.models.ranks import agreed, agreed_tensor, all_or_none
from warminit.models.record import WHOLE_MODEL
from warminit.models.restore import errors_explained, restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.models.survey import unwrap
from warminit.report import InitReport

Scope = Literal["first", "all"]

_IN_ORDER = "every layer that runs, in execution order"


def fit_layers_(
    model: nn.Module,
    images: Images,
    fit: Fit,
    *,
    method: str,
    seed: int,
    scope: Scope,
    parameters: Mapping[str, Any],
    layers: str | nn.Module | None = None,
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Run the model once, fit each layer as the pass reaches it, and write at the end.

    One pass is enough, since each layer passes its fitted output to the next. The pass works on
    copies of every parameter and buffer, without gradients. Every module is in eval mode: BatchNorm
    uses and keeps its running statistics, dropout is off. The random generators are restored
    afterwards. The model's hooks run as in any forward pass. Under an initialized process group
    every rank must call; all ranks get the result of rank 0's images.

    Args:
        model: Any module with a convolution, wrapped or not.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or batches of
            a loader.
        fit: Function that fits one layer.
        method: Name for the report.
        seed: Seed of the generator of `fit`, and of the model's own draws in the pass.
        scope: "first" fits the input layer; "all" every convolution and linear layer that runs.
        parameters: Values that the report lists.
        layers: Input layer, by dotted name or as a module; the first convolution by default.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report, with the layers in execution order; its notes name the layers that were not set.

    Raises:
        WarminitError: If the model cannot run on the images, or no layer can be fitted. The model
            is then bit-identical to before.
    """
    started = time.perf_counter()
    check_seed(seed)
    if scope not in get_args(Scope):
        raise WarminitError(
            f"scope={scope!r}: expected 'first' or 'all': the input layer, or every layer that "
            "runs. Choose one."
        )
    subject = Subject(model, images, mean=mean, std=std)
    with own_arithmetic(), errors_explained(model):
        model = unwrap(model)
        with all_or_none():
            target = subject.first(layers, takes_images=False)
            check_values(model)
            wanted: dict[str, nn.Module] = {target.name: target.module}
            if scope == "all":
                wanted = {name or WHOLE_MODEL: each for name, each in affine_layers(model).items()}
            walk = ForwardPass(fit, torch.Generator().manual_seed(seed), wanted, target.module)
            weight = target.module.weight
            # A copy: a model may write into what it is fed.
            batch = subject.as_fed(subject.images).to(weight.device, weight.dtype, copy=True)
            copies = walk.run(model, batch, seed)
            for name in walk.waiting:
                text = "not set, it does not run on these images"
                walk.notes.setdefault(text, []).append(name)
            notes = [f"{', '.join(names)}: {text}" for text, names in walk.notes.items()]
            if not walk.fitted:
                raise WarminitError(
                    f"{method} can fit no layer of {type(model).__name__}, and at least one is "
                    f"needed ({'; '.join(notes)[:160]}). Pass the batch that the model is fed, or "
                    "name another layer with layers=."
                )
        fitted = agreed(walk.fitted)
        keys = {id(parameter): key for key, parameter in model.named_parameters()}
        with torch.no_grad(), restored_on_error(wanted[name] for name in fitted):
            for name in fitted:
                for parameter in wanted[name].parameters(recurse=False):
                    parameter.copy_(agreed_tensor(copies[keys[id(parameter)]]))
            return InitReport(
                method=method,
                layer=", ".join(fitted),
                found=target.found if scope == "first" else _IN_ORDER,
                filters_set=sum(fitted.values()),
                out_channels=sum(len(wanted[name].get_parameter("weight")) for name in fitted),
                parameters={"scope": scope, **parameters},
                seed=seed,
                seconds=time.perf_counter() - started,
                notes=(*([] if subject.note is None else [subject.note]), *notes),
            )


def is_constant(outputs: Tensor, std: Tensor, weight: Tensor) -> Tensor:
    """Tell which outputs vary no more than the rounding of their dtype.

    Args:
        outputs: Outputs (P, n), or all values of a layer (P * n,).
        std: Standard deviation of the outputs over the first axis.
        weight: Weight in the dtype that the layer computes in.
    """
    rounding = max(1e-5, 4 * torch.finfo(weight.dtype).eps)
    return std <= rounding * outputs.abs().amax(0)
