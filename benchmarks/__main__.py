"""every benchmark -> benchmarks/results/*.json and the tables of docs/performance.md.

`python -m benchmarks` runs all of them, `python -m benchmarks initialization startup` some.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Measured, environment
from benchmarks.tables import as_line, as_tables

MODULES = (
    "initialization",
    "architectures",
    "startup",
    "demo",
    "laboratory",
    "driver",
    "workers",
    "gpu",
)
RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]
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
    parser.add_argument("--toy", action="store_true", help="gpu alone, small, and on the CPU")
    given = parser.parse_args(arguments)
    if given.toy and given.modules != ["gpu"]:
        parser.error("--toy: expected the module gpu alone. Run python -m benchmarks gpu --toy.")
    data_root = None if given.data_root is None else Path(given.data_root)
    given.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in given.modules or MODULES:
        _say(f"== {name}")
        try:
            unfinished = given.results / f"{name}.partial.json"
            record = run(name, data_root, partial(_write, unfinished), toy=given.toy)
            _write(given.results / f"{name}.json", record)
            unfinished.unlink(missing_ok=True)
        except Exception as error:  # noqa: BLE001 - the others are worth having
            failed.append(name)
            _say(f"{name} failed: {type(error).__name__}: {error}")
    if given.page.exists() and not given.toy:
        given.page.write_text(as_tables(given.page.read_text(), kept_records(given.results)))
    return 1 if failed else 0


def kept_records(results: Path) -> list[Record]:
    """Return the kept record of every module that has one, in the order of the page."""
    paths = (results / f"{name}.json" for name in MODULES)
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def run(
    name: str, data_root: Path | None, keep: Callable[[Record], object], *, toy: bool = False
) -> Record:
    """Run one module and print each figure as soon as it is measured.

    Args:
        name: One of `MODULES`.
        data_root: Folder of real image sets.
        keep: Called with the unfinished record after every figure.
        toy: Whether to run at toy size on the CPU; `gpu` alone can.

    Returns:
        The record as benchmarks/results/ has it.
    """
    started = time.perf_counter()
    module = importlib.import_module(f"benchmarks.{name}")
    measure: Callable[[Path | None], Iterable[Measured]]
    measure = module.measure_toy if toy else module.measure
    record: Record = {"module": name, "toy": True} if toy else {"module": name}
    record |= {"environment": environment(), "seconds": 0.0, "measured": [], "skipped": []}
    for each in measure(data_root):
        record["measured"].append(each.record())
        _say(as_line(each.record()))
        keep(record)
    record["skipped"] = [] if toy or not hasattr(module, "skipped") else module.skipped()
    for reason in record["skipped"]:
        _say(f"skipped  {reason}")
    took = time.perf_counter() - started
    passed = sum(each["passed"] for each in record["measured"])
    _say(f"{name}: {passed} of {len(record['measured'])} in {took:.0f} s")
    record["environment"]["load_average_after"] = environment()["load_average"]
    record["seconds"] = round(took, 1)
    return record


def _write(path: Path, record: Record) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
