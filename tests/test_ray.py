"""The laboratory on a Ray cluster of three nodes: one machine's bits, whatever dies."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Robustness
from ray_cases import (
    Faults,
    alive,
    faulty_study,
    fine,
    misbehave,
    missing_module,
    noted,
    own_train,
    runs_of,
    stub,
    three_nodes,
    wait_for_one,
)
from study_cases import facts, tiny_study, write_data
from training_cases import make_dataset
from warminit.errors import WarminitError
from warminit.lab import own_loop
from warminit.lab.analysis import analyse
from warminit.lab.driver import (
    STORE_NAME,
    Listener,
    complete,
    finished_runs,
    plan,
    run_study,
)
from warminit.lab.engines import ray as engine_module
from warminit.lab.engines.job import DataSource
from warminit.lab.engines.options import EngineOptions, engine_for
from warminit.lab.engines.ray_worker import packed, unpacked
from warminit.lab.environment import environment
from warminit.lab.plan import PlannedRun
from warminit.lab.store import Store, StoredRun
from warminit.lab.study import Study
from warminit.lab.study_checks import YOURS

ray = pytest.importorskip("ray", reason="needs the extra warminit[ray]")

# One cluster is enough for two cores: with --dist loadgroup one process of pytest-xdist has it.
pytestmark = pytest.mark.xdist_group("ray")

RAY = EngineOptions("ray")
N_SEEDS = 8


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with three_nodes() as started:
        yield started


@pytest.fixture(scope="module")
def joined(cluster: Any) -> Iterator[Any]:
    """Connect this process once, as a user's own script may, so that workers are kept."""
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredRun, ...]:
    """Return the runs of the study that is disturbed below, from the local engine."""
    folder = tmp_path_factory.mktemp("local")
    return run_study(faulty_study(data, N_SEEDS), folder, workers=1)


@contextmanager
def on_ray(
    runs: tuple[PlannedRun, ...], job: Any, options: EngineOptions = RAY, threads: int = 1
) -> Iterator[Any]:
    engine = engine_for(options, lambda _: job, DataSource(threads=threads))
    with closing(engine(runs, lambda _key, _step: None)) as outcomes:  # type: ignore[type-var]  # a generator
        yield outcomes


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


def test_a_users_own_train_function_gives_the_same_bits(joined: Any, tmp_path: Path) -> None:
    study = Study.create(
        name="own",
        datasets=[YOURS],
        models=[YOURS],
        arms=["torch-default", "he-normal"],
        seeds=2,
        protocol={"steps": 1},
    )
    train = partial(own_train, threads=2)  # not what Ray sets by itself
    runs = runs_of(study)
    job = partial(own_loop._execute, train=train, device="cpu")
    found = {}
    for options in (EngineOptions(workers=1), EngineOptions("ray", cpus_per_run=1)):
        found[options.engine] = complete(
            study,
            runs,
            tmp_path / options.engine,
            engine_for(options, lambda _: job, DataSource(threads=2)),
        )
    assert all(run.error is None for run in found["ray"])
    assert [facts(run) for run in found["ray"]] == [facts(run) for run in found["local"]]


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


# ---------------------------------------------------------------- runs that fail
def test_a_run_that_kills_its_worker_and_one_that_hangs_are_reported_and_the_rest_goes_on(
    joined: Any, tmp_path: Path
) -> None:
    study = tiny_study(
        Path("digits"), datasets=["digits"], arms=["torch-default", "he-normal", "he-uniform"]
    ).model_copy(update={"seeds": (1,)})
    runs = runs_of(study)
    options = EngineOptions("ray", retries=1, time_limit=0.5)
    job = partial(misbehave, folder=tmp_path)
    stored = complete(study, runs, tmp_path, engine_for(options, lambda _: job, DataSource()))
    fine, killed, hung = stored
    assert fine.result == stub()
    assert "its worker or node was lost 2 times, last: The worker died" in str(killed.error)
    assert hung.error == "it ran for longer than its time limit of 0.5 s, last of 2 times"
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
    deadline = time.monotonic() + 30
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
