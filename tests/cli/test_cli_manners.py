"""the command `warminit` as a guest on your machine: lines, hints, completion, plain pipes."""

import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from cli_cases import failing, invoke, plain, stubbed
from warminit.cli import app

GROUP: Any = typer.main.get_command(app)
COMMANDS = tuple(GROUP.commands)
SCRIPT = Path(sys.executable).with_name("warminit")
PATIENCE = 300


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain(monkeypatch, tmp_path)


def process(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    names = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return subprocess.run(
        [str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env=names | environment,
        timeout=PATIENCE,
        check=False,
    )


def options(command: str) -> set[str]:
    return {name for each in GROUP.commands[command].params for name in each.opts}


# ---------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["compare", "--sedes", "3"], "--seeds"),
        (["run", "demo", "--quite"], "--quiet"),
        (["arms", "--jsn"], "--json"),
    ],
)
def test_a_wrong_option_names_the_nearest(arguments: list[str], near: str) -> None:
    ended = invoke(*arguments)
    assert ended.exit_code == 2
    assert f"Did you mean '{near}'?" in ended.output
    assert "Possible options" not in ended.output


def test_an_option_that_is_like_no_other_is_only_refused() -> None:
    ended = invoke("compare", "--xyzzy")
    assert (ended.exit_code, "No such option: --xyzzy" in ended.output) == (2, True)


def test_every_command_answers_in_json_and_progress_can_be_silenced() -> None:
    assert [command for command in COMMANDS if "--json" not in options(command)] == []
    long = {"compare", "run", "reproduce", "rules", "diagnose", "filters", "report", "try"}
    assert {command for command in COMMANDS if "--quiet" in options(command)} == long


# ---------------------------------------------------------------- the command as it is installed
def test_it_tells_its_version() -> None:
    ended = invoke("--version")
    assert (ended.exit_code, ended.output) == (0, f"warminit {version('warminit')}\n")


