"""model, split -> metrics. What is measured on the evaluation split, and how."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.lab.batches import Split
from warminit.lab.fused import Forward, evaluation_forward

EVALUATION_BATCH = {"cpu": 200, "cuda": 1000}
"""Images in one forward pass of an evaluation: on a CPU few, so that what passes between two layers
stays in its caches (100 take half the time of 1000 where nothing is fused, and 4 % more than 200
where it is: measured), on a GPU enough to fill it."""

Precision = Literal["float32", "bfloat16"]


def predict(forward: Forward, images: Tensor, n_classes: int, precision: Precision) -> Tensor:
    """Return float32 logits (B, n_classes) of a model, with autocast around it alone.

    Raises:
        WarminitError: If the model's output has another shape.
    """
    autocast = torch.autocast(
        images.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )
    with autocast:
        logits = forward(images)
    wanted = (len(images), n_classes)
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != wanted:
        raise WarminitError(
            f"model returned {shape}; logits of shape {wanted}, one value a class, are needed. "
            "Return them from forward()."
        )
    return logits.float()


def evaluate(
    model: nn.Module, split: Split, n_classes: int, precision: Precision
) -> dict[str, float]:
    """Measure a model on a whole split in evaluation mode; training goes on as if it had not been.

    Returns:
        `classification_metrics` of the split. The model is in training mode again, its parameters
        and buffers (BatchNorm's statistics) as they were.
    """
    device = split.images.device
    indices = torch.arange(len(split.images), device=device)
    model.eval()
    # Not inference_mode: what a user's model keeps from it could not be used in training again.
    with torch.no_grad():
        forward = evaluation_forward(model)
        logits = [
            predict(forward, split.batch(rows, torch.channels_last)[0], n_classes, precision)
            for rows in torch.split(indices, EVALUATION_BATCH[device.type])
        ]
    model.train()
    return classification_metrics(torch.cat(logits), split.labels)


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Summarize predictions.

    Args:
        logits: float32 (N, n_classes).
        labels: int64 (N,).

    Returns:
        `accuracy`; `balanced_accuracy`, the mean recall of the classes that are among the labels
        (as scikit-learn's balanced_accuracy_score); `loss`, the mean cross-entropy in nats; and
        for more than 10 classes `top5_accuracy`. NaN logits give a NaN loss.
    """
    logits, labels = logits.cpu(), labels.cpu()
    n_classes = logits.shape[1]
    correct = logits.argmax(dim=1) == labels
    counts = labels.bincount(minlength=n_classes)
    hits = labels[correct].bincount(minlength=n_classes)
    recall = hits[counts > 0].double() / counts[counts > 0]
    metrics = {
        "accuracy": float(correct.double().mean()),
        "balanced_accuracy": float(recall.mean()),
        "loss": float(F.cross_entropy(logits, labels, reduction="none").double().mean()),
    }
    if n_classes > 10:
        best = logits.topk(5, dim=1).indices == labels[:, None]
        metrics["top5_accuracy"] = float(best.any(dim=1).double().mean())
    return metrics
