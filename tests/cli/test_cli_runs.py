"""`warminit compare`, `run`, `reproduce`, `export` -> real tiny runs, resumed, stopped, broken."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from warminit.cli import app, studies
from warminit.cli.execution import Place
from warminit.lab.engines import driver
from warminit.lab.study.builtin import load_study
from warminit.lab.study.protocol import Protocol
from warminit.lab.study.study import Study

PATIENCE = 300
"""Seconds that a test waits for a process on a busy machine before it fails."""
TINY = ("--datasets", "digits", "--steps", "4", "--batch-size", "32", "--workers", "1")
ARMS = ("--arms", "torch-default,prewarm,norm-matched-random")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Run the smallest comparison of three arms at two seeds once for all tests."""
    folder = tmp_path_factory.mktemp("compare")
    patch = pytest.MonkeyPatch()
    patch.setenv("COLUMNS", "80")
    patch.setenv("NO_COLOR", "1")
    try:
        return folder, invoke("compare", *TINY, *ARMS, "--seeds", "2", "--out", str(folder))
    finally:
        patch.undo()


def test_compare_prints_progress_table_and_verdicts(finished: tuple[Path, Any]) -> None:
    folder, ended = finished
    assert ended.exit_code == 0, ended.output
    text = ended.output
    assert "compare: 3 arms x 2 seeds on digits with simplecnn; 4 steps at batch 32" in text
    assert len(re.findall(r"^\[\d/6, \d+ s\] digits simplecnn ", text, re.MULTILINE)) == 6
    assert "digits, simplecnn: 2 seeds" in text
    assert len(re.findall(r"^norm-matched-random +\d", text, re.MULTILINE)) == 1  # never cut
    assert "Shortened: 4 steps at batch 32" in text
    assert sum(line.startswith("- ") for line in text.splitlines()) == 2
    assert "\x1b" not in text
    table = text[text.index("digits, simplecnn: 2 seeds") : text.index("Results:")]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert (folder / "results.csv").is_file()
    assert (folder / "results.json").is_file()


def test_what_is_finished_is_not_run_again(finished: tuple[Path, Any]) -> None:
    folder, first = finished
    again = invoke("compare", *TINY, *ARMS, "--seeds", "2", "--out", str(folder))
    assert again.exit_code == 0
    assert "6 of 6 runs are already finished." in again.output
    start = "digits, simplecnn: 2 seeds"
    assert again.output.partition(start)[2] == first.output.partition(start)[2]


