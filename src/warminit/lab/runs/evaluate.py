"""model, split -> metrics on the evaluation split."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.lab.networks.fused import Forward, evaluation_forward
from warminit.lab.runs.batches import Split
from warminit.lab.study.protocol import Precision

EVALUATION_BATCH = {"cpu": 200, "cuda": 1000}
"""Images in one forward pass of an evaluation: on a CPU few, so that what passes between two layers
stays in its caches (100 take half the time of 1000 where nothing is fused, and 4 % more than 200
where it is: measured), on a GPU enough to fill it."""

CALIBRATION_BINS = 15
"""Of the calibration error: enough to see its shape, with hundreds of images in each."""


def predict(forward: Forward, images: Tensor, n_classes: int, precision: Precision) -> Tensor:
    """Return float32 logits (B, n_classes) of a model, with autocast only around it.

    Raises:
        WarminitError: If the model's output has another shape.
    """
    device = images.device.type
    # A weight that is kept in bfloat16 for its next use would be that of another CUDA graph.
    autocast = torch.autocast(
        device, torch.bfloat16, precision == "bfloat16", cache_enabled=device == "cpu"
    )
    with autocast:
        logits = forward(images)
    wanted = (len(images), n_classes)
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != wanted:
        raise WarminitError(
            f"model returned {shape}: expected logits of shape {wanted}, one value a class. Return "
            "them from forward()."
        )
    return logits.float()


def evaluate(
    model: nn.Module, split: Split, n_classes: int, precision: Precision
) -> dict[str, float]:
    """Measure a model on a whole split in evaluation mode, without an effect on training.

    Returns:
        The metrics of `scorer` on the split. The model is in training mode again; its parameters
        and buffers did not change.
    """
    return named_metrics(evaluator(model, split, n_classes, precision)(), n_classes)


def evaluator(
    model: nn.Module, split: Split, n_classes: int, precision: Precision
) -> Callable[[], Tensor]:
    """Return a function that measures the model's present state on a whole split.

    Returns:
        A function with results for `named_metrics`, float64 on the device. On a GPU a call does not
        wait for the device.
    """
    device = split.images.device
    rows = torch.split(
        torch.arange(len(split.images), device=device), EVALUATION_BATCH[device.type]
    )
    score = scorer(split.labels, n_classes)

    def measure() -> Tensor:
        model.eval()
        # Not inference_mode: what a user's model keeps from it could not be used in training again.
        with torch.no_grad():
            forward = evaluation_forward(model)
            logits = [
                predict(forward, split.batch(each, torch.channels_last)[0], n_classes, precision)
                for each in rows
            ]
        model.train()
        return score(torch.cat(logits))

    return measure


def named_metrics(values: Tensor, n_classes: int) -> dict[str, float]:
    """Copy one evaluation's metrics to the host, by name."""
    names = ["accuracy", "balanced_accuracy", "loss", *["top5_accuracy"] * (n_classes > 10)]
    names.append("calibration_error")
    return dict(zip(names, values.tolist(), strict=True))


def scorer(labels: Tensor, n_classes: int) -> Callable[[Tensor], Tensor]:
    """Return a function from logits (N, n_classes) to metrics, on the labels' device.

    Args:
        labels: int64 (N,).
        n_classes: Number of classes.

    Returns:
        A function with values in the order of `named_metrics`. `accuracy`. `balanced_accuracy`:
        mean recall of the classes in the labels, as scikit-learn's balanced_accuracy_score. `loss`:
        mean cross-entropy in nats. `top5_accuracy`: for more than 10 classes. `calibration_error`:
        as in `verdict.calibration`, over 15 bins of equal size. NaN logits give a NaN loss.
    """
    counts = labels.cpu().bincount(minlength=n_classes)
    present = counts.nonzero().flatten().to(labels.device)
    seen = counts.double().to(labels.device).index_select(0, present)

    def score(logits: Tensor) -> Tensor:
        correct = (logits.argmax(dim=1) == labels).double()
        # Sums of whole numbers: the same in whatever order a GPU adds them.
        hits = torch.zeros(n_classes, dtype=torch.float64, device=labels.device)
        hits.index_add_(0, labels, correct)
        losses = F.cross_entropy(logits, labels, reduction="none").double()
        values = [correct.mean(), (hits.index_select(0, present) / seen).mean(), losses.mean()]
        if n_classes > 10:
            best = logits.topk(5, dim=1).indices == labels[:, None]
            values.append(best.any(dim=1).double().mean())
        confidence = (logits.amax(dim=1) - logits.logsumexp(dim=1)).exp().double()
        gaps = (correct - confidence).index_select(0, confidence.argsort(stable=True))
        # Sums of slices, and no index_add: a GPU would add in another order each time.
        off = [part.sum().abs() for part in gaps.tensor_split(min(CALIBRATION_BINS, len(gaps)))]
        values.append(torch.stack(off).sum() / len(gaps))
        return torch.stack(values)

    return score
