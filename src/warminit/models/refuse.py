"""model that has no layer to condition -> the sentence that says why, and what to do."""

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
    """Refuse a convolution that only gives another layer its offsets, say."""
    other = survey.side_branches().get(name) if survey is not None else None
    if other is not None:
        raise WarminitError(
            f"{name} is a side branch: {other} takes the same images and a second tensor, such as "
            f"the offsets that {name} gives, and is no convolution of torch.nn. Pass layers= to "
            "name the layer to set."
        )


def refuse_programs(model: nn.Module, named: Mapping[str, nn.Module]) -> None:
    """Refuse a scripted or an exported model."""
    kinds = ((torch.jit.ScriptModule, "scripted"), (torch.fx.GraphModule, "exported"))
    for kind, how in kinds:
        if any(isinstance(each, kind) for each in named.values()):
            raise WarminitError(
                f"{type(model).__name__} is {how}: a program without modules of torch.nn, so its "
                f"layers are not known. Condition the model before it is {how}."
            )


def refuse_quantized(named: dict[str, nn.Module]) -> None:
    """Refuse layers whose weights are quantized."""
    for name, module in named.items():
        if "quantized" in type(module).__module__.split("."):
            check_weight(name, module)


def pass_images(named: Mapping[str, nn.Module], survey: Survey | None) -> str:
    """Return the next step where only images could tell the layer; "" elsewhere."""
    if survey is not None or not any(isinstance(each, nn.Linear) for each in named.values()):
        return ""
    return " Only images tell whether a linear layer takes flattened patches: pass a tensor images."


def candidates(named: dict[str, nn.Module]) -> str:
    """Return the layers with weights as a sentence."""
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
