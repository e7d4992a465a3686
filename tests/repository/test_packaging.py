"""the tree -> wheel and sdist, the same bytes every time; the wheel -> a demo without the tree.

Also what CI is told: each workflow is YAML, and every command in it is a target of the Makefile.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # four files are read; its stubs are not installed

import warminit

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TREE = ("src", "docs", "examples", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
PATIENCE = 1800


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"OMP_NUM_THREADS": "1"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


# ---------------------------------------------------------------- wheel and sdist
def built(tree: Path, modified: int) -> dict[str, Path]:
    """Copy the tree with other times of modification, build it, and return files by ending."""
    for name in TREE:
        source, copy = ROOT / name, tree / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    for path in tree.rglob("*"):
        os.utime(path, (modified, modified))
    # What `make dist` runs; the backend is the installed one, so nothing is fetched.
    run(sys.executable, "-m", "hatchling", "build", cwd=tree, SOURCE_DATE_EPOCH="1700000000")
    return {path.suffix: path for path in (tree / "dist").iterdir()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(tmp_path_factory.mktemp("first"), 1_600_000_000)


@pytest.fixture(scope="module")
def wheel(first: dict[str, Path]) -> Path:
    return first[".whl"]


def test_two_builds_give_the_same_bytes(first: dict[str, Path], tmp_path: Path) -> None:
    again = built(tmp_path / "another place", 1_650_000_000)
    assert set(first) == set(again) == {".whl", ".gz"}
    for ending, path in first.items():
        digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (path, again[ending])]
        assert digests[0] == digests[1], f"{path.name} differs from build to build"
        assert path.name == again[ending].name


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"warminit", f"warminit-{warminit.__version__}.dist-info"}
    source = ROOT / "src"
    kept = {
        path.relative_to(source).as_posix()
        for path in (source / "warminit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("warminit/")} == kept
    assert "warminit/py.typed" in names


def test_the_sdist_has_what_the_wheel_is_built_from(first: dict[str, Path]) -> None:
    with tarfile.open(first[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/warminit/py.typed"} <= names
    unwanted = (".venv", "dist", "warminit-results", "docs/results")
    assert not [name for name in names if name.startswith(unwanted)]


def test_twine_finds_nothing_to_complain_of(first: dict[str, Path]) -> None:
    if find_spec("twine") is None:
        pytest.skip('twine is not installed: pip install -e ".[dev]"')
    said = run(
        sys.executable, "-m", "twine", "check", "--strict", *first.values(), cwd=ROOT, NO_COLOR="1"
    )
    assert said.count("PASSED") == 2


def test_a_tag_of_another_version_is_not_published(tmp_path: Path) -> None:
    """`make dist` is what the release runs, on the commit that a tag v1.2.3 points at."""
    for name in (*TREE, "Makefile"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null")
    for words in (["init", "--quiet"], ["add", "README.md"], ["commit", "--quiet", "-m", "one"]):
        run(*git, *words, cwd=tmp_path)
    home = sys.prefix
    make = ("make", "dist", f"VENV={home}", "-o", f"{home}/.installed")  # nothing is installed
    run(*git, "tag", "v9.9.9", cwd=tmp_path)
    with pytest.raises(AssertionError, match=r"the tag v9\.9\.9 names another version"):
        run(*make, cwd=tmp_path)
    run(*git, "tag", "-d", "v9.9.9", cwd=tmp_path)
    run(*git, "tag", f"v{warminit.__version__}", cwd=tmp_path)
    assert "PASSED" in run(*make, cwd=tmp_path)


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert project["version"] == warminit.__version__ == str(citation["version"])


# ---------------------------------------------------------------- without the source tree
def environment_with(wheel: Path, home: Path, borrowed: str | None) -> Path:
    """Make an environment with the wheel in it, and the folder of libraries it may borrow from.

    A line of a .pth file is a folder to search, whose own .pth files are not read. So the editable
    install there is out of sight, and `warminit` can only be the wheel's.
    """
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    if borrowed is None:
        constraints = ROOT / "constraints.txt"
        words = ("install", "--quiet", "--no-compile", "-c", constraints, f"{wheel}[lab]")
        run(*pip, *words, cwd=home)
        return python
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    place = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home)
    Path(place.strip(), "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return python


def check_the_demo(python: Path, folder: Path) -> None:
    folder.mkdir()
    where = "import warminit; print(warminit.__file__)"
    assert Path(run(python, "-c", where, cwd=folder).strip()).is_relative_to(python.parents[1])
    command = python.with_name("warminit")
    assert "whitening" in run(command, "arms", cwd=folder)
    said = run(
        command, "compare", "--steps", "2", "--seeds", "1", "--batch-size", "16",
        "--arms", "torch-default,prewarm", "--workers", "1", "--out", "demo", cwd=folder,
    )  # fmt: skip
    assert "prewarm" in said
    assert {"study.sqlite", "report.html"} <= {path.name for path in (folder / "demo").iterdir()}


def test_the_wheel_runs_its_demo_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    """With the libraries that are installed here; `full` has the same in an empty environment."""
    python = environment_with(wheel, tmp_path / "env", sysconfig.get_path("purelib"))
    check_the_demo(python, tmp_path / "elsewhere")


@pytest.mark.full
def test_the_wheel_installs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Every library anew, torch among them: minutes, and it needs a package index."""
    python = environment_with(wheel, tmp_path / "env", None)
    check_the_demo(python, tmp_path / "elsewhere")


# ---------------------------------------------------------------- workflows
def steps(path: Path) -> list[Mapping[str, Any]]:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_there_are_the_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["check", "docs", "release"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        plain = re.sub(r"\$\{\{ [\w.]+ \}\}", "VALUE", command)
        called = re.fullmatch(r"make ([a-z-]+)(?: [A-Z]+=\S+)*", plain)
        assert called, f"{command!r} is not one call of make"
        assert called[1] in targets, f"make {called[1]}: no such target"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_pinned_and_holds_no_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    # YAML reads the key `on` as the truth value.
    assert set(workflow) >= {"name", True, "permissions", "jobs"}
    for step in steps(path):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", step["uses"]), step["uses"]
    assert "secrets." not in text
    assert "://" not in text  # no registry's host, and no other
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_the_matrix_is_what_the_package_says_that_it_supports() -> None:
    workflow = yaml.safe_load(WORKFLOWS[0].read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["check"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert project["requires-python"] == f">={matrix['python'][0]}"
    lowest = next(each for each in project["dependencies"] if each.startswith("torch>="))
    assert matrix["torch"][0].startswith(lowest.removeprefix("torch>="))
    assert matrix["torch"][1:] == ["newest"]


def test_publishing_asks_for_a_token_of_its_own_and_nothing_more() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    publish = release["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert release["permissions"] == {"contents": "read"}
    assert publish["needs"] == "build"
    uses = [step.get("uses", "") for step in publish["steps"]]
    assert uses[-1].startswith("pypa/gh-action-pypi-publish@")
    assert not any("run" in step for step in publish["steps"])  # nothing of ours sees the token
