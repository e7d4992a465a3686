"""random images of the data sets' shapes, a GPU -> Measured. Many runs at once, and the init.

The laboratory's own runs take turns in this process, as a worker of a study has them, beside the
loop that a user would write, on the same GPU. Without a GPU nothing is measured and nothing is
claimed: `skipped` gives the reason.
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
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.gpu_limits import event_time, limits
from benchmarks.harness import Measured, interleaved, paired_ratio, spread
from warminit.initializers import get_method
from warminit.initializers.prewarm.method import prewarm_
from warminit.lab.data.load import ImageDataset
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import train_in_turns
from warminit.lab.study.protocol import Precision, Protocol
from warminit.lab.study.spec import ArmSpec, RunSpec

GROUP = "laboratory on a GPU"
BATCH, STEPS, REPEATS = 256, 200, 5
AT_ONCE = (1, 2, 4, 8, 16)
WANTED: dict[Precision, float] = {"tf32": 3_500, "bfloat16": 8_000}
SETS = {  # of Table 3: channels, size, classes, images for training and for testing
    "mnist": (1, 28, 10, 60_000, 10_000),
    "fashion-mnist": (1, 28, 10, 60_000, 10_000),
    "cifar10": (3, 32, 10, 50_000, 10_000),
    "svhn": (3, 32, 10, 73_257, 26_032),
    "cifar100": (3, 32, 100, 50_000, 10_000),
}
SEEDS, FULL_STEPS, SHORT_STEPS = 8, 5_000, (250, 500)

Run = Generator[int, None, RunResult]


def measure(data_root: Path | None) -> list[Measured]:  # noqa: ARG001 - the shapes are enough here
    """Measure throughput, Table 3 and the init; nothing where there is no GPU."""
    if skipped():
        return []
    dataset = _random(*SETS["cifar10"])
    measured, best = [], {}
    for precision in WANTED:
        entry, ratio, best[precision] = _throughput(dataset, precision)
        measured += [entry, ratio]
    return [*measured, _table3(best["tf32"]), *_init()]


def skipped() -> list[str]:
    """Return why nothing was measured."""
    if torch.cuda.is_available():
        return []
    return [f"laboratory on a GPU: none is at hand (torch {torch.__version__})"]


def _throughput(dataset: ImageDataset, precision: Precision) -> tuple[Measured, Measured, int]:
    """Measure for several numbers of runs at once; return also which of them was the fastest."""
    seconds: dict[str, list[float]] = {}
    for number in AT_ONCE:
        name = f"{number} at once"
        with ExitStack() as stack:
            plain = stack.enter_context(closing(_plain_loop(dataset)))
            specs = [_spec(precision, seed, 10 * REPEATS * STEPS) for seed in range(number)]
            runs = [stack.enter_context(closing(_begin(dataset, spec))) for spec in specs]
            found = interleaved(
                {
                    "plain loop": lambda plain=plain: next(plain),  # type: ignore[misc] # bound here
                    name: lambda runs=runs: _advance(runs),  # type: ignore[misc] # as above
                },
                REPEATS,
                clock=_clock,
            )
        seconds[name] = [value / number / STEPS for value in found[name]]
        seconds[f"plain loop beside {name}"] = [value / STEPS for value in found["plain loop"]]
    best = min(AT_ONCE, key=lambda number: spread(seconds[f"{number} at once"])[0])
    fastest = f"{best} at once"
    setting = f"SimpleCNN, 3 x 32 x 32, batch {BATCH}, {precision}, {fastest}"
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
            note=limits(rate, precision, BATCH),
        ),
        Measured(GROUP, setting, "times faster than the plain loop", 10, "at least", ratio),
        best,
    )


def _table3(at_once: int) -> Measured:
    """Do every run of Table 3 with few steps, twice as many, and count up to all of them."""
    datasets = [_random(*shape, name=name) for name, shape in SETS.items()]
    arms = {"torch-default": {}, "prewarm": {"algorithm": "paper", "patches_per_image": 28}}
    seconds: dict[str, list[float]] = {}
    for steps in (SHORT_STEPS[0], *SHORT_STEPS):  # the first time is not kept
        runs = (
            _begin(dataset, _spec("tf32", seed, steps, FULL_STEPS // 20, arm), **parameters)
            for dataset in datasets
            for seed in range(SEEDS)
            for arm, parameters in arms.items()
        )
        started = _clock()
        _finish(runs, at_once)
        seconds[f"{steps} steps"] = [_clock() - started]
    short, long = (seconds[f"{steps} steps"][0] for steps in SHORT_STEPS)
    grown = (long - short) * (FULL_STEPS - SHORT_STEPS[0]) / (SHORT_STEPS[1] - SHORT_STEPS[0])
    return Measured(
        group=GROUP,
        setting=f"Table 3: 5 data sets x 8 seeds x 2 arms x 5,000 steps, tf32, {at_once} at once",
        target="seconds, counted up from two shorter tables",
        wanted=120,
        better="at most",
        value=short + grown,
        seconds=seconds,
        note="random images of the shapes; 20 evaluations a run; the initializations are in it",
    )


def _init() -> Iterator[Measured]:
    stems = [
        ("CIFAR-10, 256 images x 28 patches", nn.Conv2d(3, 32, 3), 32, 3, (16, 28)),
        ("ViT-B/16 stem, 256 images x 83 patches", nn.Conv2d(3, 768, 16, 16), 224, 100, (384, 83)),
    ]
    for title, layer, size, wanted, (n_clusters, n_patches) in stems:
        given = {"n_filters": n_clusters, "patches_per_image": n_patches, "scale": 0.25}
        layer.to("cuda")
        images = torch.randn(256, 3, size, size, device="cuda")
        milliseconds = [event_time(partial(_fresh, layer, images, given)) for _ in range(12)][2:]
        yield Measured(
            group=GROUP,
            setting=title,
            target="milliseconds of prewarm_",
            wanted=wanted,
            better="at most",
            value=spread(milliseconds)[0],
            seconds={"prewarm_": [value / 1000 for value in milliseconds]},
            note="CUDA events around the call, its checks included; hyperparameters given",
        )


def _fresh(layer: nn.Conv2d, images: Tensor, given: dict[str, Any]) -> Callable[[], object]:
    layer.reset_parameters()
    return lambda: prewarm_(layer, images, layer=layer, **given)


def _clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _spec(
    precision: Precision,
    seed: int,
    steps: int,
    every: int | None = None,
    arm: str = "torch-default",
) -> RunSpec:
    protocol = Protocol(
        steps=steps, batch_size=BATCH, eval_interval=every or steps, precision=precision
    )
    return RunSpec(
        dataset="random", model="simplecnn", arm=ArmSpec(name=arm), seed=seed, protocol=protocol
    )


def _begin(dataset: ImageDataset, spec: RunSpec, **parameters: Any) -> Run:
    arm = get_method(spec.arm.name)
    return train_in_turns(dataset, spec, arm=arm, arm_parameters=parameters, device="cuda")


def _advance(runs: Iterable[Run]) -> None:
    """Take the same steps of every run, ten of each at a time."""
    for _ in range(STEPS // 10):
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
    channels: int, size: int, classes: int, train: int, test: int, name: str = "random"
) -> ImageDataset:
    """Make images of a shape, on the GPU as a worker of a study has them."""
    generator = torch.Generator("cuda").manual_seed(0)
    images, labels = (
        [
            torch.randint(top, (n, *shape), generator=generator, device="cuda", dtype=kind)
            for n in (train, test)
        ]
        for top, shape, kind in (
            (256, (channels, size, size), torch.uint8), (classes, (), torch.int64),
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


def _plain_loop(dataset: ImageDataset) -> Generator[None, None, None]:
    """Train as a user would write it; every `next` takes so many steps."""
    channels, (height, width) = dataset.in_channels, dataset.image_size
    model = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * (height // 4) * (width // 4), 256), nn.ReLU()),
        nn.Linear(256, dataset.n_classes),
    ).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    images = (dataset.train_images.cpu() / 255 - 0.5) / 0.29
    loader = DataLoader(
        TensorDataset(images, dataset.train_labels.cpu()),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )
    done, losses = 0, []
    while True:
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch.cuda()), labels.cuda())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            done += 1
            if done % STEPS == 0:
                yield
