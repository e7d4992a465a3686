"""the command `warminit` -> help, listings, errors and exit codes, at 80 columns."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from warminit import load_filters_
from warminit.cli import app
from warminit.errors import WarminitError
from warminit.lab.networks.build import build_model

GROUP: Any = typer.main.get_command(app)
COMMANDS = tuple(GROUP.commands)


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("WARMINIT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def words(text: str) -> str:
    """Return the text without the frames that Typer draws, with every run of blanks as one."""
    return " ".join("".join(" " if each in "│╭╮╰╯─" else each for each in text).split())


# ---------------------------------------------------------------- help
def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys; from warminit.cli import main\n"
        "sys.argv = ['warminit', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    loaded = set(out.rpartition("LOADED")[2].split())
    assert "typer" in loaded
    heavy = {"torch", "numpy", "pandas", "scipy", "sklearn", "statsmodels", "pydantic", "pyarrow"}
    assert not loaded & heavy


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    ended = invoke(command, "--help")
    assert ended.exit_code == 0
    lines = ended.output.splitlines()
    assert max(len(line) for line in lines) <= 80
    examples = ended.output.partition("Examples:")[2]
    assert f"warminit {command}" in examples
    # Each example line must be one that the command takes.
    for line in (line.strip() for line in examples.splitlines()):
        options = [word for word in line.split() if word.startswith("--")]
        known = {name for each in parameters(command) for name in each.opts}
        assert set(options) <= known, line


def parameters(command: str) -> list[Any]:
    return [each for each in GROUP.commands[command].params if each.name != "help"]


def test_every_option_has_help_and_a_default() -> None:
    helps: dict[str, set[str]] = {}
    for command in COMMANDS:
        for each in parameters(command):
            assert each.help, (command, each.name)
            if each.param_type_name == "option":
                default = each.show_default if isinstance(each.show_default, str) else each.default
                assert default is not None, (command, each.name)
                helps.setdefault(each.name, set()).add(each.help)
    # One name, one meaning; a file or a folder, to compare or to look at, may say so.
    assert {name for name, texts in helps.items() if len(texts) > 1} <= {"arms", "out", "datasets"}


def test_the_exit_codes_are_documented() -> None:
    text = words(invoke("--help").output)
    for code in ("0 success", "1 a run or", "2 invalid input", "130 interrupted"):
        assert code in text


# ---------------------------------------------------------------- what is wrong
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?"),
        (["compare", "--sedes", "3"], "--seeds"),
        (["reproduce", "tabel1"], "or grid. Did you mean 'table1'?"),
        (["run", "contrl"], "Did you mean 'control'?"),
        (["run", "gone.toml"], "study file gone.toml cannot be read"),
        (["compare", "--arms", "torch-default,prewram"], "Did you mean 'prewarm'?"),
        (["compare", "--models", "simplecn"], "simplecnn"),
        (["compare", "--datasets", "digit"], "Did you mean 'digits'?"),
        (["compare", "--baseline", "prewram"], "Did you mean 'prewarm'?"),
        (["reproduce", "table3", "--datasets", "minst"], "expected a data set of the paper: mnist"),
        (["reproduce", "table1", "--axes"], "--axes belongs to grid, not to table1."),
        (["reproduce", "--control"], "--control belongs to table3, not to the list of claims."),
        (["reproduce", "table1", "--steps", "3"], "trains nothing: expected no --steps with it"),
        (["export", ".", "--format", "cvs"], "Did you mean 'csv'?"),
        (["export", "gone"], "study='gone': expected a folder with study.sqlite"),
        (["compare", "--seeds", "0"], "Invalid value for '--seeds'"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_clear_error_and_code_2(arguments: list[str], said: str) -> None:
    ended = invoke(*arguments)
    assert ended.exit_code == 2, ended.output
    assert said in words(ended.output)
    assert "Traceback" not in ended.output
    assert not list(Path().iterdir())  # nothing was begun


def test_a_study_file_names_its_line_or_its_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\ndatasets = ["digits"\narms = ["prewarm"]\n')
    assert "line 3" in words(invoke("run", str(file)).output)
    file.write_text('name = "mine"\ndatasets = ["digits"]\narms = ["prewarm"]\nseed = 3\n')
    ended = invoke("run", str(file))
    assert ended.exit_code == 2
    assert "seed: unknown key. Did you mean 'seeds'?" in words(ended.output)


def test_absent_data_say_how_to_go_on_without_them(tmp_path: Path) -> None:
    ended = invoke("run", "control", "--data-root", str(tmp_path))
    assert ended.exit_code == 2
    said = words(ended.output)
    assert "data not available: name='fashion-mnist'" in said
    assert "Or name only the other data sets with --datasets." in said


@pytest.mark.parametrize("debug", [False, True])
def test_no_traceback_unless_asked(monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("an error of our own")

    monkeypatch.setattr("warminit.lab.data.availability.known_datasets", broken)
    ended = invoke("datasets", *(["--debug"] if debug else []))
    assert ended.exit_code == 1
    assert "warminit failed: RuntimeError: an error of our own" in ended.output
    assert ("Traceback" in ended.output) is debug
    assert ("Add --debug to see where" in ended.output) is not debug


def test_a_traceback_of_bad_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise WarminitError("x=1; 2 is needed. Give 2.")

    monkeypatch.setattr("warminit.lab.data.availability.known_datasets", refuses)
    assert invoke("datasets").output == "warminit: x=1; 2 is needed. Give 2.\n"
    ended = invoke("--debug", "datasets")
    assert ended.exit_code == 2
    assert "Traceback" in ended.output


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("warminit.lab.data.availability.known_datasets", interrupted)
    ended = invoke("datasets")
    assert ended.exit_code == 130
    assert ended.output == "warminit: interrupted\n"


# ---------------------------------------------------------------- listings
def test_arms_and_models_are_listed() -> None:
    names = {row["name"]: row["description"] for row in json.loads(invoke("arms", "--json").output)}
    assert {"torch-default", "he-normal", "prewarm", "norm-matched-random"} <= set(names)
    assert all(names.values())
    models = json.loads(invoke("models", "--json").output)
    shipped = ["simplecnn", "simplecnn-nobn", "simplecnn-k7", "resnet20", "small-vit"]
    assert [row["name"] for row in models] == shipped
    # Section 3.1 on 3 x 32 x 32, by hand: two convolutions, two batch norms, two dense layers.
    by_hand = (27 * 32 + 32) + 64 + (288 * 64 + 64) + 128 + (4096 * 256 + 256) + (2560 + 10)
    assert models[0]["parameters"] == by_hand
    text = invoke("arms").output
    assert "norm-matched-random" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_datasets_at_hand_are_told_from_others(tmp_path: Path) -> None:
    folder = tmp_path / "hub/ylecun/mnist/mnist"
    folder.mkdir(parents=True)
    for split, rows in {"train": 60_000, "test": 10_000}.items():
        pq.write_table(pa.table({"label": [0] * rows}), folder / f"{split}-00000-of-00001.parquet")
    short = tmp_path / "hub/ufldl-stanford/svhn/cropped_digits"
    short.mkdir(parents=True)
    for split, rows in {"train": 7_500, "test": 2_500}.items():
        pq.write_table(pa.table({"label": [0] * rows}), short / f"{split}-00000-of-00001.parquet")
    arguments = ("datasets", "--data-root", str(tmp_path / "hub"))
    found = {row["name"]: row for row in json.loads(invoke(*arguments, "--json").output)}
    assert found["mnist"]["at_hand"] == "yes"
    assert found["svhn"]["at_hand"] == "partial (7,500 / 2,500)"
    assert found["cifar100"]["at_hand"] == "no"
    assert found["digits"]["at_hand"] == "embedded"
    assert (found["svhn"]["train"], found["svhn"]["hub_id"]) == (73_257, "ufldl-stanford/svhn")
    assert "partial (7,500 / 2,500)" in words(invoke(*arguments).output)
    without = json.loads(invoke("datasets", "--json").output)
    assert without[0]["at_hand"] == "from the hub"


def test_rules_of_a_data_set() -> None:
    values = json.loads(invoke("rules", "--json").output)
    assert (values["n_clusters"], values["patch_size"], values["scale"]) == (16, [3, 3], 0.2)
    assert values["n_patches"] == int(8 / values["foreground_density"])
    several = json.loads(invoke("rules", "--dataset", "fashion-mini,fashion-mini", "--json").output)
    assert [row["dataset"] for row in several] == ["fashion-mini"] * 2
    text = words(invoke("rules").output)
    assert "n_patches 22" in text
    assert "Otsu's foreground density" in text


def test_filters_of_one_domain_go_into_a_model_of_another(tmp_path: Path) -> None:
    file, made = tmp_path / "digits.safetensors", ("filters", "digits", "--arm", "whitening")
    assert invoke(*made, "--out", str(file)).exit_code == 0
    clothes = build_model("simplecnn", 1, (28, 28), 10)
    kept = clothes.state_dict()["conv1.weight"][16:].clone()
    report = load_filters_(clothes, file)
    assert (report.layer, report.filters_set) == ("conv1", 16)
    filters = clothes.state_dict()["conv1.weight"]
    assert torch.equal(filters[:16], load_file(file)["filters"])
    assert torch.equal(filters[16:], kept)
    with pytest.raises(WarminitError, match="filters of 1 channels, and conv1 takes 3"):
        load_filters_(build_model("simplecnn", 3, (32, 32), 10), file)
