"""What is kept of a run: compact in memory, exact, and the same text in the store as ever."""

import json
import sqlite3
from array import array
from contextlib import closing
from pathlib import Path

import pytest

from study_runs import small_study
from warminit.errors import WarminitError
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import Store

LOSSES = [0.1 + 0.2, 1e-300, 2 / 3]
VALUES = {
    "metrics": {"accuracy": 1 / 3},
    "train_loss": LOSSES,
    "eval_steps": [2, 3],
    "eval_metrics": {"accuracy": [0.1, 1 / 3], "loss": [2.5, 7e-5]},
    "weights_digest": "ab" * 32,
    "init_report": {"arm": "mine", "provenance": {"scale": "by the test"}, "seconds": 0.5},
    "init_seconds": 0.25,
    "train_seconds": 1.5,
    "trained_filters": {"layers": "conv1", "shape": [1], "float32": "AAAAAA=="},
    "calibration_error": 0.125,
}
"""As JSON has them."""


def test_curves_take_eight_bytes_a_value_and_are_plain_in_json() -> None:
    found = RunResult.from_dict(VALUES)
    for curve in (found.train_loss, *found.eval_metrics.values()):
        assert isinstance(curve, array)
        assert curve.itemsize == 8
    assert list(found.train_loss) == LOSSES
    assert json.loads(json.dumps(found.to_dict())) == VALUES
    assert RunResult.from_dict(found.to_dict()) == found


def test_the_store_has_the_text_of_plain_values_and_reads_equal_parts_once(tmp_path: Path) -> None:
    path, study = tmp_path / "study.sqlite", small_study(arms=["torch-default"], seeds=2)
    with Store.opened(path) as store:
        for spec in study.runs():
            run = PlannedRun(spec, {"patches_per_image": 22}, f"run {spec.seed}")
            store.add(run, {"device": "cpu", "torch": "2"}, RunResult.from_dict(VALUES))
    with closing(sqlite3.connect(path)) as connection:
        texts = {text for (text,) in connection.execute("SELECT result FROM runs")}
    assert texts == {json.dumps(VALUES)}
    with closing(Store.existing(path)) as store:
        one, other = store.runs()
    assert {one.spec.seed, other.spec.seed} == set(study.seeds)
    assert one.result is not None
    assert other.result is not None
    assert one.result.to_dict() == RunResult.from_dict(VALUES).to_dict()
    assert one.environment is other.environment
    assert one.arm_parameters is other.arm_parameters
    assert one.spec.protocol is other.spec.protocol
    assert one.result.eval_steps is other.result.eval_steps
    assert one.result.init_report["provenance"] is other.result.init_report["provenance"]


def test_a_result_from_before_calibration_was_measured_is_read_without_it() -> None:
    before = RunResult.from_dict({k: v for k, v in VALUES.items() if k != "calibration_error"})
    assert before.calibration_error is None
    with pytest.raises(WarminitError, match="calibration_error"):
        before.metric("calibration_error")
    assert RunResult.from_dict(VALUES).metric("calibration_error") == 0.125
