"""README.md, docs/*.md -> every block in them runs; every public name has its place."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import warminit
import zoo_setup
from dataset_files import folder_of
from report_cases import demo_runs, demo_study
from warminit.cli import app
from warminit.lab import __all__ as LAB
from warminit.lab.data.load import load_dataset
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.store.store import Store
from warminit.lab.store.stored_study import STORE_NAME

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = ("tutorial.md",)
"""Pages whose blocks run in another test file: test_newcomer.py has run the commands before."""
OWN = ("README.md", "index.md")
"""Pages whose blocks use the reader's own `model` and `loader`."""
PUBLIC = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


# ---------------------------------------------------------------- blocks
def a_study_that_was_run() -> None:
    """What `warminit compare` leaves, which the page on reports reads."""
    study = demo_study(seeds=[42, 7])
    path = Path("warminit-results/compare", STORE_NAME)
    path.parent.mkdir(parents=True)
    with Store.opened(path) as store:
        runs = demo_runs(study)
        store.set_about(
            {
                "study": study.model_dump_json(),
                "keys": str([run.key for run in runs]).replace("'", '"'),
            }
        )
        for run in runs:
            assert run.result is not None
            store.add(
                PlannedRun(run.spec, run.arm_parameters, run.key), run.environment, run.result
            )


def a_file_of_filters() -> None:
    """What `warminit filters` leaves, which the page on the command line loads."""
    pixels = load_dataset("digits").train_images[:64]
    warminit.save_filters(warminit.prewarm_filters(pixels, 32, 3), "digits.safetensors")


FRAMEWORKS = ("adapt.md", "lightning.md", "own-loop.md", "timm.md", "transformers.md")
"""Pages whose libraries import torchvision, and warn of each other."""


def a_model_and_a_loader() -> dict[str, Any]:
    """What the reader has: a network, and batches of images with their labels."""
    data = load_dataset("digits")
    images = (data.train_images[:256] / 255 - data.mean[0]) / data.std[0]
    batches = TensorDataset(images, data.train_labels[:256])
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    return {"model": model, "loader": DataLoader(batches, batch_size=64)}


BEFORE: dict[str, Callable[[], object]] = {
    **dict.fromkeys(FRAMEWORKS, zoo_setup.prepare),
    "own-images.md": lambda: folder_of(Path("my-images"), per_class=10, shape=(40, 32, 3)),
    "report.md": a_study_that_was_run,
    "command-line.md": a_file_of_filters,
}


def absent(code: list[str]) -> list[str]:
    """Packages that the blocks import and that are not installed."""
    names = re.findall(r"^(?:from|import) (\w+)", "\n".join(code), flags=re.MULTILINE)
    return sorted(name for name in set(names) if find_spec(name) is None)


def framework_pages_apart() -> list[Any]:
    """The pages with Python; warnings of the frameworks' own are ignored on theirs."""
    ignored = [
        "ignore::DeprecationWarning",
        "ignore::FutureWarning",
        "ignore:.*does not have many workers:UserWarning",
        "ignore:'pin_memory' argument:UserWarning",
    ]
    marks = [pytest.mark.filterwarnings(each) for each in ignored]
    return [
        pytest.param(page, id=page.name, marks=marks if page.name in FRAMEWORKS else ())
        for page in pages_with("python")
        if page.name not in ELSEWHERE
    ]


@pytest.mark.usefixtures("one_thread")
# torch's own, as `torch.compile` is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("page", framework_pages_apart())
def test_the_python_blocks_of_a_page_run_one_after_another(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a block that writes a file must not write it here
    missing = {number: absent([block]) for number, block in enumerate(blocks(page, "python"), 1)}
    if not any(missing.values()):
        BEFORE.get(page.name, lambda: None)()
    torch.manual_seed(0)  # one draw in 10,000 looks trained, and would be warned of
    names: dict[str, Any] = {"__name__": "page"}
    names |= a_model_and_a_loader() if page.name in OWN else {}
    # dataclasses and pickle look a class's module up by its name.
    monkeypatch.setitem(sys.modules, "page", types.ModuleType("page"))
    for number, block in enumerate(blocks(page, "python"), 1):
        if missing[number]:
            continue
        # A file, since `compare` reads the text of the reader's own function.
        path = tmp_path / f"{page.stem}, block {number}.py"
        path.write_text(block, encoding="utf-8")
        if re.search(r"^(?:from|import) (?:jax|keras)\b", block, flags=re.MULTILINE):
            printed = apart(path)
        else:
            exec(compile(block, str(path), "exec"), names)
            printed = capsys.readouterr().out
        if "print(" in block:
            assert printed.strip()
    assert "jax" not in sys.modules
    if absences := {number: each for number, each in missing.items() if each}:
        # Optional frameworks; CI installs all but fastai.
        pytest.skip(f"all other blocks ran; not installed: {absences}")


def apart(script: Path) -> str:
    """Run a script in a process of its own: it loads JAX, and other tests fork."""
    environment = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(script.parent)} | os.environ
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        env=environment, capture_output=True, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("page", pages_with("toml"), ids=lambda path: path.name)
def test_toml_blocks_are_toml(page: Path) -> None:
    for block in blocks(page, "toml"):
        assert tomllib.loads(block)


def shell_lines(page: Path, program: str) -> Iterator[list[str]]:
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == program:
                yield words[1:]


@pytest.mark.parametrize("page", pages_with("sh"), ids=lambda path: path.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    """Only that they are accepted; the guide to the command line runs each of its own."""
    group: Any = typer.main.get_command(app)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in shell_lines(page, "make"):
        assert set(words) <= targets, f"make {words}: no such target"
    for words in shell_lines(page, "warminit"):
        if words[0].startswith("--"):
            continue
        assert words[0] in group.commands, f"warminit {words[0]}: no such command"
        command = group.commands[words[0]]
        known = {name for each in command.params for name in [*each.opts, *each.secondary_opts]}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= known | {"--help", "-h"}, f"warminit {words}: no such option"


# ---------------------------------------------------------------- public names
def test_every_public_name_has_its_place_in_the_reference() -> None:
    wanted = {f"warminit.{name}" for name in warminit.__all__}
    wanted |= {f"warminit.lab.{name}" for name in LAB}
    assert wanted <= set(PUBLIC)
    assert len(PUBLIC) == len(set(PUBLIC))
    for name in PUBLIC:
        home, _, last = name.rpartition(".")
        if "integrations" in home:  # needs its library: the site's build finds it without
            continue
        assert getattr(importlib.import_module(home), last).__doc__, name


def imported_from_warminit(page: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse("\n".join(blocks(page, "python")))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warminit"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("page", pages_with("python"), ids=lambda path: path.name)
def test_what_a_page_imports_is_public(page: Path) -> None:
    assert imported_from_warminit(page) <= set(PUBLIC)
