"""Runs that take turns in one process: the same bits, whoever their neighbours are."""

import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from outcomes import all_of, bits, planned, stub
from study_cases import PATIENCE, tiny_study, write_data
from training_cases import do_nothing, make_dataset, make_spec, same
from warminit.errors import WarminitError
from warminit.lab.engines import local
from warminit.lab.engines.choose import engine_for
from warminit.lab.engines.driver import plan
from warminit.lab.engines.job import DataSource, Outcome, Turns, begin, execute
from warminit.lab.engines.local import run_all
from warminit.lab.engines.options import EngineOptions
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import train, train_in_turns
from warminit.lab.study.spec import RunSpec
from warminit.models.randomness import random_state

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
MODELS = (
    "simplecnn",
    "training_cases:RecordingModel",
    "small-vit",
    "training_cases:RecordingModel",
)


def specs() -> list[RunSpec]:
    """Return four runs that draw from the global generators, some of them at every step."""
    return [
        make_spec(
            model=model, seed=seed, steps=35, batch_size=8, eval_interval=15,
            augmentation="flip-crop" if seed % 2 else "none",
        )
        for seed, model in enumerate(MODELS)
    ]  # fmt: skip


def in_turns(spec: RunSpec) -> Any:
    return train_in_turns(make_dataset(), spec, arm=do_nothing, arm_parameters={})


def disturb() -> None:
    random.random()
    np.random.rand(3)
    torch.rand(3)


def test_interleaved_runs_are_those_that_ran_alone() -> None:
    under_way = dict(enumerate(in_turns(spec) for spec in specs()))
    results: dict[int, RunResult] = {}
    order: list[tuple[int, int]] = []
    while under_way:
        for number, turns in list(under_way.items()):
            before = random_state(CPU)
            try:
                order.append((number, next(turns)))
            except StopIteration as end:
                results[number] = end.value
                del under_way[number]
            assert random_state(CPU) == before  # a turn leaves nothing behind
            disturb()
    turn = [(number, steps) for steps in (10, 20, 30, 35) for number in range(4)]
    assert order == turn
    for number, spec in enumerate(specs()):
        alone = train(make_dataset(), spec, arm=do_nothing, arm_parameters={})
        assert same(results[number], alone)


def test_a_run_that_is_given_up_leaves_nothing_behind() -> None:
    before = random_state(CPU)
    turns = in_turns(specs()[1])
    next(turns)
    turns.close()
    assert random_state(CPU) == before


# ---------------------------------------------------------------- in a worker process
@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlannedRun, ...]:
    data = write_data(tmp_path_factory.mktemp("data"))
    arms = ["torch-default", "study_cases:draws"]
    study = tiny_study(
        data, arms=arms, seeds=2, protocol={"steps": 25, "batch_size": 16, "eval_interval": 9}
    )
    return plan(study, DataSource())


def begin_together(run: PlannedRun, *, source: DataSource, folder: Path, together: int) -> Turns:
    """Begin a run once as many as `together` are there: they reach a worker one after the other."""
    (folder / run.key).touch()
    end = time.monotonic() + PATIENCE
    while len(list(folder.iterdir())) < together and time.monotonic() < end:
        yield 0
    return (yield from begin(run, source=source))


def test_runs_at_once_in_one_process_give_the_bits_of_runs_one_by_one(
    runs: tuple[PlannedRun, ...], tmp_path: Path
) -> None:
    source, told = DataSource(), []
    together = partial(begin_together, source=source, folder=tmp_path, together=3)
    outcomes = all_of(
        run_all(
            runs,
            together,
            at_once=3,
            on_progress=lambda key, steps: told.append((key, steps)) if steps else None,
        )
    )
    assert {key: bits(each) for key, each in outcomes.items()} == {
        run.key: bits(execute(run, None, source=source)) for run in runs
    }
    for run in runs:
        assert [steps for key, steps in told if key == run.key] == [10, 20, 25]
    # The first three came forward together, not one after the other.
    assert {key for key, _ in told[:3]} == {run.key for run in runs[:3]}


def test_the_engine_gives_a_gpu_many_runs_and_a_cpu_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Any]] = []

    def record(_runs: Any, job: Any, **options: Any) -> Iterator[Any]:
        asked.append((job, options["at_once"]))
        return iter(())

    monkeypatch.setattr("warminit.lab.engines.choose.run_all", record)
    job: Any = "the job"  # stands for functions
    start: Any = "what begins a run"
    for device, workers in (("cuda", None), ("cuda:1", 3), ("cpu", 3)):
        engine_for(
            EngineOptions(workers=workers),
            lambda _: job,
            DataSource(device=device),
            make_begin=lambda _: start,
        )((), lambda _key, _step: None)
    assert asked == [(start, local.RUNS_AT_ONCE), (start, 3), (job, None)]
    # A user's own training loop cannot take turns.
    source = DataSource(device="cuda")
    engine_for(EngineOptions(), lambda _: job, source)((), lambda _key, _step: None)
    assert asked[-1] == (job, None)


