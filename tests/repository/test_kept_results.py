"""docs/results/ -> a study's folder again: what was kept goes on, run by run."""

import itertools
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

import keep_results
import kept_format
import resume_results
from warminit.lab.engines.driver import run_study
from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import Store, StoredRun
from warminit.lab.store.stored_study import STORE_NAME
from warminit.lab.study.study import Study
from warminit.lab.verdict import kept

RESULTS = kept_format.RESULTS
KEPT = sorted(str(file.parent.relative_to(RESULTS)) for file in RESULTS.rglob("verdicts.json"))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (keep_results, resume_results):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


STUDY = Study.create(
    name="small",
    datasets=["digits"],
    arms=["torch-default", "prewarm"],
    seeds=2,
    metric="train_loss",
    protocol={"steps": 52, "batch_size": 16, "eval_interval": 1},
)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[StoredRun, ...]]:
    folder = tmp_path_factory.mktemp("first")
    return folder, run_study(STUDY, folder, workers=1)


def test_a_kept_study_is_resumed_and_runs_only_what_is_missing(
    first: tuple[Path, tuple[StoredRun, ...]], tmp_path: Path, elsewhere: Path
) -> None:
    folder, whole = first
    keep_results.keep(folder, "small")
    table = pd.read_csv(elsewhere / "small/runs.csv")
    assert list(table["key"]) == [run.key for run in whole]
    points = [len(text.split()) for text in table["eval_loss"]]
    assert max(points) <= 50
    assert all(text.endswith(" 52") for text in table["eval_steps"])

    # One run is lost; what is resumed runs this one again, with the same bits.
    table.drop(index=[2]).to_csv(elsewhere / "small/runs.csv", index=False)
    assert resume_results.resume("small", tmp_path / "again") == 3
    assert resume_results.resume("small", tmp_path / "again") == 3  # what is there stays
    again = run_study(STUDY, tmp_path / "again", workers=1)
    for before, after in zip(whole, again, strict=True):
        ran = after.key == whole[2].key
        assert isinstance(before.result, RunResult)
        assert isinstance(after.result, RunResult)
        assert bool(after.result.train_loss) is ran
        assert after.spec == before.spec
        assert dict(after.arm_parameters) == dict(before.arm_parameters)
        assert dict(after.environment) == dict(before.environment)
        assert after.result.weights_digest == before.result.weights_digest
        for name in ("accuracy", "loss", "train_loss"):
            assert after.result.metric(name) == before.result.metric(name)

    # Kept again after it was resumed, every row has the same scores.
    keep_results.keep(tmp_path / "again", "again")
    new, old = (pd.read_csv(elsewhere / name / "runs.csv") for name in ("again", "small"))
    scores = ["key", "accuracy", "loss", "train_loss", "weights_digest"]
    assert new.loc[[0, 1, 3], scores].equals(old[scores].set_axis([0, 1, 3]))


def test_a_run_that_diverged_is_kept_as_one(
    first: tuple[Path, tuple[StoredRun, ...]], tmp_path: Path, elsewhere: Path
) -> None:
    (folder, runs), store = first, tmp_path / "odd"
    with (
        Store.opened(store / STORE_NAME) as odd,
        closing(Store.existing(folder / STORE_NAME)) as done,
    ):
        odd.set_about({name: done.about(name) or "" for name in ("study", "keys", "partial")})
        for run, outcome in zip(runs, [_diverged(), "Traceback\nValueError: no"], strict=False):
            odd.add(run, run.environment, outcome)  # type: ignore[arg-type]  # a stored run has what a planned one has
    keep_results.keep(store, "odd")
    diverged, failed = kept.kept_runs(elsewhere / "odd")
    assert diverged.result is not None
    assert not diverged.result.finite
    assert diverged.result.metric("accuracy") == 0.1
    assert diverged.result.eval_metrics["loss"][0] != diverged.result.eval_metrics["loss"][0]
    assert (failed.result, failed.error) == (None, "Traceback\nValueError: no")


def _diverged() -> RunResult:
    nothing = float("nan")
    return RunResult(
        metrics={"accuracy": 0.1, "loss": nothing},
        train_loss=[nothing],
        eval_steps=(60,),
        eval_metrics={"accuracy": [0.1], "loss": [nothing]},
        weights_digest="0" * 64,
    )


@pytest.mark.parametrize("n", [1, 2, 49, 50, 51, 99, 100, 101, 1000])
def test_a_curve_is_thinned_evenly_and_keeps_its_end(n: int) -> None:
    points = kept_format.thinned(n)
    assert len(points) <= 50
    assert points[-1] == n - 1
    assert len({b - a for a, b in itertools.pairwise(points)}) <= 1


def test_the_kept_results_are_light() -> None:
    files = [file for file in RESULTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5_000_000
    for name in KEPT:
        assert {file.name for file in (RESULTS / name).iterdir()} == {
            "README.md",
            "forest.svg",
            "runs.csv",
            "study.toml",
            "verdicts.json",
        }
        longest = max(map(len, (RESULTS / name / "runs.csv").read_text("utf-8").splitlines()))
        assert longest < 3000


@pytest.mark.parametrize("name", KEPT)
def test_what_is_generated_is_as_the_runs_give_it(name: str, elsewhere: Path) -> None:
    """Nothing of it is edited by hand: page and verdicts come out of study and runs alone."""
    analysis = kept.read_kept(RESULTS / name)
    kept_format.write_kept(analysis, elsewhere)
    (elsewhere / "README.md").write_text(
        keep_results.page(analysis, Path(name).name), encoding="utf-8"
    )
    for file in elsewhere.iterdir():
        assert file.read_text("utf-8") == (RESULTS / name / file.name).read_text("utf-8"), file.name
