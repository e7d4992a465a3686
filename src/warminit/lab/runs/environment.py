"""this machine -> Environment, which is stored with each result."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

from warminit.errors import WarminitError

NUMERIC_VERSION = 2
"""Version of the arithmetic, part of every run's key; raise it if the bits of a run change."""

NUMERIC_PACKAGES = ("torch", "scikit-learn", "numpy")
"""Packages with versions stored with every result; different versions are not compared silently."""


_ELSEWHERE: dict[str, str] = {}
"""Kind of each device on the machines with the runs, if this machine lacks the device."""


@cache
def environment(device: str = "cpu") -> Mapping[str, str]:
    """Describe the machine and the versions for a run on `device`, in plain values."""
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
    """Return the kind of a device, which compared results must share: `cpu`, or the GPU's model.

    Raises:
        WarminitError: If the device is not available.
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
            f"device={device!r} is not available: expected cpu, or cuda if there is a GPU (torch "
            f"sees {found}). Choose device='cpu'."
        )
    return torch.cuda.get_device_name(device)


@contextmanager
def device_elsewhere(device: str, kind: str) -> Iterator[None]:
    """Allow plans for a device that only the machines with the runs have."""
    _ELSEWHERE[device] = kind
    environment.cache_clear()
    try:
        yield
    finally:
        del _ELSEWHERE[device]
        environment.cache_clear()


def available_cores() -> int:
    """Return the number of cores for this process, which may be fewer than the machine's."""
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
