"""this machine -> Environment. What a result was computed with, kept beside it."""

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

NUMERIC_VERSION = 1
"""Raised whenever a change of this code changes the bits of a run; part of every run's key."""

NUMERIC_PACKAGES = ("torch", "scikit-learn", "numpy")
"""Packages whose versions stand beside every result; different ones are not compared silently."""


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
    """Return what results must share to be compared: `cpu`, or the model of the GPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return device


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