def test_what_others_print_meanwhile_is_no_part_of_the_json(
    finished: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = finished
    real = driver.run_study

    def noisy(*arguments: Any, **options: Any) -> Any:
        sys.stdout.write("A worker died\n")
        return real(*arguments, **options)

    monkeypatch.setattr(driver, "run_study", noisy)
    ended = invoke("compare", *TINY, *ARMS, "--seeds", "2", "--out", str(folder), "--json")
    assert json.loads(ended.stdout)["folder"] == str(folder)
    assert "A worker died" in ended.stderr


def test_quiet_shows_the_end_only(finished: tuple[Path, Any]) -> None:
    folder, _ = finished
    arguments = ("compare", *TINY, *ARMS, "--seeds", "2", "--out", str(folder))
    quiet = invoke(*arguments, "--quiet")
    assert quiet.exit_code == 0
    assert quiet.output.startswith("digits, simplecnn: 2 seeds")


def test_json_is_all_that_standard_output_has(finished: tuple[Path, Any]) -> None:
    folder, _ = finished
    ended = invoke("compare", *TINY, *ARMS, "--seeds", "2", "--out", str(folder), "--json")
    assert ended.exit_code == 0
    content = json.loads(ended.stdout)
    assert content["cells"][0]["arm"] == "torch-default"
    assert len(content["verdicts"]) == 2
    assert content["folder"] == str(folder)
    assert "already finished" in ended.stderr


def test_one_seed_gives_a_table_without_p_that_says_why(finished: tuple[Path, Any]) -> None:
    folder, _ = finished
    ended = invoke("compare", *TINY, *ARMS, "--seeds", "1", "--out", str(folder))
    assert ended.exit_code == 0
    assert "1 seed" in ended.output
    assert "Holm" not in ended.output.partition("Results")[0].partition("A quick")[0]
    assert " ".join(ended.output.split()).count("One seed has no spread, so nothing can be") == 2


@pytest.mark.parametrize("file_format", ["csv", "parquet", "json", "latex"])
def test_export_needs_only_the_folder(
    finished: tuple[Path, Any], tmp_path: Path, file_format: str
) -> None:
    folder, _ = finished
    # What the folder was last used for is what is exported.
    invoke("compare", *TINY, *ARMS, "--seeds", "2", "--out", str(folder))
    target = tmp_path / "written"
    ended = invoke("export", str(folder), "--format", file_format, "--out", str(target), "--json")
    assert ended.exit_code == 0, ended.output
    said = json.loads(ended.output)
    assert said == {"file": str(target), "format": file_format, "runs": 6}
    if file_format == "csv":
        table = pd.read_csv(target)
        assert len(table) == 6
        steps = [f"accuracy_at_{share}_percent" for share in (25, 50, 75, 100)]
        wanted = {"balanced_accuracy", "loss", "init_seconds", "train_seconds", *steps}
        assert wanted <= set(table.columns)
        assert (table["accuracy_at_100_percent"] == table["accuracy"]).all()


def test_a_run_that_fails_ends_with_1_and_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_arms.py").write_text(
        "def breaks(model, images, *, seed):\n    raise RuntimeError('my own mistake')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    arms = ("--arms", "torch-default,my_arms:breaks")
    ended = invoke("compare", *TINY, *arms, "--seeds", "1", "--out", str(tmp_path / "out"))
    assert ended.exit_code == 1
    assert "failed: RuntimeError: my own mistake" in " ".join(ended.output.split())
    assert "my_arms:breaks: no seed finished that torch-default has too." in ended.output
    assert "Traceback" not in ended.output
    assert "failed" in invoke("export", str(tmp_path / "out")).output


def test_dry_run_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\ndatasets = ["digits"]\nseeds = 3\n'
        'arms = ["torch-default", {name = "prewarm", scale = [0.1, 0.2]}]\n'
        "[protocol]\nsteps = 10\nbatch_size = 32\n"
    )
    out = tmp_path / "out"
    ended = invoke("run", str(file), "--seeds", "2", "--dry-run", "--json", "--out", str(out))
    assert ended.exit_code == 0, ended.output
    content = json.loads(ended.stdout)
    assert (content["estimate"]["runs"], content["estimate"]["to_do"]) == (6, 6)
    assert content["estimate"]["seconds"] > 0
    assert content["study"]["seeds"] == [42, 7]
    assert not out.exists()
    text = invoke("run", str(file), "--dry-run", "--out", str(out)).output
    assert "runs   9, of which 9 are to do" in text
    assert "Nothing was run." in text


def test_the_demo_study_is_what_compare_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Study] = []

    def note(study: Study, place: Place, **_: object) -> None:
        asked.append(study)

    monkeypatch.setattr(studies, "_run", note)
    assert invoke("compare").exit_code == 0
    demo = load_study("demo")
    changed = {"name": demo.name, "description": demo.description}
    assert asked[0].model_copy(update=changed) == demo


def test_until_decided_is_a_sequential_study(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Study] = []
    monkeypatch.setattr(studies, "_run", lambda study, place, **_: asked.append(study))
    for given in ([], ["--max-seeds", "12"], ["--seeds", "5"], ["--seeds", "3,4"]):
        ended = invoke("compare", "--until-decided", *given)
        assert ended.exit_code == 0, ended.output
    assert [len(study.seeds) for study in asked] == [18, 12, 5, 18]
    assert all(study.sequential is not None for study in asked)
    assert asked[3].seeds[:3] == (3, 4, 42)
    alone = invoke("compare", "--max-seeds", "12")
    assert alone.exit_code == 2
    assert "--max-seeds=12: expected --until-decided beside it" in alone.output


def test_what_at_most_would_be_run_is_said(tmp_path: Path) -> None:
    text = invoke(
        *("compare", "--until-decided", "--datasets", "digits", "--steps", "2", "--dry-run"),
        *("--arms", "torch-default,he-normal", "--out", str(tmp_path)),
    ).output
    assert "2 arms x at most 18 seeds on digits" in text
    assert "runs   at most 36, of which 36 are to do" in text


