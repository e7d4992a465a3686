"""timm's models by name: those that timm builds itself, for images of a size."""

import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from warminit.errors import WarminitError
from warminit.lab.networks.build import build_model, model_builder

if find_spec("timm") is None or find_spec("torchvision") is None:
    pytest.skip("timm or torchvision is not installed", allow_module_level=True)

import zoo_setup

zoo_setup.prepare()  # before timm, which imports torchvision

import timm  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

VIT = "vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("timm:resnet10t", {}),
        (f"timm:{VIT}:patch_size=4:depth=2", {"img_size": (16, 12), "patch_size": 4, "depth": 2}),
    ],
)
def test_the_model_is_timms_own(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build_model(name, 2, (16, 12), 5)
    torch.manual_seed(0)
    wanted = timm.create_model(name.split(":")[1], in_chans=2, num_classes=5, **options)
    for (key, one), (other_key, other) in zip(
        model.state_dict().items(), wanted.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert torch.equal(one, other)
    assert model.eval()(torch.rand(3, 2, 16, 12)).shape == (3, 5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timm:resnet10", r"timm has no model 'resnet10'\. Did you mean timm:resnet10t\?"),
        ("timm:", r"timm has no model ''"),
        (f"timm:{VIT}:patch=four", r"'patch=four' is no option=number\. Write timm:name:patch_siz"),
        (f"timm:{VIT}:4", r"'4' is no option=number"),
    ],
)
def test_names_that_are_none(name: str, text: str) -> None:
    with pytest.raises(WarminitError, match=text):
        model_builder(name)


@pytest.mark.parametrize("name", ["timm:resnet10t:patch_size=4", f"timm:{VIT}:embed_dim=7"])
def test_options_that_a_model_does_not_take(name: str) -> None:
    with pytest.raises(WarminitError, match=r"cannot be built for images of 16 x 16: .*options"):
        build_model(name, 3, (16, 16), 5)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WarminitError, match=r"timm cannot be imported .*warminit\[timm\]"):
        model_builder("timm:resnet18")
