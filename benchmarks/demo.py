"""the command of `make demo` -> seconds from its start to its verdict, and the runs it spared."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Measured

COMMAND = ("compare", "--until-decided", "--max-seeds", "8", "--steps", "100")
"""What the Makefile calls `warminit` with."""

WANTED = 60.0
CORES = 2


def measure(_data_root: Path | None) -> list[Measured]:
    """Run the demonstration once, on the embedded images, with a worker on each of two cores."""
    before = _children()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run(  # noqa: S603 - the program that was just installed
            [
                *(sys.executable, "-m", "warminit.cli", *COMMAND),
                *("--workers", str(CORES), "--out", folder, "--quiet"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds = time.monotonic() - started
        found = json.loads(Path(folder, "results.json").read_text(encoding="utf-8"))
    busy = _children() - before
    runs, outcomes = len(found["runs"]), [cell["outcome"] for cell in found["cells"][1:]]
    note = (
        f"{runs} runs, {found['spared_runs']} spared; {', '.join(outcomes)}; {busy:.0f} s of CPU "
        "time, half of which two free cores need; the page and its pictures are in it"
    )
    return [
        Measured(
            "demo",
            f"warminit {' '.join(COMMAND)}, {CORES} workers",
            "seconds to the verdict",
            WANTED,
            "at most",
            seconds,
            {"wall": [seconds], "CPU": [busy]},
            note,
        )
    ]


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
