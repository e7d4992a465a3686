"""the public names -> a stranger's script under `mypy --strict`: right uses pass, wrong do not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import warminit

# On one worker: mypy takes a minute over it, and every worker would start its own.
pytestmark = pytest.mark.xdist_group("types")

CACHE = Path(__file__).parents[2] / ".mypy_cache" / "from-outside"

RIGHT = """
from collections.abc import Iterable
from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn

import warminit
from warminit import (
    DataNotAvailableError,
    Diagnosis,
    Hyperparameters,
    InitReport,
    WarminitError,
    WarminitWarning,
    adapt_stem_,
    conditioned_init,
    derive_rules,
    diagnose,
    init_,
    load_filters_,
    methods,
    plot_filters,
    prewarm_,
    prewarm_filters,
    save_filters,
    whiten_,
)

model: nn.Module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
images: Tensor = torch.rand(8, 3, 32, 32)
batches: Iterable[Tensor] = [images]
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images))

report = prewarm_(
    model, images, patches_per_image=9, scale="match", layers="0", algorithm="paper", seed=1
)
assert_type(report, InitReport)
assert_type(report.filters_set, int)
assert_type(prewarm_(model, batches, mean=0.5, std=[0.2, 0.2, 0.2], layers=1), InitReport)
assert_type(whiten_(model, loader, eps=0.1, trainable=False, batches=2), InitReport)
assert_type(init_(model, images, "he-normal", seed=3, scope="all"), InitReport)
assert_type(prewarm_filters(images, 32, (3, 3)), Tensor)
assert_type(adapt_stem_(model, in_channels=4, method="copy", bands={"red": 2}), InitReport)
rules = derive_rules(images, 32, 3)
assert_type(rules, Hyperparameters)
assert_type(rules.n_patches, int)
assert_type(diagnose(model, images), Diagnosis)
assert_type(methods()[0].name, str)
conditioned_init(model, images)
path = save_filters(prewarm_filters(images), "bank.safetensors", report, metadata={"by": "me"})
assert_type(path, Path)
assert_type(load_filters_(model, path), InitReport)
plot_filters(model, conditioned=report)
assert_type(warminit.__version__, str)
try:
    prewarm_(model, images)
except WarminitError as error:
    assert_type(str(error), str)
issubclass(WarminitWarning, UserWarning)
issubclass(DataNotAvailableError, WarminitError)
"""

LABORATORY = """
from pathlib import Path
from typing import assert_type

from warminit.lab import compare
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.data.load import ImageDataset, load_dataset
from warminit.lab.own_loop import Init
from warminit.lab.verdict.paired import compare_paired
from warminit.lab.study.builtin import load_study
from warminit.lab.study.study import Study


def train(init: Init, seed: int) -> dict[str, float]:
    return {"accuracy": 0.5}


analysis = compare(train, ["torch-default", {"name": "prewarm", "scale": 0.1}], seeds=2, out="x")
assert_type(analysis, Analysis)
assert_type([each.verdict for each in analysis.comparisons], list[str])
assert_type(compare_paired([0.1, 0.2], [0.1, 0.3], arm="a", baseline="b"), Comparison)
assert_type(load_dataset("digits", data_root=Path(".")), ImageDataset)
assert_type(load_study("demo"), Study)
"""

WRONG = """
from torch import nn

from warminit import derive_rules, prewarm_, prewarm_filters, whiten_

model = nn.Conv2d(3, 32, 3)
prewarm_(model, 3)
prewarm_(model, [], algorithm="slow")
prewarm_(model, [], scale="loud")
whiten_(model, [], n_patch=3)
derive_rules("cifar10")
length: int = prewarm_filters(model.weight)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy says of each script; one run for all, with no configuration but `--strict`."""
    folder = tmp_path_factory.mktemp("stranger")
    scripts = {"right": RIGHT, "laboratory": LABORATORY, "wrong": WRONG}
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary",
            f"--cache-dir={CACHE}", *(f"{name}.py" for name in scripts),
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r"\w+\.py:\d+: ", line) for line in lines), done.stdout
    return {name: [line for line in lines if line.startswith(f"{name}.py")] for name in scripts}


@pytest.mark.parametrize("name", ["right", "laboratory"])
def test_right_uses_pass_a_strict_type_checker(said: dict[str, list[str]], name: str) -> None:
    assert said[name] == []


def test_wrong_uses_do_not(said: dict[str, list[str]]) -> None:
    """So the names have types: of what is `Any`, everything is accepted."""
    faults = {int(re.split(":", line)[1]) for line in said["wrong"] if ": error:" in line}
    expected = [number for number, line in enumerate(WRONG.splitlines(), 1) if number > 6]
    assert sorted(faults) == expected


def test_every_public_name_is_used() -> None:
    names = {name for name in warminit.__all__ if not re.search(rf"\b{name}\b", RIGHT)}
    assert not names
