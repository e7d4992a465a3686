"""The laboratory on a Ray cluster of three nodes, whatever fails: runs, workers, nodes, drivers."""

import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ray_cases import (
    N_SEEDS,
    Faults,
    alive,
    faulty_study,
    misbehave,
    missing_module,
    runs_of,
    stub,
    wait_for_one,
)
from ray_nodes import RAY, on_ray
from robustness import Robustness
from study_cases import PATIENCE, facts, tiny_study
from training_cases import make_dataset
from warminit.errors import WarminitError
from warminit.lab.engines import ray as engine_module
from warminit.lab.engines.choose import engine_for
from warminit.lab.engines.driver import complete, finished_runs, plan, run_study
from warminit.lab.engines.job import DataSource
from warminit.lab.engines.options import EngineOptions
from warminit.lab.runs.environment import environment
from warminit.lab.store.store import Store, StoredRun
from warminit.lab.store.stored_study import STORE_NAME
from warminit.lab.verdict.analysis import analyse

pytest.importorskip("ray", reason="needs the extra warminit[ray]")

# Ray's cluster is one for a session; with --dist loadgroup one process of pytest-xdist has it.
pytest_plugins = ("ray_fixtures",)
pytestmark = pytest.mark.xdist_group("ray")


# ---------------------------------------------------------------- runs that fail
def test_a_run_that_kills_its_worker_and_one_that_hangs_are_reported_and_the_rest_goes_on(
    joined: Any, tmp_path: Path
) -> None:
    study = tiny_study(
        Path("digits"), datasets=["digits"], arms=["torch-default", "he-normal", "he-uniform"]
    ).model_copy(update={"seeds": (1,)})
    runs = runs_of(study)
    # So long that a run which is only slow, on a busy machine, is not taken to hang.
    options = EngineOptions("ray", retries=1, time_limit=4)
    job = partial(misbehave, folder=tmp_path)
    stored = complete(study, runs, tmp_path, engine_for(options, lambda _: job, DataSource()))
    fine, killed, hung = stored
    assert fine.result == stub()
    assert "its worker or node was lost 2 times, last: The worker died" in str(killed.error)
    assert hung.error == "it ran for longer than its time limit of 4 s, last of 2 times"
    started = [(tmp_path / run.spec.arm.name).read_text() for run in runs]
    assert started == ["1\n", "1\n1\n", "1\n1\n"]


def test_runs_that_raise_or_diverge_are_rows_and_are_tried_again(
    joined: Any, data: Path, tmp_path: Path
) -> None:
    healed = tmp_path / "healed"
    arms = ["torch-default"] + [
        {"name": f"study_cases:{name}", "healed": str(healed)} for name in ("raises", "diverges")
    ]
    study = tiny_study(data, arms=arms, seeds=1)
    fine, raised, diverged = run_study(study, tmp_path, engine=RAY)
    assert fine.result is not None
    assert "RuntimeError: the arm's own complaint" in str(raised.error)
    assert "the run diverged: its final metrics are" in str(diverged.error)
    assert [run.spec.arm.name for run in analyse(study, (fine, raised, diverged)).failed] == [
        "study_cases:raises",
        "study_cases:diverges",
    ]
    healed.touch()
    again = run_study(study, tmp_path, engine=RAY)
    assert again[0] == fine
    assert all(run.result is not None and run.error is None for run in again)


def test_nodes_of_another_kind_are_refused(
    joined: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {**environment(), "device": "another GPU"}
    monkeypatch.setattr(engine_module, "environment", lambda _device: here)
    study = tiny_study(data, seeds=1)
    expected = "not be comparable: it has device cpu, and the driver device another GPU"
    with pytest.raises(WarminitError, match=expected):
        run_study(study, tmp_path, engine=RAY)
    assert finished_runs(study, tmp_path) == ()


def test_a_job_that_no_worker_can_load_is_one_clear_error(joined: Any) -> None:
    engine = engine_for(RAY, missing_module, DataSource())
    runs = runs_of(tiny_study(Path("digits"), datasets=["digits"]))
    with (
        pytest.raises(WarminitError, match=r"could not take a run: .*a_module_that_no_node_has"),
        closing(engine(runs, lambda _key, _step: None)) as outcomes,  # type: ignore[type-var]  # a generator
    ):
        next(outcomes)


def test_data_that_neither_fit_nor_can_be_spilled_are_one_clear_error(
    joined: Any, data: Path, tmp_path: Path
) -> None:
    study = tiny_study(data, seeds=2)
    runs = plan(study, DataSource())
    with Store.opened(tmp_path / STORE_NAME) as store:
        store.add(runs[0], environment(), stub())
    images = torch.zeros(100, 3, 1000, 1000, dtype=torch.uint8)
    large = replace(make_dataset(), train_images=images)
    engine = engine_for(RAY, missing_module, DataSource(), datasets={"large": large})
    with pytest.raises(WarminitError, match="no room for 'large': Local disk is full"):
        complete(study, runs, tmp_path, engine)
    assert [run.result for run in finished_runs(study, tmp_path)] == [stub()]


def test_a_closed_engine_stops_its_runs(joined: Any, tmp_path: Path) -> None:
    study = tiny_study(Path("digits"), datasets=["digits"], arms=["torch-default"])
    long, *rest = runs_of(study)
    job = partial(wait_for_one, folder=tmp_path, first=rest[0].key)
    with on_ray((long, rest[0]), job) as outcomes:
        assert next(outcomes)[0] == rest[0]
        worker = int((tmp_path / "worker").read_text())
        assert alive(worker)
    deadline = time.monotonic() + PATIENCE
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---------------------------------------------------------------- faults from outside
@pytest.mark.parametrize(
    ("n_faults", "n_seeds"), [(3, N_SEEDS), pytest.param(100, 120, marks=pytest.mark.full)]
)
def test_killed_workers_nodes_and_drivers_lose_and_double_nothing(
    cluster: Any,
    data: Path,
    tmp_path: Path,
    undisturbed: tuple[StoredRun, ...],
    robustness: Robustness,
    n_faults: int,
    n_seeds: int,
) -> None:
    study = faulty_study(data, n_seeds)
    faults = Faults(cluster, data, tmp_path / "ray", n_seeds)
    kinds = ["driver", "worker", "node"] + (["worker"] * 7 + ["node", "driver", "node"])
    faults.start_driver()
    struck = 0
    while struck < n_faults and faults.await_runs(1):
        struck += faults.strike(kinds[struck % len(kinds)])
    faults.end_driver()
    counts = faults.counts
    if n_seeds != N_SEEDS:
        undisturbed = run_study(study, tmp_path / "local", workers=2)
    runs = finished_runs(study, tmp_path / "ray")
    assert struck == n_faults
    assert [facts(run) for run in runs] == [facts(run) for run in undisturbed]
    assert repr(analyse(study, runs).cells) == repr(analyse(study, undisturbed).cells)
    assert len(runs) == 2 * n_seeds
    assert set(faults.finished.values()) == {1}
    assert counts["failed"] == 0
    if n_faults == 100:
        lost = len(undisturbed) - len(runs)
        doubled = sum(times - 1 for times in faults.finished.values())
        robustness.record(
            "faults on a Ray cluster",
            {**counts, "faults": struck, "runs": len(runs), "lost": lost, "doubled": doubled},
        )
