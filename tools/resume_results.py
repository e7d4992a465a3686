"""docs/results/NAME -> a study's folder with the runs that were kept, so that the study goes on.

Usage: python tools/resume_results.py full warminit-results/full
"""

import sys
from pathlib import Path

from kept_format import RESULTS
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.store.store import Store
from warminit.lab.store.stored_study import STORE_NAME
from warminit.lab.verdict.kept import kept_runs


def resume(name: str, folder: Path) -> int:
    """Write the finished runs of docs/results/NAME to the store in `folder`; return how many.

    The store may be there already: what it has stays. `warminit run STUDY --out FOLDER` then does
    what is missing. Runs of another numeric version or study keep their keys, and are passed over.
    """
    count = 0
    with Store.opened(folder / STORE_NAME) as store:
        for run in kept_runs(RESULTS / name):
            if run.result is not None:
                planned = PlannedRun(run.spec, run.arm_parameters, run.key)
                store.add(planned, run.environment, run.result)
                count += 1
    return count


if __name__ == "__main__":
    print(f"{resume(sys.argv[1], Path(sys.argv[2]))} runs")
