"""model without a layer to condition -> an error with the reason and the next step."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
from torch import nn

from warminit.errors import WarminitError
from warminit.models.layer import channels_of
from warminit.models.record import CONVOLUTIONS, PARAMETRIC
from warminit.models.survey import Survey
from warminit.models.write import check_weight


def refuse_side_branch(name: str, survey: Survey | None) -> None:
    """Refuse a convolution that only computes, for example, another layer's offsets."""
    other = survey.side_branches().get(name) if survey is not None else None
    if other is not None:
        raise WarminitError(
            f"{name} is a side branch: {other} receives the same images and a second tensor, for "
            f"example the offsets of {name}. Pass layers= to name the layer to set."
        )


def refuse_programs(model: nn.Module, named: Mapping[str, nn.Module]) -> None:
    """Refuse a scripted or an exported model."""
    kinds = ((torch.jit.ScriptModule, "scripted"), (torch.fx.GraphModule, "exported"))
    for kind, how in kinds:
        if any(isinstance(each, kind) for each in named.values()):
            raise WarminitError(
                f"{type(model).__name__} is {how}: expected modules of torch.nn, to find its "
                f"layers. Condition the model before it is {how}."
            )


def refuse_quantized(named: dict[str, nn.Module]) -> None:
    """Refuse layers whose weights are quantized."""
    for name, module in named.items():
        if "quantized" in type(module).__module__.split("."):
            check_weight(name, module)


def pass_images(named: Mapping[str, nn.Module], survey: Survey | None) -> str:
    """Return the next step if only images could show the layer, else ""."""
    if survey is not None or not any(isinstance(each, nn.Linear) for each in named.values()):
        return ""
    return " Only images show whether a linear layer takes patches: pass a tensor images."


def candidates(named: dict[str, nn.Module]) -> str:
    """List the layers with weights in a sentence."""
    rows = []
    for name, module in named.items():
        if isinstance(module, PARAMETRIC):
            kind = type(module).__name__
            width: Any = getattr(module, "in_channels", None)
            width = channels_of(module) if isinstance(module, CONVOLUTIONS) else width
            rows.append(f"{name} ({kind}, {width} channels)" if width else f"{name} ({kind})")
    shown = ", ".join(rows[:6]) or "none"
    more = f" and {len(rows) - 6} more" if len(rows) > 6 else ""
    return f"Layers with weights: {shown}{more}."
