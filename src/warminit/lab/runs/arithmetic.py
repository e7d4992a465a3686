"""precision, device -> the arithmetic of a GPU during a run, restored afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from warminit.errors import WarminitError
from warminit.lab.study.protocol import Precision


def check_precision(precision: Precision, device: str | torch.device) -> None:
    """Raise WarminitError if a device does not support a precision.

    Example:
        >>> check_precision("bfloat16", "cpu")
    """
    if precision == "tf32" and not str(device).startswith("cuda"):
        raise WarminitError(
            f"precision='tf32' on device={str(device)!r}: expected cuda, since only GPUs support "
            "this format. Choose precision='float32', or 'bfloat16', or device='cuda'."
        )


def emulated(precision: Precision, device: str | torch.device) -> str:
    """Return a note where the processor has no unit for a precision and computes it more slowly.

    Only newer versions of torch name a processor's instructions; "" where they are not known.
    """
    if precision != "bfloat16" or not str(device).startswith("cpu"):
        return ""
    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if has.get("architecture") != "x86_64" or has.get("avx512_bf16") or has.get("amx_bf16"):
        return ""
    return (
        "precision='bfloat16': this processor emulates the format, and a step takes several times "
        "as long as in float32. Pass --precision float32, or run on a processor with AVX512-BF16 "
        "or AMX."
    )


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute on a GPU with the same kernels in every rerun, in the given format.

    In `float32` products use all 24 bits, whatever the caller allows elsewhere. In `tf32` the
    factors of products are rounded to 11 bits. `bfloat16` uses autocast, in `predict`. On the CPU
    nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    tf32 = precision == "tf32"
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        # The other kernels of attention sum their gradients in the order in which blocks end.
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32
            ),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
