"""data set -> Measured. The laboratory's training on a CPU beside the loop that a user would write.

Both train the paper's network with Adam at batch 256 on two threads. The plain loop has both; the
laboratory has two runs of one thread, as in a study. Every contender lives in processes of its own,
which take twenty steps and wait: the steps are those of the real `train`, which waits in `on_step`.

On a machine that others use too, two threads that wait for each other lose more than two runs that
do not, and the ratio of wall times flatters the laboratory. The note therefore has a lower bound:
the ratio of CPU times to a plain loop of one thread, as if a second one halved its time.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.harness import Measured, interleaved, paired_ratio
from warminit.errors import WarminitError
from warminit.initializers import get_method
from warminit.lab.data.load import ImageDataset, load_dataset
from warminit.lab.engines.job import keep_freed_memory
from warminit.lab.networks.simple import SimpleCNN
from warminit.lab.runs.batches import place_split, training_batches
from warminit.lab.runs.evaluate import evaluate
from warminit.lab.runs.train import train
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.spec import ArmSpec, RunSpec

THREADS = 2
STEPS = 20
"""Steps of a repeat: a multiple of those between two calls of `on_step`."""

REPEATS = 5
WANTED = {"float32": 2.2, "bfloat16": 4.0}
EVALUATIONS, FULL_STEPS, BATCH = 20, 5000, 256

Pipe: TypeAlias = "Connection[Any, Any]"


def measure(data_root: Path | None) -> list[Measured]:
    """Measure throughput on Fashion-MNIST and CIFAR-10, and what else a full run consists of."""
    return [entry for name in ("fashion-mnist", "cifar10") for entry in _measure(name, data_root)]


def _measure(name: str, data_root: Path | None) -> Iterator[Measured]:
    dataset = _dataset(name, data_root)
    with ExitStack() as stack:
        crews = {
            name: stack.enter_context(_crew(_plain_loop, 1, dataset, threads))
            for name, threads in (("plain loop", THREADS), ("one thread", 1))
        }
        for precision in WANTED:
            crews[precision] = stack.enter_context(_crew(_study, THREADS, dataset, precision))
        walls = interleaved({name: crew.turn for name, crew in crews.items()}, REPEATS)
    runs = {name: len(crew.pipes) * STEPS for name, crew in crews.items()}
    wall = {name: [value / runs[name] for value in values] for name, values in walls.items()}
    cpu = {name: [value / runs[name] for value in crew.cpu[1:]] for name, crew in crews.items()}
    rates = _product_rates()
    for precision, wanted in WANTED.items():
        used = statistics.median(cpu[precision])
        bound = paired_ratio(cpu, "one thread", precision)
        limit = _operations(dataset) / rates[precision]
        yield Measured(
            group="laboratory",
            setting=f"{dataset.name}, batch {BATCH}, {THREADS} threads, {precision}",
            target="runs x steps a second over the plain loop's",
            wanted=wanted,
            better="at least",
            value=paired_ratio(wall, "plain loop", precision),
            seconds={name: wall[name] for name in ("plain loop", precision)},
            note=(
                f"at least {bound:.2f} by CPU time; a step takes "
                f"{1000 * used:.1f} ms of a core, {limit / used:.0%} of the limit of the fastest "
                f"products here ({rates[precision] / 1e9:.0f} GFLOP/s)"
            ),
        )
        yield _overhead(dataset, precision, used)


def _overhead(dataset: ImageDataset, precision: str, step_seconds: float) -> Measured:
    """Compare evaluations and batches, in CPU time of one thread, with the whole of a run."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as executor:
        seconds = executor.submit(_overhead_seconds, dataset, precision).result()
    # The full protocol evaluates 10,000 images; the embedded data set has fewer.
    scale = 10_000 / len(dataset.test_images)
    evaluating = EVALUATIONS * scale * statistics.median(seconds["evaluation"])
    loading = FULL_STEPS * statistics.median(seconds["20 batches"]) / 20
    stepping = FULL_STEPS * step_seconds  # the batches are in it
    return Measured(
        group="laboratory",
        setting=f"{dataset.name}, {FULL_STEPS:,} steps, {EVALUATIONS} evaluations, {precision}",
        target="share of evaluation and data loading in the CPU time of a run",
        wanted=0.05,
        better="at most",
        value=(evaluating + loading) / (stepping + evaluating),
        seconds=seconds,
        note=(
            f"evaluation {evaluating / (stepping + evaluating):.1%}, data "
            f"{loading / (stepping + evaluating):.1%}; a run writes to the store once, at its end"
        ),
    )


def _overhead_seconds(dataset: ImageDataset, precision: str) -> dict[str, list[float]]:
    keep_freed_memory()
    torch.set_num_threads(1)
    protocol = Protocol.model_validate({"precision": precision})
    training = place_split(dataset, "train", torch.device("cpu"))
    testing = place_split(dataset, "test", torch.device("cpu"))
    model = SimpleCNN(dataset.in_channels, dataset.image_size, dataset.n_classes)
    # torch's stubs lack this overload of Module.to.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = training_batches(training, BATCH, seed=0)
    contenders: dict[str, Callable[[], object]] = {
        "evaluation": lambda: evaluate(model, testing, dataset.n_classes, protocol.precision),
        "20 batches": lambda: [next(batches) for _ in range(20)],
    }
    return interleaved(contenders, 5, clock=time.process_time)


