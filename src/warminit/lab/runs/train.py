"""dataset, run specification, arm -> RunResult, a pure function of its arguments."""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.lab.networks.build import build_model
from warminit.lab.runs.arithmetic import arithmetic, check_precision
from warminit.lab.runs.batches import Split, check_batch_size, first_batch, place_split
from warminit.lab.runs.environment import device_kind
from warminit.lab.runs.evaluate import evaluator, named_metrics
from warminit.lab.runs.kept_filters import keep_filters
from warminit.lab.runs.recording import recorded
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.stepping import PLANNED_STEPS, Stepper
from warminit.lab.runs.weights import weights_digest
from warminit.lab.study.protocol import learning_rates
from warminit.lab.study.spec import RunSpec
from warminit.models.randomness import (
    random_state,
    random_state_kept,
    seed_everything,
    set_random_state,
)

if TYPE_CHECKING:
    from warminit.initializers import Initializer
    from warminit.lab.data.load import ImageDataset

OnStep = Callable[[int, float], None]
"""Function of (finished optimizer steps, last loss)."""

OnEnd = Callable[[nn.Module], None]
"""Called with the trained model, once, where its final metrics are finite."""

REPORT_EVERY = 10
"""Steps per turn, and between two calls of `on_step`, each of which waits for the loss."""

_IDLE_STREAMS: dict[torch.device, list[torch.cuda.Stream]] = {}


def train(
    dataset: "ImageDataset",
    spec: RunSpec,
    *,
    arm: "Initializer",
    arm_parameters: Mapping[str, Any],
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    on_end: OnEnd | None = None,
) -> RunResult:
    """Train and evaluate one model (Section 3.3).

    At one seed all arms share the initial weights that the arm does not set. They see the same
    batches in the same order with the same augmentation, and draw the same dropout masks. The
    global random state of torch, NumPy and Python does not change.

    Args:
        dataset: Images and labels; the test split is evaluated.
        spec: Model, seed (0 to 2**32 - 1) and protocol. Its names of data set and arm are not used.
        arm: Initializer, called once as `arm(model, images, seed=seed, **arm_parameters)`. The
            images are the first training batch: standardized, float32 (B, C, H, W), contiguous,
            not augmented.
        arm_parameters: Keywords for the arm, including derived ones.
        device: Device of the run. On a GPU steps and evaluations are replayed as CUDA graphs if
            the model allows it (`lab/runs/recording.py`).
        on_step: Function of (finished steps, last loss), called every 10 steps and at the end.
        on_end: Function of the trained model, which must not change it.

    Returns:
        The metrics and curves of the run. Everything except the measured times is bit-identical in
        a rerun on the same machine, device and number of threads. A run that diverges returns NaN
        (`RunResult.finite` is false).

    Raises:
        WarminitError: If the data set does not fill one batch, the seed is out of range, or the
            model is unknown or returns no logits (B, n_classes). Also if the device or its
            precision is not available.

    Example:
        >>> from warminit.initializers import get_method
        >>> from warminit.lab.data.load import load_dataset
        >>> from warminit.lab.study.spec import ArmSpec
        >>> from warminit.lab.study.protocol import Protocol
        >>> spec = RunSpec(
        ...     dataset="fashion-mini",
        ...     model="simplecnn",
        ...     arm=ArmSpec(name="torch-default"),
        ...     seed=42,
        ...     protocol=Protocol(steps=2, batch_size=8),
        ... )
        >>> dataset = load_dataset("fashion-mini")
        >>> result = train(dataset, spec, arm=get_method("torch-default"), arm_parameters={})
        >>> result.eval_steps, len(result.train_loss)
        ((1, 2), 2)
    """
    turns = train_in_turns(
        dataset,
        spec,
        arm=arm,
        arm_parameters=arm_parameters,
        device=device,
        on_step=on_step,
        on_end=on_end,
    )
    while True:
        try:
            next(turns)
        except StopIteration as end:
            result: RunResult = end.value
            return result


def train_in_turns(
    dataset: "ImageDataset",
    spec: RunSpec,
    *,
    arm: "Initializer",
    arm_parameters: Mapping[str, Any],
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    on_end: OnEnd | None = None,
) -> Generator[int, None, RunResult]:
    """Train as `train` does, but pause every 10 steps, so runs can share one process.

    A pause restores all global state: the random state and a GPU's arithmetic. So the result has
    the bits of `train`, whatever happens in the pauses. On a GPU each run has a separate stream,
    and the GPU works on all runs at once.

    Yields:
        Number of optimizer steps that are done, or queued on a GPU.

    Returns:
        The result of `train`. Its times include the turns of other runs.
    """
    device_kind(str(device))  # refuses one that is not there
    place, precision = torch.device(device), spec.protocol.precision
    check_precision(precision, place)
    turns, own = _run(dataset, spec, arm, arm_parameters, place, on_step, on_end), None
    with _borrowed_stream(place) as stream:
        while True:
            with random_state_kept(place), torch.cuda.stream(stream), arithmetic(precision, place):
                if own is not None:
                    set_random_state(own)
                try:
                    done = next(turns)
                except StopIteration as end:
                    result: RunResult = end.value
                    return result
                own = random_state(place)
            yield done