def test_options_change_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Study] = []
    monkeypatch.setattr(studies, "_run", lambda study, place, **_: asked.append(study))
    invoke(
        "run", "table3", "--seeds", "2", "--steps", "300", "--rule-derived",
        "--datasets", "mnist,fashion-mnist", "--validation", "1000", "--batch-size", "64",
        "--precision", "bfloat16",
    )  # fmt: skip
    (study,) = asked
    assert (study.seeds, study.datasets) == ((42, 7), ("mnist", "fashion-mnist"))
    assert (study.protocol.steps, study.protocol.batch_size) == (300, 64)
    assert (study.patch_counts, study.validation) == ("rule", 1000)
    assert study.protocol.precision == "bfloat16"
    invoke("compare", "--precision", "bfloat16")
    assert asked[1].protocol.precision == "bfloat16"


def test_compare_takes_what_decides_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Study] = []
    monkeypatch.setattr(studies, "_run", lambda study, place, **_: asked.append(study))
    invoke(
        "compare", "--optimizer", "adamw", "--lr", "0.002", "--warmup", "20",
        "--weight-decay", "0.05", "--augmentation", "flip-crop", "--seeds", "1,2,3",
    )  # fmt: skip
    (study,) = asked
    assert study.seeds == (1, 2, 3)
    assert study.protocol == Protocol(
        steps=200, batch_size=64, optimizer="adamw", lr_start=0.002, lr_end=0.00002, warmup=20,
        weight_decay=0.05, augmentation="flip-crop",
    )  # fmt: skip
    for given, seeds in {"3": (42, 7, 13), "5,": (5,), "8, 9": (8, 9)}.items():
        invoke("run", "demo", "--seeds", given)
        assert asked[-1].seeds == seeds


@pytest.mark.parametrize("given", ["0", "-1", "few", "1,x", "", ","])
def test_seeds_that_are_none_are_refused(given: str) -> None:
    ended = invoke("compare", f"--seeds={given}")
    assert ended.exit_code == 2
    said = " ".join(ended.output.replace("│", " ").split())  # the frame that typer draws
    assert "expected a count such as 8, or seeds such as 1,2,3" in said


def test_a_dry_run_says_what_evaluations_cost_and_which_data_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WARMINIT_DATA", raising=False)
    arguments = (
        "compare", "--datasets", "digits,mnist", "--data-root", str(tmp_path), "--dry-run",
        "--steps", "40", "--arms", "torch-default", "--seeds", "1",
    )  # fmt: skip
    ended = invoke(*arguments, "--json")
    assert ended.exit_code == 0, ended.output
    content = json.loads(ended.stdout)
    assert content["estimate"]["runs"] == 1  # of digits
    assert 0 < content["estimate"]["evaluation_share"] < 1
    assert list(content["missing"]) == ["mnist"]
    assert content["missing"]["mnist"].startswith("data not available")
    text = " ".join(invoke(*arguments).output.split())
    assert "% of it for evaluations" in text
    assert "missing mnist, not counted: data not available" in text
    nothing = invoke("compare", "--datasets", "mnist", "--data-root", str(tmp_path), "--dry-run")
    assert nothing.exit_code == 2


@pytest.mark.parametrize("unit", [True, False])
def test_a_dry_run_says_that_the_processor_emulates_bfloat16(
    unit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = {"architecture": "x86_64", "avx512_bf16": unit}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: has, raising=False)
    ended = invoke(
        "compare", "--steps", "2", "--seeds", "1", "--arms", "torch-default", "--dry-run",
        "--precision", "bfloat16", "--out", str(tmp_path),
    )  # fmt: skip
    assert ("note: precision='bfloat16': this processor emulates" in ended.output) == (not unit)


