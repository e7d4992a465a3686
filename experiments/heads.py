"""model, images -> model with conditioned filters and a smaller head: arms of the second round.

A head that starts small leaves the first steps of Adam to the features. `experiments.heads:start`
in a study file.
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
    arm: str = "whitening",
    head: float = 0.0,
    hidden: float = 1.0,
    patches_per_image: int | None = None,
    scale: float | str | None = None,
    eps: float | None = None,
    trainable: bool = True,
) -> InitReport:
    """Apply an arm, then multiply the linear layers.

    Args:
        model: Any module with linear layers.
        images: One training batch, as the model is fed.
        seed: Of the arm.
        arm: Its name; "torch-default" takes none of the parameters below.
        head: Factor of the last linear layer's weight and bias.
        hidden: Factor of the other linear layers' weights and biases.
        patches_per_image: As for `whiten_`; so are `scale`, `eps` and `trainable`.
        scale: As for `whiten_`.
        eps: As for `whiten_`.
        trainable: As for `whiten_`.

    Returns:
        The arm's report.
    """
    given: dict[str, Any] = {}
    if arm != "torch-default":
        given = {"patches_per_image": patches_per_image, "scale": scale}
        if eps is not None:
            given["eps"] = eps
        if not trainable:
            given["trainable"] = False
    report = get_method(arm)(model, images, seed=seed, **given)
    *others, last = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module, factor in [(last, head), *((other, hidden) for other in others)]:
            for parameter in module.parameters():
                parameter.mul_(factor)
    return report
