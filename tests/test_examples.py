"""examples/, docs/integrations.md -> each script runs as its own process, each code block runs."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import integration_setup as setup
import run_example

ROOT = Path(__file__).parents[1]
# own_training_loop.py is run, and what it prints is checked, in test_own_loop.py.
SCRIPTS = sorted({*(ROOT / "examples").glob("*.py")} - {ROOT / "examples" / "own_training_loop.py"})
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
BLOCKS = dict(
    re.findall(r"^## (.+?)\n(?:(?!^## ).*\n)*?```python\n((?:.*\n)*?)```", PAGE, flags=re.MULTILINE)
)


def absent(code: str) -> list[str]:
    """What the code imports and is not installed."""
    imported = re.findall(r"^(?:from|import) (\w+)", code, flags=re.MULTILINE)
    return sorted(name for name in set(imported) if find_spec(name) is None)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_are_short(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) < 60


def test_examples_run(tmp_path: Path) -> None:
    missing = {script.stem: absent(script.read_text(encoding="utf-8")) for script in SCRIPTS}
    scripts = [str(script) for script in SCRIPTS if not missing[script.stem]]
    done = subprocess.run(
        [sys.executable, run_example.__file__, str(tmp_path), *scripts],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
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
    if skipped := {name: libraries for name, libraries in missing.items() if libraries}:
        pytest.skip(f"all others ran; not installed: {skipped}")


@pytest.mark.usefixtures("one_thread")
def test_the_others_print_what_they_are_for(tmp_path: Path) -> None:
    scripts = [
        str(ROOT / "examples" / f"{name}.py") for name in ("own_initializer", "read_a_store")
    ]
    done = subprocess.run(
        [sys.executable, run_example.__file__, str(tmp_path), *scripts],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    assert done.returncode == 0
    own = (tmp_path / "own_initializer.txt").read_text(encoding="utf-8")
    assert "between __main__:differences and torch-default with 4 seeds" in own or (
        "__main__:differences h" in own  # helps, or harms
    )
    store = (tmp_path / "read_a_store.txt").read_text(encoding="utf-8")
    # Two seeds by two arms, and the last three of ten steps.
    assert re.search(r"^42( +0\.\d+){2}$", store, flags=re.MULTILINE)
    assert re.search(r"^10( +\d\.\d+){2}$", store, flags=re.MULTILINE)


NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_hold_no_output(notebook: Path) -> None:
    """Cell by cell in one namespace, as a notebook does."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    names: dict[str, object] = {"__name__": "__main__"}
    state = torch.get_rng_state()
    for number, cell in enumerate(code):
        exec(compile("".join(cell["source"]), f"{notebook.name}[{number}]", "exec"), names)
    torch.set_rng_state(state)  # a notebook seeds torch as its reader would
    assert getattr(names["filters"], "mode", None) == "RGB"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("section", BLOCKS)
# The libraries' own, each as in the tests of its integration.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
def test_code_block_runs(
    section: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if missing := absent(BLOCKS[section]):
        pytest.skip(f"{', '.join(missing)} is not installed")
    monkeypatch.chdir(tmp_path)  # a block that writes a file must not write it here
    if re.search(r"^(?:from|import) (?:flax|jax|keras|warminit\.integrations\.(?:flax|keras))\b",
                 BLOCKS[section], flags=re.MULTILINE):  # fmt: skip
        # Both load JAX, and other tests fork: see test_integrations_apart.py.
        apart = [sys.executable, "-W", "ignore", "-c", BLOCKS[section]]
        printed = subprocess.run(apart, capture_output=True, text=True, check=True).stdout
    else:
        code = compile(BLOCKS[section], f"integrations.md, {section}", "exec")
        exec(code, {"__name__": "__main__"})
        printed = capsys.readouterr().out
    if "print(" in BLOCKS[section]:
        assert printed.strip()
    assert "jax" not in sys.modules


def test_every_section_has_a_block_that_runs() -> None:
    assert setup.STEPS == 20
    assert list(BLOCKS) == re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