def test_more_runs_than_a_gpu_takes_are_refused() -> None:
    EngineOptions(workers=24).check("cuda")
    EngineOptions(workers=25).check("cpu")
    with pytest.raises(WarminitError) as error:
        EngineOptions(workers=25).check("cuda")
    assert str(error.value) == ("workers=25: expected at most 24 runs at once on device='cuda'.")


def trouble(run: PlannedRun, *, folder: Path, together: int, what: Callable[[], object]) -> Turns:
    """Note each start; the run of seed 42 causes trouble once as many as `together` have begun."""
    with (folder / run.key).open("a") as file:
        file.write("started\n")
    while run.key == "run 42" and len(list(folder.iterdir())) < together:
        yield 1
    for step in range(1, 4):
        if run.key == "run 42" and step == 2:
            what()
        time.sleep(0.02)
        yield step
    return stub()


def starts(folder: Path, runs: tuple[PlannedRun, ...]) -> list[int]:
    return [(folder / run.key).read_text().count("started") for run in runs]


def test_a_worker_that_dies_costs_each_of_its_runs_one_attempt(tmp_path: Path) -> None:
    runs = planned(6)
    dies = partial(trouble, folder=tmp_path, together=4, what=partial(os._exit, 5))
    outcomes = all_of(run_all(runs, dies, at_once=4, retries=2))
    assert runs[0].key == "run 42"
    assert outcomes.pop("run 42") == "its worker process died 3 times, last with exit code 5"
    assert list(outcomes.values()) == [stub()] * 5
    # Four began together and died together; each was then run alone, so that one alone failed.
    assert starts(tmp_path, runs) == [3, 2, 2, 2, 1, 1]


def test_a_run_that_hangs_is_stopped_and_the_others_are_not_charged(tmp_path: Path) -> None:
    runs = planned(4)
    hangs = partial(trouble, folder=tmp_path, together=2, what=partial(time.sleep, 3600))
    outcomes = all_of(run_all(runs, hangs, at_once=2, retries=1, time_limit=0.7))
    text = "it ran for longer than its time limit of 0.7 s, last of 2 times"
    assert outcomes == {run.key: stub() for run in runs} | {"run 42": text}


class Dead:
    """Stands for the process and the pipe of a worker."""

    exitcode = -9

    def close(self) -> None: ...

    def join(self) -> None: ...

    def kill(self) -> None: ...


def test_a_neighbour_of_an_overdue_run_keeps_its_attempts() -> None:
    crew = local._Crew(planned(2), (b"", 1, 2), 1, attempts=1, time_limit=10.0)
    assert crew.busy() == 2
    late, early = crew.waiting
    crew.waiting.clear()
    crew.attempts.update([late.key, early.key])
    now, dead = time.monotonic(), Dead()
    pipe: Any = dead
    worker = local._Worker(dead, pipe, ready=True)
    worker.runs = {late.key: (late, now - 11), early.key: (early, now)}
    crew.workers.append(worker)
    crew.end_overdue()
    assert list(crew.replace(worker)) == [(late, local.overran(1, 10.0))]
    assert list(crew.waiting) == [early]
    assert crew.attempts[early.key] == 0


def outcome_of(turns: Turns) -> Outcome:
    while True:
        try:
            next(turns)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


@pytest.mark.parametrize(
    ("name", "text"),
    [("raises", "RuntimeError: the arm's own complaint\n"), ("diverges", "the run diverged: its")],
)
def test_a_run_that_fails_in_its_turns_ends_with_the_same_text(
    name: str, text: str, tmp_path: Path
) -> None:
    arm = {"name": f"study_cases:{name}", "healed": str(tmp_path / "never")}
    study = tiny_study(write_data(tmp_path), arms=["torch-default", arm], seeds=1)
    _, run = plan(study, DataSource())
    source = DataSource()
    in_turns, alone = outcome_of(begin(run, source=source)), execute(run, None, source=source)
    assert text in str(in_turns)
    # The way to the error differs: through turns, or through one call.
    assert str(in_turns).splitlines()[-1] == str(alone).splitlines()[-1]
