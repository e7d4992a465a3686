"""A study file and a store as 0.1 wrote them: read, with today's names and the keys of 0.1."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from training_cases import make_dataset
from warminit.errors import WarminitError
from warminit.lab import read_study
from warminit.lab.runs.environment import NUMERIC_VERSION
from warminit.lab.runs.plan import arm_parameters, plan_runs
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import Study
from warminit.renamed import parameters_in_keys, parameters_today
from warminit.report import InitReport

STUDY = """
name = "of-0-1"
datasets = ["digits"]
arms = [
    { name = "prewarm", n_clusters = 4, n_patches = [5, 9], engine = "fast", layer = "conv1" },
    { name = "whitening", n_filters = 6, n_patches = 7 },
    { name = "whitening-small-head", head = 0.3 },
]
baseline = "prewarm(engine=fast, layer=conv1, n_clusters=4, n_patches=5)"
seeds = [7]
protocol = { steps = 4, batch_size = 16, eval_interval = 2 }
"""
LABELS = (
    "prewarm(algorithm=fast, layers=conv1, n_filters=4, patches_per_image=5)",
    "prewarm(algorithm=fast, layers=conv1, n_filters=4, patches_per_image=9)",
    "whitening(n_filters=6, patches_per_image=7)",
    "whitening-small-head(head_scale=0.3)",
)
SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (
    key TEXT PRIMARY KEY, spec TEXT NOT NULL, arm_parameters TEXT NOT NULL,
    environment TEXT NOT NULL, result TEXT, error TEXT, finished_at TEXT NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
GIVEN = {"n_clusters": 4, "n_patches": 5, "engine": "fast", "layer": "conv1"}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return Study.from_toml(path)


def test_a_study_file_gets_todays_names(study: Study) -> None:
    assert tuple(arm.label for arm in study.arms) == LABELS
    assert study.baseline == LABELS[0]
    assert study.arms[0].parameters == {
        "n_filters": 4, "patches_per_image": 5, "algorithm": "fast", "layers": "conv1",
    }  # fmt: skip
    # What is written down is read again, and means the same.
    assert Study.model_validate_json(study.model_dump_json()) == study
    with pytest.raises(WarminitError, match="n_clusters=4 and n_filters=5"):
        parameters_today("prewarm", {"n_clusters": 4, "n_filters": 5})


def test_the_keys_are_those_of_0_1(study: Study) -> None:
    dataset = make_dataset(shape=(3, 8, 8))
    planned = plan_runs(study, {"digits": dataset})
    # As 0.1 put them down for a function that names every keyword it takes.
    told = [
        {**GIVEN, "n_patches": 5}, {**GIVEN, "n_patches": 9}, {"n_filters": 6, "n_patches": 7},
    ]  # fmt: skip
    for run, parameters in zip(planned, told, strict=False):
        spec = run.spec
        decides: dict[str, Any] = {
            "data": dataset.fingerprint,
            "validation": 0,
            "model": spec.model,
            "arm": spec.arm.name,
            "parameters": parameters,
            "seed": 7,
            "protocol": spec.protocol.model_dump(exclude={"warmup"}),
            "learning_rates": [0.003, 3e-05],
            "device": "cpu",
            "threads": 1,
            "numeric_version": NUMERIC_VERSION,
        }
        text = json.dumps(decides, sort_keys=True, default=str)
        assert run.key == hashlib.sha256(text.encode()).hexdigest()
    small_head = planned[-1]
    assert set(parameters_in_keys("whitening-small-head", small_head.arm_parameters)) == {
        "head", "n_patches",
    }  # fmt: skip


def test_a_store_gets_todays_names(study: Study, tmp_path: Path) -> None:
    protocol = study.protocol.model_dump()
    spec = {
        "dataset": "digits", "model": "simplecnn", "arm": {"name": "prewarm", "parameters": GIVEN},
        "seed": 7, "protocol": protocol, "validation": 0,
    }  # fmt: skip
    arms = [{"name": "prewarm", "parameters": GIVEN}, {"name": "torch-default", "parameters": {}}]
    about = study.model_dump(mode="json") | {
        "arms": arms,
        "baseline": "prewarm(engine=fast, layer=conv1, n_clusters=4, n_patches=5)",
    }
    result = {
        "metrics": {"accuracy": 0.5}, "train_loss": [1.0], "eval_steps": [4],
        "eval_metrics": {"accuracy": [0.5]}, "weights_digest": "ab" * 32,
        "init_report": {"arm": "prewarm", "parameters": {"n_clusters": 4}, "notes": []},
        "init_seconds": 0.25, "train_seconds": 1.5,
    }  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "study.sqlite")) as store:
        store.executescript(SCHEMA)
        texts = {"study": json.dumps(about), "keys": '["first"]', "partial": "[]"}
        store.executemany("INSERT INTO about VALUES (?, ?)", texts.items())
        row = ("first", *map(json.dumps, (spec, GIVEN, {}, result)), None, "2026-01-01")
        store.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        store.commit()
    read = read_study(tmp_path)
    assert [arm.label for arm in read.study.arms] == [LABELS[0], "torch-default"]
    assert read.study.baseline == LABELS[0]
    (run,) = read.runs
    assert run.spec.arm.label == LABELS[0]
    assert run.arm_parameters == run.spec.arm.parameters == study.arms[0].parameters
    assert parameters_in_keys("prewarm", run.arm_parameters) == GIVEN


def old_function(model: Any, images: Any, *, seed: int, n_patches: int = 1) -> InitReport:
    raise NotImplementedError


def new_function(model: Any, images: Any, *, seed: int, patches_per_image: int = 1) -> InitReport:
    raise NotImplementedError


def test_a_function_of_your_own_keeps_its_names() -> None:
    derived = {"patches_per_image": 23, "algorithm": "paper"}
    name = "mine:old_function"
    with pytest.warns(DeprecationWarning, match="n_patches= of your function is called patches_p"):
        found = arm_parameters(old_function, derived, ArmSpec(name=name))
    assert found == {"n_patches": 23}
    assert parameters_in_keys(name, found) == found
    found = arm_parameters(new_function, derived, ArmSpec(name="mine:new_function"))
    assert found == {"patches_per_image": 23}
    assert parameters_in_keys("mine:new_function", found) == {"n_patches": 23}
    given = {"n_clusters": 3, "head": 0.1, "layer": "a"}
    assert ArmSpec(name=name, parameters=given).parameters == given
