"""protocol -> optimizer, and the learning rate of every step (Section 3.3)."""

import math

import torch
from torch import Tensor, nn

from warminit.lab.study.protocol import Protocol


def learning_rate(step: int, protocol: Protocol, rates: tuple[float, float]) -> float:
    """Return the learning rate of a step, counted from 0.

    Cosine annealing (Loshchilov & Hutter, 2017, Eq. 5) as torch's CosineAnnealingLR has it with
    T_max = steps: the first step takes `rates[0]`, and after the last one it would be `rates[1]`.
    With a warm-up of w steps the first takes `rates[0]` / w, the w-th all of it, and the schedule
    begins after them, over the steps that are left.
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
        model: On the device of `rate`.
        protocol: Names the optimizer and its weight decay.
        rate: The learning rate, one value, float32 on a GPU; read anew at every step, on a GPU
            without a copy to the host, so that steps can be recorded as a CUDA graph.
    """
    parameters, decay = model.parameters(), protocol.weight_decay
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True
        )
    optimizer = torch.optim.AdamW if protocol.optimizer == "adamw" else torch.optim.Adam
    return optimizer(parameters, lr=rate, weight_decay=decay, fused=True, capturable=rate.is_cuda)
