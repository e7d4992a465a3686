"""docs/results/NAME -> a study's folder with the runs that were kept, so that the study goes on.

Usage: python tools/resume_results.py full warminit-results/full
"""

import json
import sys
from pathlib import Path

from warminit.lab.driver import STORE_NAME
from warminit.lab.plan import PlannedRun
from warminit.lab.results import RunResult
from warminit.lab.store import Store
from warminit.lab.study import RunSpec

RESULTS = Path(__file__).parent.parent / "docs" / "results"


def resume(name: str, folder: Path) -> int:
    """Write the finished runs of docs/results/NAME to the store in `folder`; return how many.

    The store may be there already: what it has stays. `warminit run STUDY --out FOLDER` then does
    what is missing. Runs of another numeric version or study keep their keys, and are passed over.
    """
    kept = json.loads((RESULTS / name / "results.json").read_text(encoding="utf-8"))
    finished = [run for run in kept["runs"] if run["result"] is not None]
    with Store.opened(folder / STORE_NAME) as store:
        for run in finished:
            planned = PlannedRun(
                RunSpec.model_validate(run["spec"]), run["arm_parameters"], run["key"]
            )
            store.add(planned, run["environment"], RunResult.from_dict(run["result"]))
    return len(finished)


if __name__ == "__main__":
    print(resume(sys.argv[1], Path(sys.argv[2])), "runs")
