"""How much the benchmark of the GPU measures, and where: all of it, or a toy on the CPU."""

from dataclasses import dataclass

from warminit.lab.study.protocol import Precision

SETS = {  # of Table 3: channels, size, classes, images for training and for testing
    "mnist": (1, 28, 10, 60_000, 10_000),
    "fashion-mnist": (1, 28, 10, 60_000, 10_000),
    "cifar10": (3, 32, 10, 50_000, 10_000),
    "svhn": (3, 32, 10, 73_257, 26_032),
    "cifar100": (3, 32, 100, 50_000, 10_000),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured, and where.

    Attributes:
        device: "cuda", or "cpu" for the toy.
        precisions: Of the steps; the first one is that of Table 3.
        batch: Images of a step and of an initialization.
        steps: Of every contender in a repeat, a multiple of 10.
        repeats: Timed repeats; one more comes before them.
        at_once: Numbers of runs that take turns.
        sets: Of Table 3, as `SETS`.
        seeds: Of Table 3.
        full_steps: Of a run of Table 3.
        short_steps: Of the two shorter tables.
        stem: Of the ViT-B/16 stem: side of the images, filters, side of a patch.
        loader_workers: Of the plain loop.
    """

    device: str
    precisions: tuple[Precision, ...]
    batch: int
    steps: int
    repeats: int
    at_once: tuple[int, ...]
    sets: dict[str, tuple[int, int, int, int, int]]
    seeds: int
    full_steps: int
    short_steps: tuple[int, int]
    stem: tuple[int, int, int]
    loader_workers: int


FULL = Size(
    *("cuda", ("tf32", "bfloat16"), 256, 200, 5, (1, 2, 4, 8, 16)),
    *(SETS, 8, 5_000, (250, 500), (224, 768, 16), 2),
)
TOY = Size(
    *("cpu", ("float32", "bfloat16"), 16, 10, 1, (1, 2)),
    *({"cifar10": (3, 32, 10, 32, 16)}, 1, 20, (5, 10), (32, 24, 8), 0),
)
