"""every benchmark -> benchmarks/results/*.json and the tables of docs/performance.md.

`python -m benchmarks` runs all of them, `python -m benchmarks initialization startup` some.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Measured, environment
from benchmarks.tables import as_line, as_tables

MODULES = ("initialization", "startup", "laboratory", "driver", "workers", "gpu")
RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks and say of each target whether it was reached.

    Returns:
        0 where all of them ran, whatever they measured: a target that is missed is a result.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--data-root", type=Path, default=os.environ.get("WARMINIT_DATA"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON files")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that the tables go into")
    given = parser.parse_args(arguments)
    data_root = None if given.data_root is None else Path(given.data_root)
    given.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in given.modules or MODULES:
        _say(f"== {name}")
        try:
            _run(name, data_root, given.results)
        except Exception as error:  # noqa: BLE001 - the others are worth having
            failed.append(name)
            _say(f"{name} failed: {type(error).__name__}: {error}")
    if given.page.exists():
        stored = [
            json.loads((given.results / f"{name}.json").read_text())
            for name in MODULES
            if (given.results / f"{name}.json").exists()
        ]
        given.page.write_text(as_tables(given.page.read_text(), stored))
    return 1 if failed else 0


def _run(name: str, data_root: Path | None, results: Path) -> None:
    started = time.perf_counter()
    module = importlib.import_module(f"benchmarks.{name}")
    before = environment()
    measure: Callable[[Path | None], list[Measured]] = module.measure
    measured = measure(data_root)
    reasons: list[str] = module.skipped() if hasattr(module, "skipped") else []
    for each in measured:
        _say(as_line(each.record()))
    for reason in reasons:
        _say(f"skipped  {reason}")
    took = time.perf_counter() - started
    _say(f"{name}: {sum(each.passed for each in measured)} of {len(measured)} in {took:.0f} s")
    record: dict[str, Any] = {
        "module": name,
        "environment": before | {"load_average_after": environment()["load_average"]},
        "seconds": round(took, 1),
        "measured": [each.record() for each in measured],
        "skipped": reasons,
    }
    (results / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
