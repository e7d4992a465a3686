"""A tuned study: ordinary runs, the best rate by validation, two comparisons, and it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from study_cases import facts, tiny_study, write_data
from study_runs import CONSOLE, result, shown, small_study
from warminit.errors import WarminitError
from warminit.lab.engines.driver import Listener, plan, run_study
from warminit.lab.engines.job import DataSource
from warminit.lab.engines.tuned import most_runs
from warminit.lab.report.page import page
from warminit.lab.runs.looks import cell_of
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.tuning import at_baseline, at_rate, chosen, tuned
from warminit.lab.store.store import StoredRun
from warminit.lab.study.study import Study
from warminit.lab.study.toml import study_toml
from warminit.lab.terminal.display import print_analysis
from warminit.lab.verdict.analysis import analyse, read_analysis
from warminit.lab.verdict.rows import summary

RATES = (0.001, 0.03)
ARMS = ("torch-default", "he-normal")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def study_of(data: Path, **changes: Any) -> Study:
    tune = {"lr_start": RATES, "seeds": 2, "validation": 24}
    return tiny_study(data, **({"seeds": 2, "tune": tune} | changes))


@pytest.fixture(scope="module")
def whole(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Path, tuple[StoredRun, ...]]:
    study, folder = study_of(data), tmp_path_factory.mktemp("whole")
    return study, folder, run_study(study, folder, workers=1)


def test_every_run_is_an_ordinary_one_of_an_ordinary_study(
    data: Path, whole: tuple[Study, Path, tuple[StoredRun, ...]]
) -> None:
    study, _, runs = whole
    ordinary: set[str] = set()
    for rate in RATES:
        protocol = study.protocol.model_dump() | {"lr_start": rate, "lr_end": rate / 100}
        for changes in ({"seeds": [9001, 9002], "validation": 24}, {"seeds": 2}):
            plain = tiny_study(data, protocol=protocol, **changes)
            ordinary |= {run.key for run in plan(plain, DataSource())}
    assert {run.key for run in runs} <= ordinary
    tuning = [run for run in runs if run.spec.seed in (9001, 9002)]
    assert len(tuning) == len(RATES) * len(ARMS) * 2
    assert {run.spec.validation for run in tuning} == {24}
    assert {run.spec.validation for run in runs if run not in tuning} == {0}


def test_the_two_comparisons_are_those_of_the_chosen_rates(
    whole: tuple[Study, Path, tuple[StoredRun, ...]],
) -> None:
    study, folder, runs = whole
    analysis = read_analysis(folder)
    means: dict[tuple[str, float], list[float]] = {}
    for run in runs:
        if run.spec.seed in (9001, 9002) and run.result and run.spec.protocol.lr_start:
            place = run.spec.arm.label, run.spec.protocol.lr_start
            means.setdefault(place, []).append(run.result.metrics["accuracy"])
    best = {arm: max(RATES, key=lambda rate: sum(means[arm, rate])) for arm in ARMS}
    assert {row.cell[2]: row.lr_start for row in analysis.tuned if row.chosen} == best
    assert analysis.at_baseline is not None
    for found, rates in (
        (analysis, best),
        (analysis.at_baseline, dict.fromkeys(ARMS, best["torch-default"])),
    ):
        assert {(r.spec.arm.label, r.spec.protocol.lr_start) for r in found.runs} == set(
            rates.items()
        )
        assert found.missing == 0
        assert found.cells[1].comparison is not None
        assert found.cells[1].comparison.n == 2
    assert len(runs) <= len(most_runs(study, _loaded(study), DataSource()))


def _loaded(study: Study) -> dict[str, Any]:
    return {name: DataSource().load(name) for name in study.datasets}


@pytest.mark.parametrize("stop_at", [9])
def test_it_goes_on_where_it_was_stopped(
    stop_at: int, whole: tuple[Study, Path, tuple[StoredRun, ...]], tmp_path: Path
) -> None:
    study, _, runs = whole
    seen: list[str] = []

    def stop(run: Any, _outcome: Any) -> None:
        seen.append(run.key)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path, workers=1, listener=Listener(finished=stop))
    assert read_analysis(tmp_path).missing > 0  # a page of what is there can be written
    page(read_analysis(tmp_path))
    again: list[str] = []
    listener = Listener(finished=lambda run, _outcome: again.append(run.key))
    after = run_study(study, tmp_path, workers=1, listener=listener)
    assert [facts(run) for run in after] == [facts(run) for run in runs]
    assert not {*again} & {*seen}


def test_a_sequential_one_decides_each_comparison_by_itself(data: Path, tmp_path: Path) -> None:
    sequential = {"max_seeds": 4, "looks": [2, 4], "futility": 0}
    study = study_of(data, seeds=4, sequential=sequential)
    runs = run_study(study, tmp_path / "looks", workers=1)
    analysis = read_analysis(tmp_path / "looks")
    assert analysis.at_baseline is not None
    for part in (analysis, analysis.at_baseline):
        (comparison,) = part.comparisons
        assert comparison.decision is not None
        assert comparison.decision.outcome != "go on"
        assert (part.missing, len(part.runs) + part.spared) == (0, 8)
    fixed = run_study(study_of(data, seeds=4), tmp_path / "fixed", workers=1)
    same = {run.key: facts(run) for run in fixed}
    assert all(same[run.key] == facts(run) for run in runs)


def test_every_display_has_both_comparisons(
    whole: tuple[Study, Path, tuple[StoredRun, ...]],
) -> None:
    analysis = read_analysis(whole[1])
    printed = shown(print_analysis, analysis, CONSOLE)
    own = "Each arm at its own best learning rate."
    other = "Every arm at the best learning rate of torch-default."
    assert (
        printed.index("learning rates chosen on validation images with 2 seeds")
        < (printed.index(own))
        < printed.index(other)
    )
    text = page(analysis)
    assert 'id="table-results-at-baseline"' in text
    assert 'id="table-tuned"' in text
    assert len(summary(analysis)["at_baseline"]["cells"]) == 2


def choice(scores: dict[float, list[float | None]], **changes: Any) -> Any:
    tune = {"lr_start": list(scores), "seeds": 2}
    study = small_study(arms=["torch-default"], tune=tune, **changes)
    ended = []
    for rate, values in scores.items():
        at = at_rate(study, rate).model_copy(update={"seeds": (9001, 9002)})
        for spec, value in zip(at.runs(), values, strict=False):
            found: RunResult | None = None if value is None else result(value, loss=value)
            ended.append((spec, found))
    rows = tuned(study, ended)
    return next((row.lr_start for row in rows if row.chosen), None)


def test_the_best_mean_is_chosen_and_a_failure_never_is() -> None:
    assert choice({0.1: [0.5, 0.7], 0.2: [0.6, 0.7]}) == 0.2
    assert choice({0.1: [0.5, 0.7], 0.2: [0.9, None]}) == 0.1
    assert choice({0.1: [0.6, 0.6], 0.2: [0.6, 0.6]}) == 0.1
    assert choice({0.1: [None, 0.9], 0.2: [None, None]}) == 0.1
    assert choice({0.1: [0.5, 0.7], 0.2: [0.6]}) is None  # not complete
    assert choice({0.1: [0.5, 0.7], 0.2: [0.6, 0.7]}, metric="loss") == 0.1


def test_the_last_rate_keeps_its_ratio() -> None:
    study = small_study(protocol={"steps": 9, "batch_size": 8, "lr_start": 0.1, "lr_end": 0.02})
    assert at_rate(study, 0.5).protocol.lr_end == pytest.approx(0.1)
    assert at_rate(small_study(), 0.5).protocol.lr_end == 0.005
    constant = small_study(protocol={"steps": 9, "batch_size": 8, "schedule": "constant"})
    assert at_rate(constant, 0.5).protocol.lr_end is None
    assert cell_of(next(at_rate(study, 0.5).runs()))[2] == "torch-default"
    assert at_baseline(study, {}) == chosen([]) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tune": {"lr_start": [0.1]}}, "lr_start"),
        ({"tune": {"lr_start": [0.1, 0.1]}}, "each rate once"),
        ({"tune": {"lr_start": [0.1, 0.2], "seeds": [42]}}, "seeds that the comparison has not"),
        (
            {"tune": {"lr_start": [0.1, 0.2], "seeds": [1001]}, "sequential": {"max_seeds": 12}},
            "seeds that the comparison has not",
        ),
        ({"tune": {"lr_stat": [0.1, 0.2]}}, "Did you mean 'lr_start'"),
    ],
)
def test_what_cannot_be_tuned_is_one_clear_error(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WarminitError, match=words):
        small_study(**changes)


def test_a_study_file_keeps_it(tmp_path: Path) -> None:
    study = small_study(tune={"lr_start": [0.1, 0.2]})
    path = tmp_path / "study.toml"
    path.write_text(study_toml(study), encoding="utf-8")
    assert Study.from_toml(path) == study
    assert json.loads(study.model_dump_json())["tune"]["seeds"] == [9001, 9002, 9003]
    assert analyse(study, []).missing == 12
