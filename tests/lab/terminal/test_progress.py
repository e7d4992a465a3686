"""a study under way -> bar, counts and means; loading; and what is silent where nobody looks."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from study_runs import result, small_study, stored
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.store.store import StoredRun
from warminit.lab.study.study import Study
from warminit.lab.terminal.progress import StudyProgress, live_progress, loading_progress


def planned(study: Study) -> tuple[PlannedRun, ...]:
    return tuple(
        PlannedRun(spec, {}, f"{spec.dataset} {spec.model} {spec.arm.label} {spec.seed}")
        for spec in study.runs()
    )


@pytest.fixture
def study() -> Study:
    return small_study(arms=["torch-default", "prewarm"], seeds=2)


@pytest.fixture
def earlier(study: Study) -> Callable[[], list[StoredRun]]:
    """Return what the store has: a result, a failure, and a run of another study."""
    other = small_study(arms=["torch-default"], seeds=[99])
    found = [
        *stored(study, {("torch-default", 42): result(0.5), ("prewarm", 42): "Traceback\nNo"}),
        *stored(other, {("torch-default", 99): result(0.0)}),
    ]
    return lambda: found


def test_the_bar_counts_the_missing_runs_and_the_means_count_all(
    study: Study, earlier: Callable[[], list[StoredRun]]
) -> None:
    runs = planned(study)
    state = StudyProgress(study, earlier)
    state.plan(runs)
    # Of 4 runs one has a result; one that failed before is tried again.
    assert (state.runs, state.done, state.failed, state.to_do) == (4, 1, 0, 3)
    assert (state.steps, state.total_steps) == (0, 3 * 200)
    assert state.arms() == "accuracy so far: torch-default 0.5000"
    by_name = {(run.spec.arm.label, run.spec.seed): run for run in runs}
    state.step(by_name["prewarm", 42].key, 60)
    state.step(by_name["prewarm", 42].key, 80)
    assert state.steps == 80
    state.finish(by_name["prewarm", 42], result(0.6))
    state.finish(by_name["torch-default", 7], result(0.7))
    assert (state.done, state.to_do, state.steps) == (3, 1, 400)
    # (0.5 + 0.7) / 2, the first of them from an earlier session.
    assert state.arms() == "accuracy so far: torch-default 0.6000  prewarm 0.6000"
    state.finish(by_name["prewarm", 7], "Traceback\nRuntimeError: broke")
    assert state.counts() == "3 of 4 runs done, 1 failed, 0 to do"
    assert state.steps == state.total_steps


def test_a_run_that_starts_again_gives_its_steps_back(study: Study) -> None:
    runs = planned(study)
    state = StudyProgress(study, list)
    state.plan(runs)
    state.step(runs[0].key, 150)
    state.step(runs[0].key, 10)  # its worker died
    assert state.steps == 10


def test_a_sweep_of_many_arms_does_not_fill_the_screen() -> None:
    study = small_study(
        arms=["torch-default", {"name": "prewarm", "patches_per_image": list(range(1, 30))}]
    )
    state = StudyProgress(study, list)
    state.plan(planned(study))
    for run in planned(study)[:30]:
        state.finish(run, result(0.5))
    assert state.arms().count("0.5000") == 6
    assert state.arms().endswith("and 24 arms more")


def told(study: Study, stored_runs: Callable[[], list[StoredRun]], **options: bool) -> str:
    terminal = options.pop("terminal")
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=terminal, color_system=None)
    runs = planned(study)
    with live_progress(console, study, stored_runs, **options) as listener:
        listener.planned(runs, 1)
        listener.stepped(runs[1].key, 100)
        listener.finished(runs[1], result(0.75))
        listener.finished(runs[2], "Traceback\nRuntimeError: [bold] broke")
    return file.getvalue()


def test_on_a_terminal_a_bar_is_drawn(study: Study, earlier: Callable[[], list[StoredRun]]) -> None:
    text = told(study, earlier, terminal=True)
    assert "2 of 4 runs done, 1 failed, 1 to do" in text
    assert "━" in text
    assert "left" in text
    assert "accuracy so far: torch-default 0.5000  prewarm 0.7500" in text
    assert "seed 7: failed: RuntimeError: [bold] broke" in text


def test_elsewhere_each_run_is_a_line(study: Study, earlier: Callable[[], list[StoredRun]]) -> None:
    lines = told(study, earlier, terminal=False).splitlines()
    assert lines[0] == "1 of 4 runs are already finished."
    assert lines[1].startswith("[2/4, 0 s] digits simplecnn prewarm seed 42: accuracy 0.7500")
    assert lines[2].endswith("seed 7: failed: RuntimeError: [bold] broke")
    assert len(lines) == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_failures_only(
    study: Study, earlier: Callable[[], list[StoredRun]], terminal: bool
) -> None:
    (line,) = told(study, earlier, terminal=terminal, quiet=True).splitlines()
    assert line.endswith("failed: RuntimeError: [bold] broke")


def test_decoding_is_shown_on_a_terminal_only() -> None:
    for terminal in (True, False):
        file = io.StringIO()
        console = Console(file=file, width=80, force_terminal=terminal, color_system=None)
        with loading_progress(console) as progress:
            for done in (100, 200):
                progress("mnist")(done, 200)
        assert ("decoding mnist" in file.getvalue()) is terminal
