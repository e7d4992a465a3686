"""Names of 0.1: each warns once with today's name, gives the same bits, and excludes today's."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from arm_cases import bits, make_images, make_net
from warminit import (
    InitReport,
    WarminitError,
    diagnose,
    init_,
    load_filters_,
    plot_filters,
    prewarm_,
    prewarm_filters,
    save_filters,
    whiten_,
)
from warminit.initializers import METHODS, keywords
from warminit.renamed import METHODS_OF_0_1, PARAMETERS, TODAY

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 2, 12, 12)
VALUES: dict[str, Any] = {
    "engine": "paper", "head": 0.5, "layer": "0", "n_clusters": 3, "n_patches": 7,
}  # fmt: skip


def weights_of(function: Callable[..., InitReport], *rest: Any) -> Callable[..., Any]:
    """Return keywords -> the weights of a model that a function initialized."""

    def call(**given: Any) -> Any:
        model = make_net()
        function(model, IMAGES, *rest, seed=3, **given)
        return [bits(each) for each in model.parameters()]

    return call


def by_name(method: str, old: str) -> Callable[..., Any]:
    """The same through `init_`, with the count of patches given so that no pixel rule is asked."""
    counted = "patches_per_image" in keywords(METHODS[method])[0] and old != "n_patches"
    fixed: dict[str, Any] = {"patches_per_image": 9} if counted else {}
    if method in {"krahenbuhl", "lsuv"} and old == "layer":
        fixed["scope"] = "first"
    call = weights_of(init_, method)
    return lambda **given: call(**fixed, **given)


COUNT = {"patches_per_image": 9}
NEWER = {"dirac", "mimetic", "impulse", "convcov", "zero-residual", "embed-scale", "sinusoidal"}
"""Methods that 0.1 had not: they have no old names."""
BY_NAME = [
    (method, old)
    for method, function in METHODS.items()
    for old in PARAMETERS
    if TODAY[old] in keywords(function)[0] and method not in NEWER
]


def check(call: Callable[..., Any], old: str, value: Any) -> None:
    new = TODAY[old]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = call(**{new: value})
    with pytest.warns(DeprecationWarning, match=f"^{old}= ") as caught:
        found = call(**{old: value})
    assert found == wanted
    assert [str(each.message) for each in caught] == [
        f"{old}= is called {new}= since 0.2, and goes in 0.3. Pass {new}=."
    ]
    assert caught[0].filename == __file__
    with pytest.raises(
        WarminitError, match=f"^{old}=.* and {new}=.*: expected only one of the two"
    ):
        call(**{old: value, new: value})


@pytest.mark.parametrize(("method", "old"), BY_NAME)
def test_of_a_method_by_name(method: str, old: str) -> None:
    check(by_name(method, old), old, VALUES[old])


def test_the_methods_of_0_1_are_there() -> None:
    assert set(METHODS) >= METHODS_OF_0_1
    assert {old for _, old in BY_NAME} == set(PARAMETERS) == set(VALUES)


@pytest.mark.parametrize("old", ["n_clusters", "n_patches", "engine", "layer"])
def test_of_prewarm(old: str) -> None:
    call = weights_of(prewarm_)
    count = {} if old == "n_patches" else COUNT
    check(lambda **given: call(**count, **given), old, VALUES[old])


@pytest.mark.parametrize("old", ["n_patches", "layer"])
def test_of_whiten(old: str) -> None:
    call = weights_of(whiten_)
    count = {} if old == "n_patches" else COUNT
    check(lambda **given: call(**count, **given), old, VALUES[old])


@pytest.mark.parametrize("old", ["n_clusters", "n_patches", "engine"])
def test_of_prewarm_filters(old: str) -> None:
    count: dict[str, Any] = {} if old == "n_patches" else COUNT
    check(lambda **given: bits(prewarm_filters(IMAGES, **count, **given)), old, VALUES[old])


def test_the_name_of_a_layer(tmp_path: Path) -> None:
    path = save_filters(torch.rand(2, 8, 3, 3), tmp_path / "bank.safetensors")
    check(lambda **given: load_filters_(make_net(), path, **given).layer, "layer", "2")
    check(lambda **given: diagnose(make_net(), IMAGES, **given).layer, "layer", "0")
    check(lambda **given: plot_filters(make_net(), **given).tobytes(), "layer", "2")


def test_the_name_of_a_method() -> None:
    def call(**given: Any) -> Any:
        model = make_net()
        init_(model, IMAGES, **given)
        return [bits(each) for each in model.parameters()]

    check(call, "arm", "he-normal")


def test_a_report_of_a_function_of_0_1() -> None:
    rest: dict[str, Any] = {
        "layer": "0", "found": "", "filters_set": 1, "out_channels": 2, "parameters": {},
        "seed": 0, "seconds": 0.0,
    }  # fmt: skip
    check(lambda **given: InitReport(**given, **rest), "arm", "mine")
    with pytest.warns(DeprecationWarning, match=r"report\.arm is called report\.method") as caught:
        assert InitReport(method="mine", **rest).arm == "mine"
    assert [each.filename for each in caught] == [__file__]