def _dataset(name: str, data_root: Path | None) -> ImageDataset:
    """Load a data set; where it is not at hand, make random images of its shape, and say so."""
    with suppress(WarminitError):
        if data_root is not None:
            return load_dataset(name, data_root=data_root)
    mini = load_dataset("fashion-mini")
    if name == "fashion-mnist":
        return mini
    generator = torch.Generator().manual_seed(0)
    train_images, test_images = (
        torch.randint(256, (len(split), 3, 32, 32), generator=generator, dtype=torch.uint8)
        for split in (mini.train_images, mini.test_images)
    )
    return replace(
        mini,
        name="random 3 x 32 x 32",
        train_images=train_images,
        test_images=test_images,
        mean=(0.5,) * 3,
        std=(0.29,) * 3,
    )


class _Crew:
    """Processes that take their steps whenever they are told to, all of them at once."""

    def __init__(self, pipes: list[Pipe]) -> None:
        self.pipes = pipes
        self.cpu: list[float] = []

    def turn(self) -> None:
        """Let every process take its steps; keep the CPU time that they used."""
        for pipe in self.pipes:
            pipe.send(True)
        self.cpu.append(sum(pipe.recv() for pipe in self.pipes))


@contextmanager
def _crew(target: Callable[..., None], size: int, *arguments: Any) -> Iterator[_Crew]:
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(size)]
    processes = [context.Process(target=target, args=(theirs, *arguments)) for _, theirs in pairs]
    for process in processes:
        process.start()
    try:
        yield _Crew([ours for ours, _ in pairs])
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _plain_loop(pipe: Pipe, dataset: ImageDataset, threads: int) -> None:
    torch.set_num_threads(threads)
    channels, (height, width) = dataset.in_channels, dataset.image_size
    model = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * (height // 4) * (width // 4), 256), nn.ReLU()),
        nn.Linear(256, dataset.n_classes),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (dataset.mean, dataset.std))
    images = (dataset.train_images / 255 - mean) / std
    loader = DataLoader(
        TensorDataset(images, dataset.train_labels),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
    )
    losses: list[float] = []
    wait = _waiting(pipe, every=1)
    while True:
        for batch, labels in loader:
            next(wait)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())


def _study(pipe: Pipe, dataset: ImageDataset, precision: str) -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    protocol = Protocol.model_validate(
        {"steps": 10**6, "eval_interval": 10**6, "batch_size": BATCH, "precision": precision}
    )
    arm = ArmSpec(name="torch-default")
    spec = RunSpec(dataset=dataset.name, model="simplecnn", arm=arm, seed=0, protocol=protocol)
    wait = _waiting(pipe, every=STEPS)

    def on_step(step: int, _loss: float) -> None:
        if step % STEPS == 0:
            next(wait)

    next(wait)
    train(dataset, spec, arm=get_method(arm.name), arm_parameters={}, on_step=on_step)


def _waiting(pipe: Pipe, every: int) -> Iterator[None]:
    """Yield once in so many steps; after each turn tell the CPU time, and wait for the next one."""
    while True:
        pipe.recv()
        started = _cpu_seconds()
        for _ in range(STEPS // every):
            yield
        pipe.send(_cpu_seconds() - started)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its children, the living ones included."""
    total = sum(os.times()[:4])
    for child in multiprocessing.active_children():
        with suppress(OSError):
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _operations(dataset: ImageDataset) -> float:
    """Return the arithmetic of a step: twice the products of every layer, three times.

    Forward, the gradient of the weights and that of the input, which the first layer does not need.
    """
    channels, (height, width) = dataset.in_channels, dataset.image_size
    first = height * width * 9 * channels * 32
    second = (height // 2) * (width // 2) * 9 * 32 * 64
    full = 64 * (height // 4) * (width // 4) * 256 + 256 * dataset.n_classes
    return 2.0 * BATCH * (2 * first + 3 * second + 3 * full)


def _product_rates() -> dict[str, float]:
    """Return by precision the highest rate of one thread: of matrix products or of convolutions."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = {}
    for precision in WANTED:
        matrix = torch.ones(1024, 1024, dtype=getattr(torch, precision))
        images = matrix.view(64, 64, 16, 16).to(memory_format=torch.channels_last)
        kernel = images[:, :, :3, :3].contiguous(memory_format=torch.channels_last)
        products: dict[str, Callable[[], object]] = {
            "matrices": partial(torch.mm, matrix, matrix),
            "convolutions": partial(F.conv2d, images, kernel, padding=1),
        }
        seconds = interleaved(products, 9, warmup=3, clock=time.process_time)
        operations = {"matrices": 2.0 * 1024**3, "convolutions": 2.0 * 64 * 256 * 9 * 64 * 64}
        rates[precision] = max(operations[name] / min(seconds[name]) for name in products)
    torch.set_num_threads(before)
    return rates
