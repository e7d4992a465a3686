"""Arms by name: those that ship, those of other packages and your own, and the page on them."""

import importlib
import math
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import arm_oracles
from arm_cases import (
    BODY_METHODS,
    bits,
    first,
    make_conv,
    make_images,
)
from warminit import InitReport, init_
from warminit.errors import WarminitError
from warminit.initializers import METHODS, Method, get_method, method_names, methods

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 2, 12, 12)


def test_the_arms_are_the_ones_that_are_tested() -> None:
    apart = {"coates-ng", "krahenbuhl", "lsuv", "small-head", "whitening-small-head"}
    assert set(arm_oracles.STATEMENTS) | apart | set(BODY_METHODS) == set(METHODS)
    stored = {path.stem for path in arm_oracles.FIXTURES.glob("*.json")}
    assert set(arm_oracles.STATEMENTS) <= stored
    assert method_names()[: len(METHODS)] == tuple(METHODS)


@pytest.mark.parametrize("arm", METHODS)
def test_each_arm_says_what_it_does_in_one_line(arm: str) -> None:
    line = {each.name: each for each in methods()}[arm].summary
    assert line.endswith(".")
    assert 20 <= len(line) <= 100
    assert get_method(arm) is METHODS[arm]


PAGE = Path(__file__).parents[2] / "docs" / "initializers.md"


@pytest.mark.parametrize("arm", METHODS)
def test_each_arm_is_documented(arm: str) -> None:
    assert f"`{arm}`" in PAGE.read_text(encoding="utf-8")


def test_the_examples_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    """One after another, as a reader would; then the last one's arm is applied."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert capsys.readouterr().out.startswith("whitening\n")
    model = make_conv(2, 64)
    assert names["small"](model, IMAGES, seed=1, std=0.03).filters_set == 64
    # 1,152 values: 5 of the deviation's own standard errors.
    assert float(model.weight.detach().std()) == pytest.approx(0.03, rel=5 / math.sqrt(2 * 1152))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "pre-warm",
            r"method='pre-warm' is unknown\. Did you mean 'prewarm'\? There are: torch-def",
        ),
        ("he_normal", r"Did you mean 'he-normal'\?"),
        ("zzz", r"method='zzz' is unknown\. There are: .*your own is named module:function"),
        ("", r"method='' is unknown"),
        (
            "no_such_module_here:init",
            r"method='no_such_module_here:init' cannot be imported: No modu",
        ),
        ("math:no_such_function", r"cannot be imported: .*no_such_function.*as module:function"),
        (":init", r"method=':init' cannot be imported"),
        ("math:", r"method='math:' cannot be imported"),
        ("math:pi", r"method='math:pi' is a float: expected a function \(model, images, \*, seed"),
    ],
)
def test_arms_that_do_not_exist(name: str, text: str) -> None:
    model = make_conv()
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=text):
        init_(model, IMAGES, name)
    assert bits(model.weight) == before


@pytest.mark.parametrize("name", [3, [], ["he-normal", 3]])
def test_arms_that_are_no_names(name: Any) -> None:
    with pytest.raises(
        WarminitError, match=f"method={re.escape(repr(name))}: expected a name, or a list of names"
    ):
        init_(make_conv(), IMAGES, name)


@pytest.mark.parametrize(
    ("arm", "options", "text"),
    [
        (
            "whitening-small-head",
            {"n_cluster": 4},
            r"does not take 'n_cluster'\. .*It takes: .*head",
        ),
        ("whitening", {"n_filter": 4}, r"does not take 'n_filter'\. Did you mean 'n_filters'\?"),
        ("he-normal", {"patch_size": 3}, r"method 'he-normal' does not take 'patch_size'"),
    ],
)
def test_parameters_that_an_arm_does_not_take(arm: str, options: Any, text: str) -> None:
    model = make_conv()
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=text):
        init_(model, IMAGES, arm, **options)
    assert bits(model.weight) == before


@pytest.mark.parametrize("arm", ["torch-default", "whitening", "prewarm", "norm-matched-random"])
def test_a_seed_of_numpy_is_that_of_python(arm: str) -> None:
    one, other = make_conv(), make_conv()
    options = {} if arm == "torch-default" else {"patches_per_image": 9}
    report = init_(one, IMAGES, arm, seed=np.int64(3), **options)  # type: ignore[arg-type]
    init_(other, IMAGES, arm, seed=3, **options)
    assert bits(one.weight) == bits(other.weight)
    assert type(report.seed) is int


def fill(model: nn.Module, images: Tensor, *, seed: int, value: float = 1.0) -> InitReport:
    """Fill the weight with one value."""
    nn.init.constant_(first(model).weight, value)
    return InitReport("fill", "0", "", 8, 8, {"value": value}, seed, 0.0)


def test_an_arm_of_your_own(monkeypatch: pytest.MonkeyPatch) -> None:
    home = types.ModuleType("arms_of_my_own")
    home.fill = fill  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "arms_of_my_own", home)
    model = make_conv()
    report = init_(model, IMAGES, "arms_of_my_own:fill", seed=7, value=0.5)
    assert (report.seed, report.parameters) == (7, {"value": 0.5})
    assert torch.equal(model.weight, torch.full_like(model.weight, 0.5))
    assert get_method("arms_of_my_own:fill") is fill


def test_an_arm_of_an_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package as pip leaves it: a module, and metadata with the entry-point group."""
    (tmp_path / "far_arms.py").write_text('def ones(model, images, *, seed):\n    """Ones."""\n')
    info = tmp_path / "far_arms-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-arms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[warminit.initializers]\nfar-ones = far_arms:ones\nprewarm = far_arms:ones\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert "far-ones" in method_names()
    assert method_names().count("prewarm") == 1
    assert methods()[-1] == Method("far-ones", "", (), "Ones.")
    assert get_method("prewarm") is METHODS["prewarm"]  # nobody replaces a shipped arm
    with pytest.raises(WarminitError, match=r"Did you mean 'far-ones'\?"):
        get_method("far-one")
