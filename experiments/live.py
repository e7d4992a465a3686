"""model, images -> SimpleCNN with an arm's start and a hidden layer that a step moves less.

Adam moves every weight by the learning rate, so a hidden layer of 4,096 inputs that are never
negative is thrown beyond its values' spread by one step, and most of its units never answer again.
With larger weights, and inputs or a last layer as much smaller, the network computes the same, and
the same step is a smaller share of the weights. `experiments.live:start` in a study file.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from warminit.initializers import get_method
from warminit.report import InitReport


def start(
    model: Any,
    images: Tensor,
    *,
    seed: int,
    arm: str = "torch-default",
    factor: float = 10.0,
    divided: Literal["input", "output"] = "input",
    patches_per_image: int | None = None,
) -> InitReport:
    """Apply an arm, then multiply the hidden layer's weight and divide what comes before or after.

    ReLU and pooling pass a factor on, so the outputs stay as they are but for rounding.

    Args:
        model: A SimpleCNN, for "input" with BatchNorm.
        images: One training batch, as the model is fed.
        seed: Of the arm.
        arm: Its name.
        factor: Of the hidden layer's weight.
        divided: By the factor, "input": the weight and bias of the BatchNorm that feeds the hidden
            layer; "output": the last layer's weight, and then the hidden bias is multiplied too.
        patches_per_image: Derived from the data set by the laboratory.

    Returns:
        The arm's report.
    """
    given = {} if arm == "torch-default" else {"patches_per_image": patches_per_image}
    report = get_method(arm)(model, images, seed=seed, **given)
    with torch.no_grad():
        model.fc1.weight.mul_(factor)
        if divided == "input":
            model.bn2.weight.div_(factor)
            model.bn2.bias.div_(factor)
        else:
            model.fc1.bias.mul_(factor)
            model.fc2.weight.div_(factor)
    return report
