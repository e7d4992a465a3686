"""finished runs -> TensorBoard and MLflow, read back with their own libraries; each run once."""

import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli_cases import stubbed
from study_runs import result, small_study
from warminit.cli import app
from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.engines.driver import Listener, complete
from warminit.lab.engines.job import Outcome
from warminit.lab.engines.tracking import check_tracker, tracked
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.study.study import Study

# MLflow's own code still uses what SQLAlchemy 2.1 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

LOSSES = (2.0, 1.5, 1.25, 1.0)
CURVE = (0.25, 0.5)
BOTH = pytest.mark.parametrize("name", ["tensorboard", "mlflow"])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return MLflow's file before any run: making one takes seconds, copying it does not."""
    folder = tmp_path_factory.mktemp("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        tracked(Listener(), "mlflow", study(), folder)
    return folder / "mlflow.db"


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a fresh folder; where the test is about MLflow, with its empty file."""
    if "mlflow" in request.node.name:
        shutil.copy(request.getfixturevalue("empty"), tmp_path)
    return tmp_path


def study() -> Study:
    arms = ["torch-default", {"name": "prewarm", "scale": 0.1}]
    return small_study(arms=arms, seeds=2, protocol={"steps": 4, "batch_size": 32})


def plans(chosen: Study) -> tuple[PlannedRun, ...]:
    return tuple(
        PlannedRun(spec, spec.arm.parameters, f"{number:0>8}{'e' * 56}")
        for number, spec in enumerate(chosen.runs())
    )


def outcome(run: PlannedRun) -> RunResult:
    score = run.spec.seed / 100 + 0.01 * (run.spec.arm.name == "prewarm")
    return result(score, curve=CURVE, steps=(2, 4), train_loss=LOSSES)


def engine(runs: Sequence[PlannedRun], _: object) -> Iterator[tuple[PlannedRun, Outcome]]:
    for run in runs:
        yield run, outcome(run)


def done(name: str | None, folder: Path, **options: Any) -> None:
    """Run what is missing of the study in a folder, tracked where a name is given."""
    chosen = study()
    listener = Listener()
    if name is not None:
        listener = tracked(listener, name, chosen, folder)
    complete(chosen, plans(chosen), folder, options.get("engine", engine), listener=listener)


def read(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return what a tracker has, in the same form for both: tags, settings, points by name."""
    return _events(folder) if name == "tensorboard" else _runs(folder)


def _events(folder: Path) -> list[dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # ships no types
        EventAccumulator,
    )
    from tensorboard.plugins.hparams import (  # type: ignore[import-untyped]  # ships no types
        plugin_data_pb2,
    )

    found = []
    for place in sorted({file.parent for file in (folder / "tensorboard").rglob("*tfevents*")}):
        events = EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()
        data = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        parsed = plugin_data_pb2.HParamsPluginData.FromString(data).session_start_info.hparams
        about = {key: _hparam(value) for key, value in parsed.items()}
        points = {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }
        found.append({"about": about, "points": points})
    return found


def _hparam(value: Any) -> str:
    kind = value.WhichOneof("kind")
    held = getattr(value, kind)
    return f"{held:g}" if kind == "number_value" else str(held)


def _runs(folder: Path) -> list[dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name != "Default")
    assert experiment.name == "small"
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.status == "FINISHED"
        points = {
            name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        found.append({"about": {**run.data.params, **run.data.tags}, "points": points})
    return found


@BOTH
def test_everything_of_a_run_is_read_back(name: str, folder: Path) -> None:
    done(name, folder)
    runs = {(each["about"]["arm"], each["about"]["seed"]): each for each in read(name, folder)}
    assert len(runs) == 4
    wanted = {
        (arm, seed) for arm in ("torch-default", "prewarm(scale=0.1)") for seed in ("42", "7")
    }
    assert set(runs) == wanted
    run = runs["prewarm(scale=0.1)", "42"]
    settings = {"dataset": "digits", "model": "simplecnn", "arm.scale": "0.1"}
    assert settings.items() <= run["about"].items()
    assert run["about"]["protocol.steps"] == "4"
    assert run["about"]["protocol.precision"] == "float32"
    points = run["points"]
    assert points["train/loss"] == list(zip((1, 2, 3, 4), LOSSES, strict=True))
    assert points["evaluation/accuracy"] == list(zip((2, 4), CURVE, strict=True))
    ((step, accuracy),) = points["final/accuracy"]
    assert step == 4
    assert np.float32(accuracy) == np.float32(0.43)  # event files hold single precision
    assert {"final/loss", "final/balanced_accuracy"} <= set(points)


@BOTH
def test_a_resumed_study_writes_each_run_once(name: str, folder: Path) -> None:
    def stopped(runs: Sequence[PlannedRun], _: object) -> Iterator[tuple[PlannedRun, Outcome]]:
        yield from list(engine(runs, None))[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        done(name, folder, engine=stopped)
    assert len(read(name, folder)) == 2
    done(name, folder)
    done(name, folder)
    assert len(read(name, folder)) == 4


@BOTH
def test_what_finished_without_a_tracker_is_written_afterwards(name: str, folder: Path) -> None:
    done(None, folder)
    done(name, folder)
    assert len(read(name, folder)) == 4


@BOTH
def test_failed_runs_are_not_written(name: str, folder: Path) -> None:
    def failing(runs: Sequence[PlannedRun], _: object) -> Iterator[tuple[PlannedRun, Outcome]]:
        for number, run in enumerate(runs):
            yield run, outcome(run) if number else "Traceback\nRuntimeError: broke"

    done(name, folder, engine=failing)
    assert len(read(name, folder)) == 3


def test_a_run_that_mlflow_has_in_part_is_written_again(folder: Path) -> None:
    from mlflow import MlflowClient

    done("mlflow", folder)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    named = client.get_experiment_by_name("small")
    assert named is not None
    experiment = named.experiment_id
    cut, *_ = client.search_runs([experiment])
    client.update_run(cut.info.run_id, status="RUNNING")  # as a killed process leaves it
    done("mlflow", folder)
    runs = client.search_runs([experiment])
    assert len(runs) == 4
    assert cut.info.run_id not in {run.info.run_id for run in runs}
    # And an event file that was begun is no run yet.
    (folder / ".tensorboard-00000000.part").mkdir()
    done("tensorboard", folder)
    assert len(read("tensorboard", folder)) == 4
    assert not list(folder.glob("*.part"))


def test_a_tracker_that_breaks_does_not_end_the_study(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file in the folder's place")
    with pytest.warns(WarminitWarning, match="nothing more is written to tensorboard") as told:
        done("tensorboard", tmp_path)
    assert len(told) == 1
    (tmp_path / "tensorboard").unlink()
    done("tensorboard", tmp_path)
    assert len(read("tensorboard", tmp_path)) == 4


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(WarminitError, match="track='mlflow' cannot write into"):
        tracked(Listener(), "mlflow", study(), tmp_path)


@BOTH
def test_a_missing_extra_is_told_before_anything_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = __import__("importlib.util").util.find_spec
    absent = lambda wanted, *rest: None if wanted == name else real(wanted, *rest)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", absent)
    with pytest.raises(WarminitError, match=rf'pip install "warminit\[{name}\]"'):
        check_tracker(name)
    out = tmp_path / "out"
    arguments = ["compare", "--datasets", "digits", "--track", name, "--out", str(out)]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 2
    assert f'pip install "warminit[{name}]"' in ended.output
    assert not out.exists()


def test_an_unknown_tracker_names_the_nearest() -> None:
    ended = CliRunner().invoke(app, ["compare", "--datasets", "digits", "--track", "mlfow"])
    assert ended.exit_code == 2
    assert "track='mlfow': expected tensorboard or mlflow. Did you mean 'mlflow'?" in ended.output


def test_the_command_tracks_and_says_how_to_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubbed(monkeypatch)
    arguments = [
        "compare", "--datasets", "digits", "--arms", "torch-default,prewarm", "--seeds", "2",
        "--steps", "4", "--batch-size", "32", "--track", "tensorboard", "--out", str(tmp_path),
    ]  # fmt: skip
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0, ended.output
    assert f"Tracked: tensorboard --logdir {tmp_path}/tensorboard" in ended.output
    runs = read("tensorboard", tmp_path)
    assert len(runs) == 4
    assert all("protocol.steps" in run["about"] for run in runs)


def test_importing_the_laboratory_loads_no_tracker() -> None:
    import subprocess

    code = (
        "import sys, warminit.lab.engines.tracking\n"
        "print(*({'mlflow', 'tensorboard'} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code]
    assert not subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