def ends(group: int) -> bool:
    """Wait until no process of a group is left."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "warminit.cli", "compare", "--datasets", "digits",
        "--arms", "torch-default,he-normal", "--seeds", "2", "--steps", "30", "--workers", "1",
        "--batch-size", "32", "--out", str(tmp_path),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    environment.pop("WARMINIT_DATA", None)  # the command that goes on would name it
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("[1/4") or time.monotonic() > deadline:
            break
    assert lines[-1].startswith("[1/4"), lines
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, rest
    assert re.search(
        r"^Interrupted; \d finished runs? kept\. Continue with the same command:$",
        rest,
        re.MULTILINE,
    )
    assert rest.splitlines()[-1] == "  " + shlex.join(["warminit", *command[3:]])
    assert "Traceback" not in rest
    assert "Unfinished:" in rest
    assert ends(process.pid)  # no worker is left of the group
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=True
    )
    assert re.search(r"^\d of 4 runs are already finished\.", done.stdout, re.MULTILINE)
    assert "Unfinished" not in done.stdout


def test_different_versions_are_refused_before_anything_runs(
    finished: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    import warminit.lab.runs.environment as module

    real = module.environment("cpu")
    monkeypatch.setattr(module, "environment", lambda device: {**real, "torch": "9.9"})
    arguments = ("compare", *TINY, *ARMS, "--seeds", "3", "--out", str(folder))
    ended = invoke(*arguments)
    assert ended.exit_code == 2
    assert "different torch" in ended.output
    assert "--allow-mixed" in ended.output
    assert "[7/9" not in ended.output


def test_reproduce_table1_on_the_real_data(data_root: Path) -> None:
    arguments = ("reproduce", "table1", "--datasets", "mnist,svhn", "--data-root", str(data_root))
    ended = invoke(*arguments)
    assert ended.exit_code == 0, ended.output
    assert re.search(r"Otsu threshold +0\.4434 +0\.4434", ended.output)
    assert "SVHN (partial" in ended.output
    assert max(len(line.rstrip()) for line in ended.output.splitlines()) <= 80
    content = json.loads(invoke(*arguments, "--json").output)
    by_name = {each["name"]: each["standing"] for each in content["datasets"]}
    assert by_name == {"mnist": "complete", "svhn": "partial"}
    assert all(each["paper"] is None for each in content["figures"] if each["dataset"] == "svhn")


def test_reproduce_alone_lists_the_claims_and_what_is_missing(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warminit.lab.paper.costs._step", lambda channels, side: 0.1 * channels)
    arguments = ("reproduce", "--data-root", str(data_root))
    ended = invoke(*arguments)
    assert ended.exit_code == 0, ended.output
    assert "svhn: partial" in ended.output
    assert "cifar100: not" in ended.output
    assert "2 h 13 min" in ended.output  # 16 runs x 5,000 steps x 0.1 s
    assert max(len(line.rstrip()) for line in ended.output.splitlines()) <= 80
    rows = {each["key"]: each for each in json.loads(invoke(*arguments, "--json").output)["claims"]}
    assert rows["gain-mnist"]["data"] == "available"
    assert rows["gain-cifar10"]["core_seconds"] == pytest.approx(16 * 5000 * 0.3)


def test_reproduce_the_axes_and_the_control(data_root: Path, tmp_path: Path) -> None:
    where = ("--data-root", str(data_root), "--workers", "1", "--seeds", "1", "--steps", "1")
    ended = invoke("reproduce", "grid", "--axes", *where, "--dry-run")
    assert ended.exit_code == 0, ended.output
    assert "axes: 17 arms x 1 seed on fashion-mnist" in ended.output
    controlled = ("reproduce", "table3", "--control", "--datasets", "mnist", *where)
    ended = invoke(*controlled, "--out", str(tmp_path / "control"))
    assert "prewarm against norm-matched-random" in ended.output
    ended = invoke(*controlled, "--out", str(tmp_path / "control"), "--json")
    content = json.loads(ended.stdout)
    assert content["control"]["mnist"]["baseline"] == "norm-matched-random"


def test_reproduce_table3_on_the_real_data(data_root: Path, tmp_path: Path) -> None:
    ended = invoke(
        "reproduce", "table3", "--datasets", "mnist,cifar100", "--seeds", "1", "--steps", "1",
        "--data-root", str(data_root), "--out", str(tmp_path), "--workers", "1",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    text = " ".join(ended.output.split())
    assert "Not the paper's protocol: 1 of the paper's 5,000 steps; 1 seed in place of 8" in text
    assert "MNIST paper 0.9928 0.9933 +0.0005 -6.94 0.0109** 7/8" in text
    assert "-11.89†" in text
    assert "data not available" in text.replace("data - - - - - - not", "data not")
    assert (tmp_path / "study.sqlite").is_file()
