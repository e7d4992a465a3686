"""random images of the data sets' shapes, a GPU -> Measured. Many runs at once, and the init.

The laboratory's own runs take turns in this process, as a worker of a study has them, beside the
loop that a user would write, on the same GPU. Without a GPU nothing is measured and nothing is
claimed: `skipped` gives the reason. `measure_toy` does all of it at toy size on the CPU.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.gpu_limits import event_time, limits
from benchmarks.gpu_size import FULL, TOY, Size
from benchmarks.harness import Measured, interleaved, paired_ratio, spread
from warminit.initializers import get_method, init_
from warminit.initializers.prewarm.method import prewarm_
from warminit.lab.data.load import ImageDataset
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import train_in_turns
from warminit.lab.study.protocol import Precision, Protocol
from warminit.lab.study.spec import ArmSpec, RunSpec

GROUP = "laboratory on a GPU"
WANTED: dict[Precision, float] = {"tf32": 3_500, "bfloat16": 8_000, "float32": 0}

Run = Generator[int, None, RunResult]


def measure(data_root: Path | None) -> Iterator[Measured]:  # noqa: ARG001 - the shapes are enough here
    """Measure throughput, Table 3 and the init; nothing where there is no GPU."""
    return iter(()) if skipped() else _measure(FULL)


def measure_toy(data_root: Path | None) -> Iterator[Measured]:  # noqa: ARG001 - as above
    """Do the same work at toy size on the CPU. Its figures say nothing of a GPU."""
    return _measure(TOY)


def skipped() -> list[str]:
    """Return why nothing was measured."""
    if torch.cuda.is_available():
        return []
    return [f"laboratory on a GPU: none is at hand (torch {torch.__version__})"]


def _measure(size: Size) -> Iterator[Measured]:
    """Yield each figure as soon as it is there, so that a run that is cut off keeps the others."""
    yield from _init(size)
    channels, side, classes, train, test = size.sets["cifar10"]
    dataset, fastest = _random(size, channels, side, classes, train, test), []
    for precision in size.precisions:
        rate, ratio, best = _throughput(size, dataset, precision)
        yield from (rate, ratio)
        fastest.append(best)
    yield _table3(size, fastest[0])


def _throughput(
    size: Size, dataset: ImageDataset, precision: Precision
) -> tuple[Measured, Measured, int]:
    """Measure for several numbers of runs at once; return also which of them was the fastest."""
    seconds: dict[str, list[float]] = {}
    for number in size.at_once:
        name = f"{number} at once"
        with ExitStack() as stack:
            plain = stack.enter_context(closing(_plain_loop(size, dataset)))
            enough = 2 * (1 + size.repeats) * size.steps
            specs = [_spec(size, precision, seed, enough) for seed in range(number)]
            runs = [stack.enter_context(closing(_begin(size, dataset, spec))) for spec in specs]
            found = interleaved(
                {
                    "plain loop": lambda plain=plain: next(plain),  # type: ignore[misc] # bound here
                    name: lambda runs=runs: _advance(runs, size.steps),  # type: ignore[misc] # as above
                },
                size.repeats,
                clock=_clock,
            )
        seconds[name] = [value / number / size.steps for value in found[name]]
        seconds[f"plain loop beside {name}"] = [value / size.steps for value in found["plain loop"]]
    best = min(size.at_once, key=lambda number: spread(seconds[f"{number} at once"])[0])
    fastest = f"{best} at once"
    setting = f"SimpleCNN, 3 x 32 x 32, batch {size.batch}, {precision}, {fastest}"
    rate = 1 / spread(seconds[fastest])[0]
    ratio = paired_ratio(seconds, f"plain loop beside {fastest}", fastest)
    return (
        Measured(
            group=GROUP,
            setting=setting,
            target="steps a second over all runs",
            wanted=WANTED[precision],
            better="at least",
            value=rate,
            seconds=seconds,
            note=limits(rate, precision, size.batch) if size is FULL else "toy size",
        ),
        Measured(GROUP, setting, "times faster than the plain loop", 10, "at least", ratio),
        best,
    )


def _table3(size: Size, at_once: int) -> Measured:
    """Do every run of Table 3 with few steps, twice as many, and count up to all of them."""
    datasets = [_random(size, *shape, name=name) for name, shape in size.sets.items()]
    arms = {"torch-default": {}, "prewarm": {"algorithm": "paper", "patches_per_image": 28}}
    precision, every = size.precisions[0], max(1, size.full_steps // 20)
    seconds: dict[str, list[float]] = {}
    for steps in (size.short_steps[0], *size.short_steps):  # the first time is not kept
        runs = (
            _begin(size, dataset, _spec(size, precision, seed, steps, every, arm), **parameters)
            for dataset in datasets
            for seed in range(size.seeds)
            for arm, parameters in arms.items()
        )
        started = _clock()
        _finish(runs, at_once)
        seconds[f"{steps} steps"] = [_clock() - started]
    few, more = size.short_steps
    short, long = (seconds[f"{steps} steps"][0] for steps in (few, more))
    grown = (long - short) * (size.full_steps - few) / (more - few)
    return Measured(
        group=GROUP,
        setting=f"Table 3: {len(size.sets)} data sets x {size.seeds} seeds x 2 arms x "
        f"{size.full_steps:,} steps, {precision}, {at_once} at once",
        target="seconds, counted up from two shorter tables",
        wanted=120,
        better="at most",
        value=short + grown,
        seconds=seconds,
        note="random images of the shapes; 20 evaluations a run; the initializations are in it",
    )


def _init(size: Size) -> Iterator[Measured]:
    """Time `init_` as it is called first, and Pre-Warm with its hyperparameters given."""
    side, channels, patch = size.stem
    small, stem = nn.Conv2d(3, 32, 3), nn.Conv2d(3, channels, patch, patch)
    settings: list[tuple[str, nn.Conv2d, int, float, dict[str, Any]]] = [
        ("CIFAR-10", small, 32, 3, {"n_filters": 16, "patches_per_image": 28}),
        ("ViT-B/16 stem", stem, side, 100, {"n_filters": channels // 2, "patches_per_image": 83}),
    ]
    for title, layer, side, wanted, given in settings:
        pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(layer.out_channels, 10)
        model = nn.Sequential(layer, nn.ReLU(), *pooled).to(size.device)
        images = torch.randn(size.batch, 3, side, side, device=size.device)
        prewarm = partial(prewarm_, layer, images, layers=layer, scale=0.25, **given)
        for name, call in {"init_": partial(init_, model, images), "prewarm_": prewarm}.items():
            repeats = range(2 + 2 * size.repeats)
            taken = [event_time(partial(_fresh, model, call), size.device) for _ in repeats][2:]
            yield Measured(
                group=GROUP,
                setting=f"{title}, {size.batch} images of {side} x {side}",
                target=f"milliseconds of {name}",
                wanted=wanted,
                better="at most",
                value=spread(taken)[0],
                seconds={name: [value / 1000 for value in taken]},
                note="between two events, all checks included; "
                + ("default arm and options" if name == "init_" else f"given {given}"),
            )


def _fresh(model: nn.Module, call: Callable[[], object]) -> Callable[[], object]:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    return call


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _spec(
    size: Size,
    precision: Precision,
    seed: int,
    steps: int,
    every: int | None = None,
    arm: str = "torch-default",
) -> RunSpec:
    protocol = Protocol(
        steps=steps, batch_size=size.batch, eval_interval=every or steps, precision=precision
    )
    return RunSpec(
        dataset="random", model="simplecnn", arm=ArmSpec(name=arm), seed=seed, protocol=protocol
    )


def _begin(size: Size, dataset: ImageDataset, spec: RunSpec, **parameters: Any) -> Run:
    arm = get_method(spec.arm.name)
    return train_in_turns(dataset, spec, arm=arm, arm_parameters=parameters, device=size.device)


def _advance(runs: Iterable[Run], steps: int) -> None:
    """Take the same steps of every run, ten of each at a time."""
    for _ in range(steps // 10):
        for run in runs:
            next(run)


def _finish(runs: Iterator[Run], at_once: int) -> None:
    """Give so many runs their turns at a time, until all are done."""
    under_way = list(islice(runs, at_once))
    while under_way:
        for run in list(under_way):
            if next(run, None) is None:
                under_way.remove(run)
                under_way += islice(runs, 1)


def _random(
    size: Size,
    channels: int,
    side: int,
    classes: int,
    train: int,
    test: int,
    name: str = "random",
) -> ImageDataset:
    """Make images of a shape, on the device as a worker of a study has them."""
    place, generator = size.device, torch.Generator(size.device).manual_seed(0)
    images, labels = (
        [
            torch.randint(top, (n, *shape), generator=generator, device=place, dtype=kind)
            for n in (train, test)
        ]
        for top, shape, kind in (
            (256, (channels, side, side), torch.uint8), (classes, (), torch.int64),
        )
    )  # fmt: skip
    return ImageDataset(
        name=name,
        train_images=images[0],
        train_labels=labels[0],
        test_images=images[1],
        test_labels=labels[1],
        class_names=tuple(str(label) for label in range(classes)),
        mean=(0.5,) * channels,
        std=(0.29,) * channels,
        fingerprint="random",
        partial=True,
    )


def _plain_loop(size: Size, dataset: ImageDataset) -> Generator[None, None, None]:
    """Train as a user would write it; every `next` takes so many steps."""
    channels, (height, width) = dataset.in_channels, dataset.image_size
    model = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * (height // 4) * (width // 4), 256), nn.ReLU()),
        nn.Linear(256, dataset.n_classes),
    ).to(size.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    images = (dataset.train_images.cpu() / 255 - 0.5) / 0.29
    loader = DataLoader(
        TensorDataset(images, dataset.train_labels.cpu()),
        batch_size=size.batch,
        shuffle=True,
        drop_last=True,
        num_workers=size.loader_workers,
        persistent_workers=size.loader_workers > 0,
    )
    done, losses = 0, []
    while True:
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch.to(size.device)), labels.to(size.device))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            done += 1
            if done % size.steps == 0:
                yield
