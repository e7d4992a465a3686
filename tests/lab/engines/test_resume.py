"""Real drivers and workers, stopped at any moment: nothing is lost, nothing is done twice."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robustness import Robustness
from study_cases import PATIENCE, Driver, facts, tiny_study, write_data
from warminit.errors import WarminitError
from warminit.lab.engines import local
from warminit.lab.engines.driver import Listener, finished_runs, plan, run_study
from warminit.lab.engines.job import DataSource, Outcome, execute
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import Store, StoredRun
from warminit.lab.store.stored_study import STORE_NAME, StoredStudy, read_study
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import analyse

N_SEEDS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredRun, ...]:
    """Return the runs of the study that the drivers below are stopped in, from one quiet call."""
    return run_study(tiny_study(data, seeds=N_SEEDS), tmp_path_factory.mktemp("quiet"), workers=2)


def table(study: Study, runs: tuple[StoredRun, ...]) -> str:
    return repr(analyse(study, runs).cells)


def kill_and_resume(
    data: Path, folder: Path, undisturbed: tuple[StoredRun, ...], kills: int
) -> Counter[str]:
    """Kill the driver `kills` times at random moments, let it finish, and compare."""
    study = tiny_study(data, seeds=N_SEEDS)
    draw = random.Random(kills)
    counts: Counter[str] = Counter(kills=0, lost=0, doubled=0, orphans=0, studies=0)
    finished: Counter[str] = Counter()
    sessions: list[Driver] = []
    n_folders = 0

    def compare(place: Path) -> None:
        runs = finished_runs(study, place)
        counts["studies"] += 1
        counts["lost"] += len(undisturbed) - len(runs)
        counts["doubled"] += sum(times - 1 for times in finished.values())
        assert table(study, runs) == table(study, undisturbed)
        assert [facts(run) for run in runs] == [facts(run) for run in undisturbed]

    place = folder / "0"
    while counts["kills"] < kills:
        driver = Driver(data, place, workers=2, n_seeds=N_SEEDS)
        sessions.append(driver)
        # Every second time anywhere from the start of the process, its imports and its workers'
        # included; else among the runs, which are a small part of the time.
        among_the_runs = counts["kills"] % 2 == 0
        if not among_the_runs:
            time.sleep(draw.uniform(0, 6))
            driver.kill()
        wanted, seen = draw.randrange(1, 6), 0
        whole = False
        for line in driver.lines():
            if line.startswith("finished"):
                finished[line.split()[1]] += 1
                seen += 1
            whole = whole or line == "complete"
            if among_the_runs and seen == wanted:
                time.sleep(draw.uniform(0, 0.02))
                driver.kill()
                among_the_runs = False
        status, errors = driver.end()
        if whole:  # there was nothing left to kill it in: another study
            compare(place)
            n_folders += 1
            place, finished = folder / str(n_folders), Counter()
            continue
        assert status == -signal.SIGKILL, errors
        counts["kills"] += 1
    driver = Driver(data, place, workers=2, n_seeds=N_SEEDS)
    sessions.append(driver)
    finished.update(line.split()[1] for line in driver.lines() if line.startswith("finished"))
    assert driver.end() == (0, "")
    compare(place)
    counts["orphans"] = sum(not session.alone_in_time() for session in sessions)
    return counts


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.full)])
def test_kill_9_of_the_driver_loses_and_doubles_nothing(
    data: Path,
    tmp_path: Path,
    undisturbed: tuple[StoredRun, ...],
    kills: int,
    robustness: Robustness,
) -> None:
    counts = kill_and_resume(data, tmp_path, undisturbed, kills)
    assert counts["kills"] == kills
    assert counts["lost"] == counts["doubled"] == counts["orphans"] == 0
    if kills == 30:
        robustness.record("kill -9 of the driver", dict(counts))


def test_kill_9_of_the_driver_ends_a_worker_in_the_midst_of_a_long_run(
    data: Path, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    arms = ["torch-default", {"name": "study_cases:sleeps", "started": str(started)}]
    driver = Driver(data, tmp_path, workers=1, n_seeds=1, arms=arms)
    deadline = time.monotonic() + PATIENCE
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert driver.survivors()
    driver.kill()
    assert driver.end()[0] == -signal.SIGKILL
    assert driver.alone_in_time()
    assert len(read_study(tmp_path).runs) == 1


@pytest.mark.parametrize("moment", ["while workers start", "among the runs"])
def test_ctrl_c_leaves_what_is_finished_and_no_process(
    data: Path, tmp_path: Path, moment: str
) -> None:
    driver = Driver(data, tmp_path, workers=2, n_seeds=40)
    finished: list[str] = []
    for line in driver.lines():
        if line.startswith("planned") and moment == "while workers start":
            time.sleep(0.7)
            driver.interrupt()
        if line.startswith("finished"):
            finished.append(line.split()[1])
            if len(finished) == 2 and moment == "among the runs":
                driver.interrupt()
    status, errors = driver.end()
    # Python's own end by an interrupt: no worker adds a traceback of its own to it.
    assert status in (-signal.SIGINT, 130)
    assert errors.count("Traceback") == 1, errors
    assert errors.strip().endswith("KeyboardInterrupt")
    assert driver.alone_in_time()
    stored = read_study(str(tmp_path))
    study, runs = stored.study, stored.runs
    assert study == tiny_study(data, seeds=40)
    # One may be stored whose line was not printed any more.
    assert set(finished) <= {run.key for run in runs}
    assert len(finished) <= len(runs) <= len(finished) + 1 < 80


def test_a_second_driver_is_refused_while_the_first_runs(data: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        if not refused:
            with pytest.raises(WarminitError) as error:
                run_study(tiny_study(data, seeds=2), tmp_path)
            refused.append(str(error.value))
            second = Driver(data, tmp_path, workers=1, n_seeds=2)
            refused.append(second.end()[1])

    runs = run_study(
        tiny_study(data, seeds=2), tmp_path, workers=1, listener=Listener(finished=finished)
    )
    assert len(runs) == 4
    assert all("in use by another warminit process" in text for text in refused)
    assert len(refused) == 2


def test_failing_diverging_and_killed_runs_are_rows_and_are_tried_again(
    data: Path, tmp_path: Path
) -> None:
    healed = tmp_path / "healed"
    arms = ["torch-default"] + [
        {"name": f"study_cases:{name}", "healed": str(healed)}
        for name in ("dies", "raises", "diverges")
    ]
    study = tiny_study(data, arms=arms, seeds=1)
    runs = run_study(study, tmp_path, workers=2)
    by_arm: dict[str, list[StoredRun]] = {}
    for run in runs:
        by_arm.setdefault(run.spec.arm.name, []).append(run)
    assert len(runs) == 4
    assert all(run.result is not None for run in by_arm["torch-default"])
    expected = {
        "study_cases:raises": "RuntimeError: the arm's own complaint",
        "study_cases:diverges": "the run diverged: its final metrics are",
        "study_cases:dies": "its worker process died 3 times, last with exit code -9",
    }
    for name, text in expected.items():
        assert len(by_arm[name]) == 1
        for run in by_arm[name]:
            assert run.result is None
            assert run.error is not None
            assert text in run.error
    assert "in raises" in (by_arm["study_cases:raises"][0].error or "")  # the whole traceback

    healed.touch()
    ended: list[str] = []
    again = run_study(
        study,
        tmp_path,
        workers=2,
        listener=Listener(finished=lambda run, _: ended.append(run.spec.arm.name)),
    )
    assert Counter(ended) == Counter(dict.fromkeys(expected, 1))
    assert all(run.result is not None and run.error is None for run in again)
    kept = [run for run in again if run.spec.arm.name == "torch-default"]
    assert kept == by_arm["torch-default"]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[local._Worker]:
    """Return the list that every worker of this process is added to as it starts."""
    started: list[local._Worker] = []
    start = local._start

    def noted(*arguments: Any) -> local._Worker:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(local, "_start", noted)
    return started


def test_a_killed_worker_is_replaced_and_its_run_done_again(
    data: Path, tmp_path: Path, workers: list[local._Worker], one_thread: None
) -> None:
    study = tiny_study(data, seeds=2, protocol={"steps": 60, "batch_size": 16})
    killed: list[str] = []

    def stepped(key: str, step: int) -> None:
        if step == 10 and len(killed) < 2:
            killed.append(key)
            os.kill(workers[-1].process.pid, signal.SIGKILL)

    runs = run_study(study, tmp_path, workers=1, listener=Listener(stepped=stepped))
    assert len(killed) == 2
    assert killed[0] == killed[1]  # it goes first again
    assert len(workers) == 3
    assert not any(worker.process.is_alive() for worker in workers)
    for run, stored in zip(plan(study, DataSource()), runs, strict=True):
        here = execute(run, None, source=DataSource())
        assert isinstance(here, RunResult)
        assert facts(replace(stored, result=here)) == facts(stored)


def test_an_error_of_the_driver_ends_its_workers(
    data: Path, tmp_path: Path, workers: list[local._Worker]
) -> None:
    def finished(run: PlannedRun, outcome: Outcome) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone") as error:
        run_study(tiny_study(data), tmp_path, workers=1, listener=Listener(finished=finished))
    assert workers
    # While the error is held, and with it every generator on its way, as a debugger would.
    assert error.traceback
    assert not any(worker.process.is_alive() for worker in workers)
    with closing(Store.existing(tmp_path / STORE_NAME)) as store:
        assert len(store.runs()) == 1


def test_a_changed_study_in_the_same_folder_keeps_both(data: Path, tmp_path: Path) -> None:
    short = tiny_study(data, seeds=1)
    longer = tiny_study(data, seeds=1, protocol={"steps": 6, "batch_size": 16})
    first = run_study(short, tmp_path, workers=1)
    second = run_study(longer, tmp_path, workers=1)
    assert not {run.key for run in first} & {run.key for run in second}
    assert [run.spec.protocol.steps for run in finished_runs(short, tmp_path)] == [4, 4]
    assert [run.spec.protocol.steps for run in finished_runs(longer, tmp_path)] == [6, 6]
    assert read_study(tmp_path) == StoredStudy(longer, second)
    with closing(Store.existing(tmp_path / STORE_NAME)) as store:
        assert store.about("partial") == "[]"


def test_nothing_is_started_where_nothing_is_missing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(data, seeds=1)
    with Store.opened(tmp_path / STORE_NAME) as store:
        for run in plan(study, DataSource()):
            store.add(run, {}, "failed before")
    assert all(run.error for run in finished_runs(study, tmp_path))
    done = run_study(study, tmp_path, workers=1)
    assert all(run.result for run in done)
    monkeypatch.setattr(local, "_start", lambda *_: pytest.fail("a worker was started"))
    assert run_study(study, tmp_path) == done
