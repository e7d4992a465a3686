"""Keep the results of a study in one SQLite file, `study.sqlite`.

One writer makes one transaction per run, so a killed study can continue. Reading needs no data set.
"""

from warminit.lab.store.store import Store, StoredRun
from warminit.lab.store.stored_study import STORE_NAME, StoredStudy, read_study, stored_runs
from warminit.lab.store.whole_file import written_whole

__all__ = [
    "STORE_NAME",
    "Store",
    "StoredRun",
    "StoredStudy",
    "read_study",
    "stored_runs",
    "written_whole",
]
