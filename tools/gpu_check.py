"""a machine with a GPU -> gpu_check.json: which parts passed, failed or could not run, and why.

tools/gpu_check.sh starts it. Every part has a process and a time limit of its own, so that a part
that lacks a package, crashes or hangs costs no other part.
"""

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu_parts

LIMITS = {"filters": 60, "graphs": 90, "together": 60, "benchmark": 270, "tests": 240}
"""Seconds of each part at most, in their order."""

BUDGET = 450
"""Seconds of all parts together."""

LEAST = 5
"""Seconds that a part is started with."""

PACKAGES = ("numpy", "scipy", "sklearn", "pydantic", "pytest", "hypothesis", "datasets", "altair")

Record = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Run every part; return 0 where all of them passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_check.json")
    parser.add_argument("--dry", action="store_true", help="toy size, on the CPU")
    parser.add_argument("--parts", nargs="*", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--part", choices=LIMITS, help="do one part in this process")
    given = parser.parse_args(arguments)
    out: Path = given.out
    if given.part:
        return _do(given.part, out, dry=given.dry)
    began = time.monotonic()
    record: Record = {"dry": given.dry, "passed": False, "machine": _machine(), "parts": {}}
    for name in given.parts:
        limit = min(LIMITS[name], BUDGET - (time.monotonic() - began))
        print(f"== {name}, at most {limit:.0f} s", flush=True)
        found = _run(name, out, limit, dry=given.dry)
        record["parts"][name] = found
        record["passed"] = all(each["state"] == "passed" for each in record["parts"].values())
        record["seconds"] = round(time.monotonic() - began, 1)
        _write(out / "gpu_check.json", record)
        print(f"== {name}: {found['state']} {found['reason']}", flush=True)
    return 0 if record["passed"] else 1


def _run(name: str, out: Path, limit: float, *, dry: bool) -> Record:
    """Run a part in a process of its own; what it had found when it ended early is kept."""
    path = out / f"{name}.part.json"
    path.unlink(missing_ok=True)
    if limit < LEAST:
        return {"state": "not run", "reason": "no time was left", "seconds": 0.0, "found": {}}
    command = [sys.executable, __file__, "--out", str(out), "--part", name, *["--dry"][: int(dry)]]
    began, ended = time.monotonic(), None
    with subprocess.Popen(command, start_new_session=True) as process:  # noqa: S603 - this file
        try:
            ended = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"found": {}}
    path.unlink(missing_ok=True)
    if "state" not in found:
        what = f"ended with status {ended}" if ended is not None else f"took over {limit:.0f} s"
        found |= {"state": "failed", "reason": f"the process {what}"}
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _do(name: str, out: Path, *, dry: bool) -> int:
    """Do one part and write how it went."""
    path = out / f"{name}.part.json"
    found: Record = {}

    def keep() -> None:
        _write(path, {"found": found})

    state, reason = "passed", ""
    try:
        failures = gpu_parts.PARTS[name](found, keep, dry)
        if failures:
            state, reason = "failed", "; ".join(failures)
    except ImportError as error:
        state = "not run"
        reason = f"{error}. Install it, or take wheels along (tools/gpu_check.sh --pack)"
    except gpu_parts.NoGpuError as error:
        state, reason = "not run", str(error)
    except Exception as error:  # noqa: BLE001 - the other parts are worth having
        state, reason = "failed", f"{type(error).__name__}: {error}"
    _write(path, {"state": state, "reason": reason, "found": found})
    return 0 if state == "passed" else 1


def _machine() -> Record:
    found: Record = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "packages": [name for name in PACKAGES if importlib.util.find_spec(name)],
        "packages_missing": [name for name in PACKAGES if not importlib.util.find_spec(name)],
    }
    try:
        import torch
    except ImportError as error:
        return found | {"torch": str(error)}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return found | {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": gpu}


def _write(path: Path, record: Record) -> None:
    """Replace a file at once, so that it is whole whenever its writer is killed."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