def test_a_function_of_the_folder_one_stands_in_is_found_and_shadows_nothing() -> None:
    Path("my_arms.py").write_text(
        "from warminit import init_\n"
        "def mine(model, images, *, seed):\n"
        "    return init_(model, images, 'he-normal', seed=seed)\n",
        encoding="utf-8",
    )
    # A data set may hold any file: none of them stands in for a module that warminit imports.
    Path("pandas.py").write_text("raise SystemExit('run by the data')", encoding="utf-8")
    done = process(
        "compare", "--arms", "torch-default,my_arms:mine", "--datasets", "digits", "--steps", "2",
        "--seeds", "1", "--quiet", "--out=~/mine", HOME=str(Path.cwd() / "home"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "my_arms:mine" in done.stdout
    assert Path("home/mine/study.sqlite").is_file()  # no shell expands ~ behind a = sign
    assert not Path("~").exists()
    exported = process("export", "~/mine", "--out=~/rows.csv", HOME=str(Path.cwd() / "home"))
    assert exported.returncode == 0, exported.stderr
    assert Path("home/rows.csv").is_file()


# ---------------------------------------------------------------- study files
STUDY = """\
# never 'fashon'
name = "mine"
datasets = [
  "digits",
]
arms = ["torch-default", {name = "prewarm", scale = 0.1}]
baseline = "torch-default"  # not 'prewram'
[protocol]
steps = 4
"""


@pytest.mark.parametrize(
    ("old", "new", "said", "lines"),
    [
        ("steps", "stepz", "protocol.stepz: unknown key. Did you mean 'steps'?", "line 9"),
        ("baseline", "basline", "basline: unknown key. Did you mean 'baseline'?", "line 7"),
        ("steps = 4", "steps = 0", "protocol.steps: Input should be greater", "line 9"),
        ('"digits"', '"fashon"', "'owner/name'. Did you mean", "line 4"),
        ("scale", "scael", "std. Did you mean 'scale'", "line 6"),
        ('"prewarm"', '"prewram"', "method='prewram' is unknown. Did you mean", "line 6"),
        ('"torch-default"  #', '"torch" #', "baseline='torch': expected torch-default", "line 7"),
        ("[protocol]", "[protocl]", "protocl: unknown key. Did you mean 'protocol'", "line 8"),
        ("[protocol]\nsteps", "protocol.stepz", "protocol.stepz: unknown key", "line 8"),
        ("[protocol]\nsteps = 4", "protocol = {stepz = 4}", "unknown key", "line 8"),
        (
            '"digits",\n',
            '"digits", "digits",\n',
            "datasets='digits': expected each of them once",
            "line 4",
        ),
        ("steps = 4", "steps = 0\noptimizer = 'adm'", "Did you mean 'adam'?", "lines 9 and 10"),
        ('name = "mine"', "", "name: required, and missing", None),
        ("steps = 4", "steps = ", "is not valid TOML", "line 9"),
    ],
)
def test_a_wrong_study_file_names_line_and_key(
    old: str, new: str, said: str, lines: str | None
) -> None:
    assert old in STUDY
    Path("mine.toml").write_text(STUDY.replace(old, new, 1))
    ended = invoke("run", "mine.toml")
    assert ended.exit_code == 2
    assert said in ended.output
    assert "study file mine.toml is not valid" in ended.output
    if lines is None:
        assert "line" not in ended.output
    else:
        assert f"{lines})" in ended.output or f"{lines}, column" in ended.output


# ---------------------------------------------------------------- exit codes
def test_the_exit_codes_are_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ("compare", "--datasets", "digits", "--arms", "torch-default,prewarm", "--seeds", "1")
    stubbed(monkeypatch)
    assert invoke(*small, "--out", "a").exit_code == 0
    stubbed(monkeypatch, outcome=failing("prewarm", "Traceback\nRuntimeError: broke"))
    assert invoke(*small, "--out", "b").exit_code == 1
    assert invoke("compare", "--datasets", "digit").exit_code == 2
    stubbed(monkeypatch, stop_after=1)
    assert invoke(*small, "--out", "c").exit_code == 130
    guide = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
    for code in (0, 1, 2, 130):
        assert f"| {code} |" in guide


# ---------------------------------------------------------------- processes
def test_a_pipe_gets_neither_colour_nor_a_bar() -> None:
    ended = process(
        "compare", "--datasets", "digits", "--arms", "torch-default,prewarm", "--seeds", "1",
        "--steps", "2", "--batch-size", "32", "--workers", "1", TERM="xterm-256color",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "[2/2" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "\r" not in ended.stdout + ended.stderr
    assert "━" not in ended.stdout


def test_whoever_is_offline_is_told_once_and_soon() -> None:
    # Nothing listens on port 9 of this machine: what the hub's libraries would retry.
    ended = process("rules", "--datasets", "mnist", HF_ENDPOINT="http://127.0.0.1:9")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "data not available: name='mnist' could not be fetched from the hub" in ended.stderr
    assert "it does not answer" in ended.stderr
    assert not ended.stdout


@pytest.mark.parametrize("asked", ["--show-completion", "--install-completion"])
def test_the_shell_is_told_how_to_complete(asked: str, tmp_path: Path) -> None:
    # Which shell it is for is seen from the process above.
    line = ["bash", "-c", f"'{SCRIPT}' {asked}; exit $?"]
    home = os.environ | {"HOME": str(tmp_path)}
    shown = subprocess.run(
        line, capture_output=True, text=True, env=home, timeout=PATIENCE, check=True
    )
    written = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert "_WARMINIT_COMPLETE=complete_bash" in (written or shown.stdout)
    assert bool(written) is (asked == "--install-completion")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("warminit rep", {"reproduce", "report"}),
        ("warminit compare --see", {"--seeds"}),
        ("warminit compare --track ml", {"mlflow"}),
        ("warminit reproduce tab", {"table1", "table2", "table3"}),
        ("warminit run c", {"control", "colour-patches"}),
        ("warminit export a --format c", {"csv"}),
    ],
)
def test_completion_completes(line: str, wanted: set[str]) -> None:
    words = len(line.split()) - 1
    ended = process(_WARMINIT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(words))
    assert wanted <= set(ended.stdout.split())


# ---------------------------------------------------------------- the guide
GUIDE = Path(__file__).parents[2] / "docs" / "command-line.md"


def typed() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_every_command_is_in_the_guide() -> None:
    named = set(re.findall(r"`([a-z]+)[ `A-Z]", GUIDE.read_text("utf-8").partition("```")[0]))
    assert set(COMMANDS) <= named


# MLflow's own code still uses what SQLAlchemy 2.1 calls deprecated.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_every_command_of_the_guide_is_accepted(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stubbed(monkeypatch)
    program, *arguments = words
    assert program == "warminit"
    if arguments[0].endswith("-completion"):
        return  # from within a shell, above
    if arguments[0] in {"report", "export"}:  # the guide has made that study before
        assert invoke(*typed()[0][1:]).exit_code == 0
    ended = invoke(*arguments)
    assert ended.exit_code == 0, ended.output


def test_the_guides_python_runs_after_its_commands() -> None:
    made = next(words for words in typed() if words[1] == "filters")
    assert invoke(*made[1:]).exit_code == 0
    (code,) = re.findall(
        r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    run = [sys.executable, "-c", code]
    shown = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "whitening" in shown.stdout
    assert "16 of 32" in shown.stdout


@pytest.mark.parametrize("arguments", [["rules", "--datasets", "digits"], ["--help"], ["arms"]])
def test_a_terminal_of_no_width_is_taken_as_one_of_80_columns(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wanted = invoke(*arguments).output
    monkeypatch.setenv("COLUMNS", "0")
    assert invoke(*arguments).output == wanted
    assert len(wanted.splitlines()) > 3
