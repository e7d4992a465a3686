"""model, images -> model with one candidate's filters and a small head: arms of the second round.

With the small head the seeds of the first round agree better, so that ingredients can be told apart
sooner. `experiments.both:start` in a study file.
"""

from typing import Any

import torch
from torch import Tensor, nn

from warminit.initializers import get_method
from warminit.report import InitReport


def start(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    arm: str = "experiments.candidates:start",
    head: float = 0.1,
    patches_per_image: int | None = None,
    options: dict[str, Any] | None = None,
) -> InitReport:
    """Apply an arm, then multiply the last linear layer's weight and bias by `head`.

    Args:
        model: Any module with a linear layer.
        images: One training batch, as the model is fed.
        seed: Of the arm.
        arm: Its name, or module:function.
        head: The factor.
        patches_per_image: Derived from the data set by the laboratory; `options` may give another.
        options: Further parameters of the arm.

    Returns:
        The arm's report.
    """
    derived = {} if arm == "torch-default" else {"patches_per_image": patches_per_image}
    given = derived | (options or {})
    report = get_method(arm)(model, images, seed=seed, **given)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(head)
    return report
