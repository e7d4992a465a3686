"""this machine -> Environment. What a result was computed with, kept beside it."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

from warminit.errors import WarminitError

NUMERIC_VERSION = 2
"""Raised whenever a change of this code changes the bits of a run; part of every run's key."""

NUMERIC_PACKAGES = ("torch", "scikit-learn", "numpy")
"""Packages whose versions stand beside every result; different ones are not compared silently."""


_ELSEWHERE: dict[str, str] = {}
"""By device, its kind on the machines that do the runs, where this one has no such device."""


@cache
def environment(device: str = "cpu") -> Mapping[str, str]:
    """Describe the machine and the versions that a run on `device` uses, in plain values."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in NUMERIC_PACKAGES},
        "warminit": version("warminit"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "device": device_kind(device),
    }


def device_kind(device: str) -> str:
    """Return what results must share to be compared: `cpu`, or the model of the GPU.

    Raises:
        WarminitError: If the device is not there.
    """
    if device == "cpu":
        return device
    if device in _ELSEWHERE:
        return _ELSEWHERE[device]
    import torch

    kind, _, index = device.partition(":")
    found = torch.cuda.device_count()
    if kind != "cuda" or not (index or "0").isdecimal() or int(index or 0) >= found:
        raise WarminitError(
            f"device={device!r} is not at hand: expected cpu, or cuda where there is a GPU (torch "
            f"sees {found}). Choose device='cpu'."
        )
    return torch.cuda.get_device_name(device)


@contextmanager
def device_elsewhere(device: str, kind: str) -> Iterator[None]:
    """Let runs be planned here for a device that only the machines have which will do them."""
    _ELSEWHERE[device] = kind
    environment.cache_clear()
    try:
        yield
    finally:
        del _ELSEWHERE[device]
        environment.cache_clear()


def available_cores() -> int:
    """Return the cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
