"""protocol -> optimizer, and the learning rate of every step (Section 3.3)."""

import math

import torch
from torch import Tensor, nn

from warminit.lab.study.protocol import Protocol


def learning_rate(step: int, protocol: Protocol, rates: tuple[float, float]) -> float:
    """Return the learning rate of a step, counted from 0.

    Cosine annealing (Loshchilov & Hutter, 2017, Eq. 5) as in torch's CosineAnnealingLR with T_max =
    steps: the first step uses `rates[0]`, and the step after the last would use `rates[1]`. With a
    warm-up of w steps, the first step uses `rates[0]` / w and the w-th `rates[0]`. The schedule
    covers the remaining steps.
    """
    start, end = rates
    if step < protocol.warmup:
        return start * (step + 1) / protocol.warmup
    if protocol.schedule == "constant":
        return start
    done, of = step - protocol.warmup, protocol.steps - protocol.warmup
    return end + (start - end) * (1 + math.cos(math.pi * done / of)) / 2


def build_optimizer(model: nn.Module, protocol: Protocol, rate: Tensor) -> torch.optim.Optimizer:
    """Return the protocol's optimizer in its fused form.

    Args:
        model: Model on the device of `rate`.
        protocol: Protocol with the optimizer and its weight decay.
        rate: Learning rate, one value, float32 on a GPU. Every step reads it, on a GPU without a
            copy to the host, so steps can be recorded as a CUDA graph.
    """
    parameters, decay = model.parameters(), protocol.weight_decay
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True
        )
    optimizer = torch.optim.AdamW if protocol.optimizer == "adamw" else torch.optim.Adam
    return optimizer(parameters, lr=rate, weight_decay=decay, fused=True, capturable=rate.is_cuda)
