"""dataset, run specification, arm -> RunResult. One run, a pure function of its arguments."""

import dataclasses
import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.lab.batches import (
    Split,
    check_batch_size,
    first_batch,
    place_split,
    training_batches,
)
from warminit.lab.evaluation import evaluate, predict
from warminit.lab.fused import training_forward
from warminit.lab.kept_filters import keep_filters
from warminit.lab.models import build_model
from warminit.lab.optimization import build_optimizer, learning_rate, learning_rates
from warminit.lab.results import RunResult
from warminit.lab.study import RunSpec

if TYPE_CHECKING:
    from warminit.initializers import Arm
    from warminit.lab.datasets import ImageDataset

REPORT_EVERY = 10
"""Steps between two calls of `on_step`: on a GPU each one waits for the loss."""


def train(
    dataset: "ImageDataset",
    spec: RunSpec,
    *,
    arm: "Arm",
    arm_parameters: Mapping[str, Any],
    device: str | torch.device = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> RunResult:
    """Train and evaluate one model (Section 3.3).

    At one seed all arms share every initial weight outside what the arm sets, see the same batches
    in the same order with the same augmentation, and draw the same dropout masks. The global random
    state of torch, NumPy and Python is the same before and after.

    Args:
        dataset: Images and labels; the test split is what is evaluated.
        spec: Model, seed (0 to 2**32 - 1) and protocol. The names of the data set and of the arm in
            it are not looked up: `dataset` and `arm` are what they stand for.
        arm: Called once, `arm(model, images, seed=seed, **arm_parameters)`, with the new model and
            the first training batch of the seed: standardized, float32 (B, C, H, W), contiguous,
            never augmented.
        arm_parameters: Keywords for the arm, those derived from the data set included.
        device: Where the run takes place.
        on_step: Called every 10 steps and after the last with (steps done, loss of the last one).

    Returns:
        The metrics and curves of the run. Everything but the measured times is bit-identical in a
        rerun on the same machine, device and number of threads. A run that diverges returns its NaN
        (`RunResult.finite` is false).

    Raises:
        WarminitError: If the data set does not fill one batch, the seed is out of range, the model
            is not known or its output is not (B, n_classes), or the device is not there.

    Example:
        >>> from warminit.initializers import get_arm
        >>> from warminit.lab.datasets import load_dataset
        >>> from warminit.lab.study import ArmSpec, Protocol
        >>> spec = RunSpec(
        ...     dataset="fashion-mini",
        ...     model="simplecnn",
        ...     arm=ArmSpec(name="torch-default"),
        ...     seed=42,
        ...     protocol=Protocol(steps=2, batch_size=8),
        ... )
        >>> dataset = load_dataset("fashion-mini")
        >>> result = train(dataset, spec, arm=get_arm("torch-default"), arm_parameters={})
        >>> result.eval_steps, len(result.train_loss)
        ((1, 2), 2)
    """
    protocol, seed, place = spec.protocol, spec.seed, _checked_device(device)
    if not 0 <= seed < 2**32:
        raise WarminitError(
            f"seed={seed} is out of range; 0 to 2**32 - 1 is needed, for NumPy and scikit-learn "
            "take no other. Choose another seed."
        )
    check_batch_size(len(dataset.train_images), protocol.batch_size, dataset.name)
    training = place_split(dataset, "train", place)
    testing = place_split(dataset, "test", place)
    with _random_state_kept(place):
        _seed_everything(seed, place)
        model = build_model(spec.model, dataset.in_channels, dataset.image_size, dataset.n_classes)
        model.to(place)
        images = first_batch(training, protocol.batch_size, seed)
        # A user's arm may draw from the global generators: seeded again, neither what it draws
        # depends on the model nor what the loop draws depends on the arm.
        _seed_everything(seed, place)
        start = _now(place)
        report = _plain(arm(model, images, seed=seed, **arm_parameters))
        init_seconds = _now(place) - start
        _seed_everything(seed, place)
        start = _now(place)
        rates = learning_rates(protocol, dataset.name)
        # On a GPU: the same kernels in every rerun, and float32 means float32.
        with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            losses, evaluations = _fit(
                model, training, testing, dataset.n_classes, spec, rates, on_step
            )
        train_seconds = _now(place) - start
        trained_filters = keep_filters(model, images)
    return RunResult(
        metrics=evaluations[-1],
        train_loss=tuple(losses.tolist()),
        eval_steps=protocol.evaluation_steps,
        eval_metrics={
            name: tuple(metrics[name] for metrics in evaluations) for name in evaluations[-1]
        },
        weights_digest=weights_digest(model),
        init_report=report,
        init_seconds=init_seconds,
        train_seconds=train_seconds,
        trained_filters=trained_filters,
    )


def _fit(
    model: nn.Module,
    training: Split,
    testing: Split,
    n_classes: int,
    spec: RunSpec,
    rates: tuple[float, float],
    on_step: Callable[[int, float], None] | None,
) -> tuple[Tensor, list[dict[str, float]]]:
    """Train the model in place; return the loss of every step and the metrics of every evaluation.

    Nothing in the loop waits for the device but an evaluation and a report to `on_step`.
    """
    protocol, device = spec.protocol, training.images.device
    evaluation_steps = set(protocol.evaluation_steps)
    # torch's stubs lack this overload of Module.to.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimizer = build_optimizer(model, protocol)
    forward = training_forward(model)
    losses = torch.empty(protocol.steps, device=device)
    evaluations = []
    batches = training_batches(
        training, protocol.batch_size, spec.seed, augmentation=protocol.augmentation
    )
    for step, (images, labels) in enumerate(islice(batches, protocol.steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, protocol, rates)
        loss = F.cross_entropy(predict(forward, images, n_classes, protocol.precision), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses[step] = loss.detach()
        done = step + 1
        if done in evaluation_steps:
            with _random_state_kept(device):
                evaluations.append(evaluate(model, testing, n_classes, protocol.precision))
        if on_step is not None and (done % REPORT_EVERY == 0 or done == protocol.steps):
            with _random_state_kept(device):
                on_step(done, float(losses[step]))
    return losses.cpu(), evaluations


def weights_digest(model: nn.Module) -> str:
    """Return SHA-256 (hexadecimal) over the names, types, shapes and bytes of the model's state.

    Parameters and buffers count, in the order of their names; the memory format and the device do
    not.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError:
        place = torch.device("meta")  # no such kind: refused below as every other is
    if place.type == "cpu" or (
        place.type == "cuda" and (place.index or 0) < torch.cuda.device_count()
    ):
        return place
    raise WarminitError(
        f"device={str(device)!r} is not at hand; cpu is needed, or cuda where there is a GPU ("
        f"torch sees {torch.cuda.device_count()}). Choose device='cpu'."
    )


def _now(device: torch.device) -> float:
    """Return seconds, once everything that the device was asked to do is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch as they were."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is what is kept
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002 - as above


def _seed_everything(seed: int, device: torch.device) -> None:
    """Seed the global generators; torch.manual_seed would also reseed GPUs that are not kept."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a user's arm or model may draw from it
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _plain(report: object) -> dict[str, Any]:
    """Return an arm's report as a mapping for RunResult; empty where it reports nothing."""
    if not dataclasses.is_dataclass(report) or isinstance(report, type):
        return {}
    return dataclasses.asdict(report)
