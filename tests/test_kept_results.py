"""docs/results/ -> a study's folder again: what was kept goes on, run by run."""

import json
from contextlib import closing
from pathlib import Path

from resume_results import RESULTS, resume
from warminit.lab.driver import STORE_NAME
from warminit.lab.store import Store

NAME = "search-resnet20-before"


def test_kept_results_become_a_store_again(tmp_path: Path) -> None:
    kept = json.loads((RESULTS / NAME / "results.json").read_text(encoding="utf-8"))["runs"]
    finished = {run["key"]: run for run in kept if run["result"] is not None}
    for _ in range(2):  # what is there stays
        assert resume(NAME, tmp_path / "study") == len(finished) > 0
        with closing(Store.existing(tmp_path / "study" / STORE_NAME)) as store:
            runs = {run.key: run for run in store.runs()}
        assert runs.keys() == finished.keys()
        for key, run in runs.items():
            assert run.result is not None
            result = json.loads(json.dumps(run.result.to_dict()))
            assert result == finished[key]["result"]
            assert run.spec.model_dump(mode="json") == finished[key]["spec"]
            assert dict(run.arm_parameters) == finished[key]["arm_parameters"]
            assert dict(run.environment) == finished[key]["environment"]
