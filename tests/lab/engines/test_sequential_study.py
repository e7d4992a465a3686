"""sequential studies: only needed runs, the same bits and keys, resumed, failures, both margins."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outcomes import stub
from study_cases import facts, tiny_study, write_data
from warminit.lab.engines.driver import Listener, complete, plan, run_study
from warminit.lab.engines.job import DataSource, Outcome, execute
from warminit.lab.engines.options import OnProgress
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.study.study import Study

CLEAR = [0.10, 0.11, 0.09, 0.12, 0.10, 0.08, 0.11, 0.10]
"""Differences that are decided at the first look, of five seeds."""

NOISE = [0.05, -0.04, 0.06, -0.05, 0.02, -0.03, 0.04, -0.02]
"""Differences that show nothing: unlikely to be decided, from the first look on."""


def planned(study: Study) -> tuple[PlannedRun, ...]:
    return tuple(
        PlannedRun(spec, {}, f"{spec.dataset} {spec.model} {spec.arm.label} {spec.seed}")
        for spec in study.runs()
    )


def scripted(
    study: Study, gains: dict[str, Sequence[float | str]], done: list[str]
) -> Callable[[Sequence[PlannedRun], OnProgress], Iterator[tuple[PlannedRun, Outcome]]]:
    """Return an engine that gives the baseline 0.5 and every arm its gain at each seed."""

    def engine(runs: Sequence[PlannedRun], _: OnProgress) -> Iterator[tuple[PlannedRun, Outcome]]:
        for run in runs:
            place = study.seeds.index(run.spec.seed)
            gain = gains.get(run.spec.arm.label, [0.0] * len(study.seeds))[place]
            done.append(run.key)
            yield run, gain if isinstance(gain, str) else stub(accuracy=0.5 + gain)

    return engine


def play(
    folder: Path, gains: dict[str, Sequence[float | str]], **changes: Any
) -> tuple[list[str], Counter[str]]:
    """Return the keys of the runs that were done, in order, and how many an arm."""
    arms = ["torch-default", *gains]
    study = tiny_study(Path("digits"), datasets=["digits"], arms=arms, **changes)
    done: list[str] = []
    complete(study, planned(study), folder, scripted(study, gains, done))
    return done, Counter(key.split()[-2] for key in done)


SEQUENTIAL = {"sequential": {"max_seeds": 8, "futility": 0}, "seeds": 8}


def test_what_is_decided_is_not_run_further_and_the_baseline_goes_on(tmp_path: Path) -> None:
    done, runs = play(tmp_path, {"he-normal": CLEAR, "dirac": NOISE}, **SEQUENTIAL)
    # Decided after five seeds; the other one to the maximum, and the baseline beside it.
    assert runs == {"torch-default": 8, "he-normal": 5, "dirac": 8}
    assert len(done) == len(set(done)) == 21


def test_a_comparison_that_cannot_be_decided_ends_early_too(tmp_path: Path) -> None:
    _, runs = play(tmp_path, {"dirac": NOISE}, sequential={"max_seeds": 8})
    assert runs == {"torch-default": 5, "dirac": 5}


def test_looks_say_how_many_seeds_are_run_at_once(tmp_path: Path) -> None:
    grown: list[int] = []
    study = tiny_study(
        Path("digits"), datasets=["digits"], sequential={"max_seeds": 8, "looks": [3, 6, 8]}
    )

    def engine(runs: Sequence[PlannedRun], _: OnProgress) -> Iterator[tuple[PlannedRun, Outcome]]:
        for run in runs:
            grown.append(len(runs))
            place = study.seeds.index(run.spec.seed)
            gain = 0.0 if run.spec.arm.label == "torch-default" else 3 * NOISE[place] + 0.1
            yield run, stub(accuracy=0.5 + gain)

    complete(study, planned(study), tmp_path, engine)
    assert list(dict.fromkeys(grown)) == [6, 12, 16]


@pytest.mark.parametrize("failing", ["he-normal", "torch-default"])
def test_a_failed_run_ends_what_it_is_a_pair_of(tmp_path: Path, failing: str) -> None:
    arms: dict[str, Sequence[float | str]] = {"he-normal": NOISE, "dirac": NOISE}
    failed = {failing: ["Traceback\nValueError: no" if i == 2 else g for i, g in enumerate(NOISE)]}
    study = tiny_study(
        Path("digits"), datasets=["digits"], arms=["torch-default", *arms], **SEQUENTIAL
    )
    done: list[str] = []
    gains = arms | failed
    stored = complete(study, planned(study), tmp_path, scripted(study, gains, done))
    runs = Counter(run.spec.arm.label for run in stored)
    rest = 5 if failing == "torch-default" else 8  # of a failed baseline every pair has failed
    assert runs == {"torch-default": rest, "he-normal": 5, "dirac": rest}
    # The next call tries it again, and where it finishes its comparisons go on.
    done.clear()
    complete(study, planned(study), tmp_path, scripted(study, arms, done))
    key = f"digits simplecnn {failing} 13"
    assert done[0] == key
    assert done.count(key) == 1
    again = complete(study, planned(study), tmp_path, scripted(study, arms, done))
    assert Counter(run.spec.arm.label for run in again) == {
        "torch-default": 8, "he-normal": 8, "dirac": 8
    }  # fmt: skip


def test_comparisons_that_are_decided_apart_share_the_runs_that_both_need(tmp_path: Path) -> None:
    arms = ["torch-default", "he-normal"]
    study = tiny_study(Path("digits"), datasets=["digits"], arms=arms, **SEQUENTIAL)
    own, other = planned(study), planned(study)
    # The arm at another rate is another run; the baseline is the same one in both.
    own = tuple(
        replace(run, key=f"own {run.key}") if run.spec.arm.label == "he-normal" else run
        for run in own
    )
    done: list[str] = []

    def engine(runs: Sequence[PlannedRun], _: OnProgress) -> Iterator[tuple[PlannedRun, Outcome]]:
        for run in runs:
            place = study.seeds.index(run.spec.seed)
            gains = CLEAR if run.key.startswith("own") else NOISE
            done.append(run.key)
            arm = run.spec.arm.label == "he-normal"
            yield run, stub(accuracy=0.5 + (gains[place] if arm else 0.0))

    parts = [(study, own), (study, other)]
    union = tuple({run.key: run for run in (*own, *other)}.values())
    complete(study, union, tmp_path, engine, parts=parts)
    runs = Counter("own" if key.startswith("own") else key.split()[-2] for key in done)
    assert runs == {"torch-default": 8, "own": 5, "he-normal": 8}


def test_a_study_that_was_stopped_goes_on_to_the_same_runs(tmp_path: Path) -> None:
    gains: dict[str, Sequence[float | str]] = {"he-normal": CLEAR, "dirac": NOISE}
    whole, _ = play(tmp_path / "whole", gains, **SEQUENTIAL)
    study = tiny_study(
        Path("digits"), datasets=["digits"], arms=["torch-default", *gains], **SEQUENTIAL
    )
    for stop in range(1, len(whole)):
        done: list[str] = []

        def ended(_run: PlannedRun, _outcome: Outcome, stop: int = stop) -> None:
            if len(done) == stop:  # noqa: B023 - called before the next round
                raise KeyboardInterrupt

        runs, folder, engine = planned(study), tmp_path / str(stop), scripted(study, gains, done)
        with pytest.raises(KeyboardInterrupt):
            complete(study, runs, folder, engine, listener=Listener(finished=ended))
        complete(study, runs, folder, engine)
        assert sorted(done) == sorted(whole)


def test_a_finished_one_starts_no_engine(tmp_path: Path) -> None:
    play(tmp_path, {"he-normal": CLEAR}, **SEQUENTIAL)
    study = tiny_study(Path("digits"), datasets=["digits"], **SEQUENTIAL)

    def engine(*_: object) -> Any:
        raise AssertionError("an engine was started")

    assert len(complete(study, planned(study), tmp_path, engine)) == 10


# ---------------------------------------------------------------- real runs
@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.usefixtures("one_thread")  # as the workers compute
def test_every_run_is_that_of_a_fixed_study_bit_for_bit(data: Path, tmp_path: Path) -> None:
    never = {"name": "study_cases:raises", "healed": str(tmp_path / "never")}
    arms = ["torch-default", "he-normal", never]
    design = {"max_seeds": 4, "looks": [2, 4], "margin": 1e-9, "futility": 0}
    sequential = tiny_study(data, arms=arms, sequential=design)
    found = run_study(sequential, tmp_path / "sequential", workers=2)
    fixed = tiny_study(data, arms=arms, seeds=4)

    def here(runs: Sequence[PlannedRun], _: OnProgress) -> Iterator[tuple[PlannedRun, Outcome]]:
        for run in runs:
            yield run, execute(run, None, source=DataSource())

    folder = tmp_path / "fixed"
    whole = {run.key: run for run in complete(fixed, plan(fixed, DataSource()), folder, here)}
    assert len(whole) == 12
    assert Counter(run.spec.arm.name for run in found) == {
        "torch-default": 4, "he-normal": 4, "study_cases:raises": 2
    }  # fmt: skip
    for run in found:
        assert run.error is not None or facts(run) == facts(whole[run.key])
        assert (run.error is None) is (whole[run.key].error is None)
    # In the fixed study's folder the sequential one finds all but what failed.
    tried: list[str] = []

    def noted(runs: Sequence[PlannedRun], _: OnProgress) -> Iterator[tuple[PlannedRun, Outcome]]:
        for run in runs:
            tried.append(run.spec.arm.name)
            yield run, "failed again"

    complete(sequential, plan(sequential, DataSource()), folder, noted)
    assert tried == ["study_cases:raises"] * 2
