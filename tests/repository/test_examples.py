"""examples/ -> each script and notebook runs."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import run_example
from notebooks import text_of
from warminit.lab.store.stored_study import STORE_NAME

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


def absent(code: str) -> list[str]:
    """What the code imports and is not installed."""
    imported = re.findall(r"^(?:from|import) (\w+)", code, flags=re.MULTILINE)
    return sorted(name for name in set(imported) if find_spec(name) is None)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_are_short_and_say_what_they_need(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 70
    assert re.search(r'^Needs `pip install "?warminit', text, flags=re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebooks_are_what_the_scripts_give(script: Path) -> None:
    path = script.with_suffix(".ipynb")
    assert path.read_text(encoding="utf-8") == text_of(script), "make notebooks"
    # By hand: all lines of code, in their order, none of them printed or numbered.
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    held = "\n".join("".join(cell["source"]) for cell in code)
    blocks = re.split(r"^# %%", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
    wanted = [block for block in blocks[1:] if not block.startswith(" [markdown]")]
    assert lines(held) == [line for block in wanted for line in lines(block)]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_every_notebook_has_a_script() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.ipynb")} == {
        path.stem for path in SCRIPTS
    }


# The notebooks hold the scripts' code, line by line: a test above says so.
@pytest.mark.parametrize("kind", [".py", pytest.param(".ipynb", marks=pytest.mark.full)])
def test_examples_run(kind: str, tmp_path: Path) -> None:
    missing = {script.stem: absent(script.read_text(encoding="utf-8")) for script in SCRIPTS}
    scripts = [str(each.with_suffix(kind)) for each in SCRIPTS if not missing[each.stem]]
    done = subprocess.run(
        [sys.executable, run_example.__file__, str(tmp_path), *scripts],
        cwd=tmp_path,  # where some leave their results
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outputs = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    for line in done.stdout.splitlines():
        name, how = line.split()
        assert how == "ran", f"{name}: {outputs[name][-4000:]}"
    assert outputs.keys() == {Path(script).stem for script in scripts}
    trains = {script.stem for script in SCRIPTS if "losses" in script.read_text("utf-8")}
    assert len(trains) >= 10
    for name, output in outputs.items():
        assert output.strip(), name
        if name not in trains:
            continue
        assert "filters set" in output, name
        # Few steps are enough for a loss to fall.
        first, last = re.findall(r"^loss (\S+) -> (\S+)$", output, flags=re.MULTILINE)[0]
        assert float(last) < float(first), name
    check_the_others(outputs)
    assert (tmp_path / "warminit-results" / "own-loop" / STORE_NAME).exists()
    if skipped := {name: libraries for name, libraries in missing.items() if libraries}:
        pytest.skip(f"all others ran; not installed: {skipped}")


def check_the_others(outputs: dict[str, str]) -> None:
    """The three that train no model of the reader's: they print what they are for."""
    own = outputs["own_initializer"]
    assert "between __main__:differences and torch-default with 4 seeds" in own or (
        "__main__:differences h" in own  # helps, or harms
    )
    loop = outputs["own_training_loop"].splitlines()
    assert len(loop) == 2
    assert all("torch-default" in line and "8 seeds" in line for line in loop)
    store = outputs["read_a_store"]
    # Two seeds by two arms, and the last three of ten steps.
    assert re.search(r"^42( +0\.\d+){2}$", store, flags=re.MULTILINE)
    assert re.search(r"^10( +\d\.\d+){2}$", store, flags=re.MULTILINE)
