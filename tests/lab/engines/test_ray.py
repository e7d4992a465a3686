"""The laboratory on a Ray cluster of three nodes: one machine's bits, each run where it belongs."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ray_cases import faulty_study, fine, noted, own_train, runs_of, stub
from ray_nodes import RAY, on_ray
from study_cases import facts, tiny_study
from training_cases import make_dataset
from warminit.errors import WarminitError
from warminit.lab import compare
from warminit.lab.engines import ray as engine_module
from warminit.lab.engines import ray_cluster
from warminit.lab.engines.driver import Listener, plan, run_study
from warminit.lab.engines.job import DataSource
from warminit.lab.engines.options import EngineOptions
from warminit.lab.engines.ray_worker import packed, unpacked
from warminit.lab.own_loop.one_run import execute as execute_own
from warminit.lab.runs.environment import device_elsewhere, environment
from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import StoredRun
from warminit.lab.store.stored_study import read_study
from warminit.lab.study.key_checks import YOURS
from warminit.lab.study.study import Study

ray = pytest.importorskip("ray", reason="needs the extra warminit[ray]")

# Ray's cluster is one for a session; with --dist loadgroup one process of pytest-xdist has it.
pytest_plugins = ("ray_fixtures",)
pytestmark = pytest.mark.xdist_group("ray")


# ---------------------------------------------------------------- the same as on one machine
def test_both_engines_give_the_same_bits_and_the_data_travel_once(
    joined: Any,
    data: Path,
    tmp_path: Path,
    undisturbed: tuple[StoredRun, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = faulty_study(data, 2)
    local = undisturbed[: len(list(study.runs()))]
    put = ray.put
    stored: list[Any] = []

    def counted(value: Any) -> Any:
        stored.append(value)
        return put(value)

    monkeypatch.setattr(ray, "put", counted)
    steps: Counter[str] = Counter()
    done: list[str] = []
    listener = Listener(
        stepped=lambda key, step: steps.update({key: 1}),
        finished=lambda run, _: done.append(run.key),
    )
    on_cluster = run_study(study, tmp_path, engine=RAY, listener=listener)
    assert all(run.result for run in local)
    assert [facts(run) for run in on_cluster] == [facts(run) for run in local]
    assert sorted(done) == sorted(run.key for run in local)
    assert set(steps) <= set(done)
    assert [each["name"] for each in stored if isinstance(each, dict)] == ["tiny.npz"]
    assert on_cluster[0].environment == environment()


def test_a_sequential_study_grows_look_by_look_on_a_cluster(
    joined: Any, data: Path, tmp_path: Path, undisturbed: tuple[StoredRun, ...]
) -> None:
    plan = {"max_seeds": 3, "looks": (2, 3), "futility": 0}
    changes = {"sequential": plan, "margin": 1e-9}
    study = Study.model_validate(faulty_study(data, 2).model_dump() | changes)
    done: list[int] = []
    listener = Listener(finished=lambda run, _: done.append(run.spec.seed))
    on_cluster = run_study(study, tmp_path, engine=RAY, listener=listener)
    local = {run.key: facts(run) for run in undisturbed}
    assert len(on_cluster) in (4, 6)  # decided at the first look, or at the last
    assert all(facts(run) == local[run.key] for run in on_cluster)
    assert sorted(done[:4]) == [7, 7, 42, 42]
    assert done[4:] == [13] * (len(on_cluster) - 4)


def test_a_data_set_comes_back_as_it_was_without_a_copy_or_a_warning() -> None:
    dataset = make_dataset()
    values = packed(dataset)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        values[name].flags.writeable = False  # as the object store gives them
    found = unpacked(values)
    assert found.train_images.data_ptr() == values["train_images"].ctypes.data
    assert torch.equal(found.test_images, dataset.test_images)
    assert torch.equal(found.train_labels, dataset.train_labels)
    assert (found.name, found.mean, found.fingerprint) == (
        "stripes",
        dataset.mean,
        "made in a test",
    )


def test_a_users_own_train_function_gives_the_same_bits(
    joined: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, settle, found = list[str](), engine_module._Dispatch.settle, {}

    def noting(dispatch: Any, flight: Any, places: Any) -> Any:
        settled.append(flight.run.key)
        return settle(dispatch, flight, places)

    monkeypatch.setattr(engine_module._Dispatch, "settle", noting)
    for engine in (EngineOptions(workers=1), RAY):
        folder = tmp_path / engine.engine
        analysis = compare(own_train, ["torch-default", "he-normal"], 2, out=folder, engine=engine)
        found[engine.engine] = [facts(run) for run in read_study(folder).runs]
        assert len(analysis.comparisons) == 1
    assert len(set(settled)) == 4
    assert found["ray"] == found["local"]


def test_a_run_has_the_threads_that_were_asked_for(joined: Any) -> None:
    study = Study.create(
        name="own", datasets=[YOURS], models=[YOURS], arms=["torch-default"], seeds=1
    )
    train = partial(own_train, threads=2)  # not what Ray sets by itself
    job = partial(execute_own, train=train, arms=["torch-default"], device="cpu")
    options = EngineOptions("ray", cpus_per_run=1)
    with on_ray(runs_of(study), job, options, threads=2) as outcomes:
        assert [type(outcome) for _, outcome in outcomes] == [RunResult]


# ---------------------------------------------------------------- how runs are placed
def test_the_longest_runs_start_first(joined: Any, tmp_path: Path) -> None:
    study = tiny_study(Path("digits"), datasets=["digits"], arms=["torch-default"], seeds=6)
    runs = runs_of(study)
    with on_ray(runs, partial(noted, folder=tmp_path), EngineOptions("ray", workers=1)) as outcomes:
        assert len(list(outcomes)) == 6
    started = [float((tmp_path / run.key).read_text().split()[0]) for run in runs]
    assert started == sorted(started, reverse=True)


@pytest.mark.parametrize(("workers", "at_most"), [(2, 2), (None, 6)])
def test_no_more_runs_than_the_stated_number_are_in_flight(
    joined: Any, monkeypatch: pytest.MonkeyPatch, workers: int | None, at_most: int
) -> None:
    flying: list[int] = []
    landed = engine_module._Dispatch.landed

    def counted(dispatch: Any) -> Any:
        flying.append(len(dispatch._flying))
        return landed(dispatch)

    monkeypatch.setattr(engine_module._Dispatch, "landed", counted)
    runs = runs_of(tiny_study(Path("digits"), datasets=["digits"], seeds=5))
    with on_ray(runs, fine, EngineOptions("ray", workers=workers)) as outcomes:
        assert len(list(outcomes)) == 10
    assert max(flying) == at_most  # twice the three slots, where none is stated


@pytest.mark.parametrize(("share", "processes"), [(0, 1), (0.5, 2)])
def test_a_process_is_kept_for_the_next_run_but_not_on_a_gpu(
    joined: Any, tmp_path: Path, share: float, processes: int
) -> None:
    study = tiny_study(Path("digits"), datasets=["digits"], arms=["torch-default"], seeds=2)
    runs = runs_of(study)
    options = EngineOptions("ray", workers=1, gpus_per_run=share)
    with on_ray(runs, partial(noted, folder=tmp_path), options) as outcomes:
        assert len(list(outcomes)) == 2
    assert len({(tmp_path / run.key).read_text().split()[1] for run in runs}) == processes


def test_what_does_not_fit_on_any_node_is_refused(joined: Any) -> None:
    study = tiny_study(Path("digits"), datasets=["digits"])
    with (
        pytest.raises(WarminitError, match=r"cpus_per_run=2, gpus_per_run=0: no node .* has room"),
        on_ray(runs_of(study), stub, EngineOptions("ray", cpus_per_run=2)) as outcomes,
    ):
        next(outcomes)


# ---------------------------------------------------------------- devices
no_gpu_here = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@no_gpu_here
def test_a_driver_without_a_gpu_plans_for_the_kind_that_a_worker_names(
    joined: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "device_kind", lambda _device: "some GPU")
    study, source, planned = tiny_study(data, seeds=1), DataSource(device="cuda"), list[str]()
    listener = Listener(planned=lambda runs, _: planned.extend(run.key for run in runs))
    # The nodes have no GPU, so that the runs that were planned for one are refused there.
    with pytest.raises(WarminitError, match=r"cannot do runs of this study.*device='cuda' is not"):
        run_study(study, tmp_path, source, engine=RAY, listener=listener)
    with device_elsewhere("cuda", "some GPU"):
        assert planned == [run.key for run in plan(study, source)]
    with pytest.raises(WarminitError, match="device='cuda' is not available"):
        plan(study, source)


@no_gpu_here
@pytest.mark.parametrize(
    ("gpus", "told"),
    [
        (1, r"node .* answers: device='cuda' is not available.* Give all"),
        (2, r"is not available here or on any node of the cluster, .*gpus_per_run=2\. Give the"),
    ],
)
def test_a_cluster_that_has_no_gpu_either_is_one_clear_error_before_data_are_read(
    joined: Any, tmp_path: Path, gpus: float, told: str
) -> None:
    study = tiny_study(tmp_path / "is not there.npz")
    options = EngineOptions("ray", gpus_per_run=gpus)
    with pytest.raises(WarminitError, match=told):
        run_study(study, tmp_path, DataSource(device="cuda"), engine=options)