def _run(
    dataset: "ImageDataset",
    spec: RunSpec,
    arm: "Initializer",
    arm_parameters: Mapping[str, Any],
    place: torch.device,
    on_step: OnStep | None,
    on_end: OnEnd | None,
) -> Generator[int, None, RunResult]:
    protocol, seed = spec.protocol, spec.seed
    check_seed(seed)
    check_batch_size(len(dataset.train_images), protocol.batch_size, dataset.name)
    training = place_split(dataset, "train", place)
    testing = place_split(dataset, "test", place)
    seed_everything(seed, place)
    model = build_model(spec.model, dataset.in_channels, dataset.image_size, dataset.n_classes)
    model.to(place)
    images = first_batch(training, protocol.batch_size, seed)
    # A user's arm may draw from the global generators: seeded again, neither what it draws depends
    # on the model nor what the loop draws depends on the arm.
    seed_everything(seed, place)
    start = _now(place)
    report = plain_report(arm(model, images, seed=seed, **arm_parameters))
    init_seconds = _now(place) - start
    seed_everything(seed, place)
    start = _now(place)
    rates = learning_rates(protocol, dataset.name)
    losses, evaluations = yield from _fit(
        model, training, testing, dataset.n_classes, spec, rates, on_step
    )
    train_seconds = _now(place) - start
    # Apart from the others, so that results with and without it have the same metrics.
    calibration_error = [metrics.pop("calibration_error") for metrics in evaluations][-1]
    trained_filters = keep_filters(model, images)
    result = RunResult(
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
        calibration_error=calibration_error,
    )
    if on_end is not None and result.finite:
        on_end(model)
    return result


def _fit(
    model: nn.Module,
    training: Split,
    testing: Split,
    n_classes: int,
    spec: RunSpec,
    rates: tuple[float, float],
    on_step: OnStep | None,
) -> Generator[int, None, tuple[Tensor, list[dict[str, float]]]]:
    """Train the model in place; return the loss of every step and the metrics of every evaluation.

    Only a report to `on_step` waits for the device.
    """
    protocol, device = spec.protocol, training.images.device
    evaluation_steps = set(protocol.evaluation_steps)
    # torch's stubs lack this overload of Module.to.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    stepper = Stepper(model, training, n_classes, protocol, spec.seed, rates)
    step = recorded(stepper, model, device)
    measure = recorded(evaluator(model, testing, n_classes, protocol.precision), model, device)
    evaluations = []
    for done in range(1, protocol.steps + 1):
        if done % PLANNED_STEPS == 1:
            stepper.plan()
        step()
        if done in evaluation_steps:
            with random_state_kept(device):
                evaluations.append(measure().clone())  # a recording writes to the same place again
        if done % REPORT_EVERY == 0 or done == protocol.steps:
            if on_step is not None:
                with random_state_kept(device):
                    on_step(done, float(stepper.losses[done - 1]))
            yield done
    metrics = [named_metrics(values, n_classes) for values in torch.stack(evaluations).cpu()]
    return stepper.losses.cpu(), metrics


@contextmanager
def _borrowed_stream(device: torch.device) -> Iterator[torch.cuda.Stream | None]:
    """Give a run on a GPU a stream that no other live run uses; None on the CPU.

    torch assigns 32 streams in turn. If two live runs shared one, the end of one run would free
    cuBLAS memory that the other's graphs use.
    """
    if device.type != "cuda":
        yield None
        return
    idle = _IDLE_STREAMS.setdefault(device, [])
    stream = idle.pop() if idle else torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        yield stream
    finally:
        stream.synchronize()  # nothing of a run that was given up goes on in it
        idle.append(stream)


def _now(device: torch.device) -> float:
    """Return the time in seconds after all queued work of the run."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return time.perf_counter()


def plain_report(report: object) -> dict[str, Any]:
    """Return an arm's report as a mapping for RunResult; empty without a report."""
    if not dataclasses.is_dataclass(report) or isinstance(report, type):
        return {}
    return dataclasses.asdict(report)
