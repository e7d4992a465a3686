"""model, training split, protocol -> one optimizer step per call, all on the device."""

from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

from warminit.lab.networks.fused import training_forward
from warminit.lab.runs.batches import Split, batch_plan, planned_batch
from warminit.lab.runs.evaluate import predict
from warminit.lab.runs.rates import build_optimizer, learning_rate
from warminit.lab.study.protocol import Protocol

PLANNED_STEPS = 8192
"""Steps with batches on the device at once (16 MiB at batch 256): all of the paper's 5,000."""


class Stepper:
    """Execute the steps of one run.

    The next images, the learning rate and the position of the loss are read from tables and a
    counter on the device. A call needs nothing from the host and is always the same work, so a GPU
    can record and replay it.

    Args:
        model: Model in training mode on the device of `training`; trained in place.
        training: The training split.
        n_classes: Width of the model's output.
        protocol: Protocol of the training.
        seed: Seed of the batches.
        rates: First and last learning rate.

    Attributes:
        losses: Losses of the finished steps, float32 (steps,), on the device.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Split,
        n_classes: int,
        protocol: Protocol,
        seed: int,
        rates: tuple[float, float],
    ) -> None:
        device, steps = training.images.device, protocol.steps
        self.losses = torch.empty(steps, device=device)
        self._forward = training_forward(model)
        self._training = training
        self._n_classes = n_classes
        self._precision = protocol.precision
        self._done = torch.zeros(1, dtype=torch.int64, device=device)
        self._plan = batch_plan(
            len(training.images), protocol.batch_size, seed, augmentation=protocol.augmentation
        )
        rows = 1 if protocol.augmentation == "none" else 4
        shape = (min(steps, PLANNED_STEPS), rows, protocol.batch_size)
        self._planned = torch.empty(shape, dtype=torch.int64, device=device)
        # A GPU's fused optimizers take a learning rate in float32, those of a CPU any.
        self._rates = torch.tensor(
            [learning_rate(step, protocol, rates) for step in range(steps)],
            dtype=torch.float32 if device.type == "cuda" else torch.float64,
        ).to(device)
        self._rate = self._rates[:1].clone()
        self._optimizer = build_optimizer(model, protocol, self._rate)

    def plan(self) -> None:
        """Put the next `PLANNED_STEPS` batches on the device."""
        batches = list(islice(self._plan, len(self._planned)))
        self._planned.copy_(torch.stack(batches))

    def __call__(self) -> None:
        """Execute the next step."""
        row = self._done.remainder(len(self._planned))
        images, labels = planned_batch(
            self._training, self._planned.index_select(0, row).squeeze(0)
        )
        torch.index_select(self._rates, 0, self._done, out=self._rate)
        logits = predict(self._forward, images, self._n_classes, self._precision)
        loss = F.cross_entropy(logits, labels)
        # Freed before the gradients are made anew: in a recording they belong to its own memory.
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.losses.index_copy_(0, self._done, loss.detach().view(1))
        self._done.add_(1)
