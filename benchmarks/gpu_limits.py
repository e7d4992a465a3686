"""steps a second -> their share of what a GPU's arithmetic and memory allow, both measured."""

import time
from collections.abc import Callable
from functools import partial

import torch

from warminit.lab.runs.arithmetic import arithmetic
from warminit.lab.study.protocol import Precision


def event_time(prepare: Callable[[], Callable[[], object]], device: str = "cuda") -> float:
    """Return the milliseconds between two events around what was prepared; of a CPU's clock."""
    work = prepare()
    if device == "cpu":
        began = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - began)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def limits(rate: float, precision: Precision, batch: int) -> str:
    """Say which share of the measured limits of this GPU so many steps a second are."""
    with arithmetic(precision, torch.device("cuda")):
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        left, right = (torch.randn(8192, 8192, device="cuda", dtype=kind) for _ in range(2))
        product = min(event_time(lambda: partial(torch.mm, left, right)) for _ in range(10))
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    copying = min(event_time(lambda: source.clone) for _ in range(10))
    operations, moved = _operations(batch), _bytes(batch, kind.itemsize)
    arithmetic_rate, memory_rate = 2 * 8192**3 / product * 1e3, 2 * 2**30 / copying * 1e3
    return (
        f"{rate * operations / arithmetic_rate:.0%} of the limit of products "
        f"({arithmetic_rate / 1e12:.0f} TFLOP/s), {rate * moved / memory_rate:.0%} of that of "
        f"memory ({memory_rate / 1e12:.1f} TB/s, {moved / 1e6:.0f} MB a step at least)"
    )


def _operations(batch: int) -> float:
    """Return the arithmetic of a step: twice the products of every layer, forward and backward."""
    first, second, full = 32**2 * 9 * 3 * 32, 16**2 * 9 * 32 * 64, 64 * 64 * 256 + 256 * 10
    return 2.0 * batch * (2 * first + 3 * second + 3 * full)


def _bytes(batch: int, size: int) -> float:
    """Return what a step must move, with everything between two sums over a batch in one pass.

    A convolution's output is written, and read by BatchNorm's sums and by what follows; backward
    its gradient is written and read, and the output read again. Its input is read twice.
    """
    images, first, second = 3 * 32**2, 32 * 32**2, 64 * 16**2
    pooled = first // 4 + second // 4
    return float(size * batch * (2 * images + 6 * (first + second) + 4 * pooled))
