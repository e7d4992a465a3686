"""What belongs to the caller: images a model writes into, weights it merges, and its own errors."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_cases import all_bits, bits, make_images
from warminit import diagnose, init_, load_filters_, whiten_
from warminit.errors import WarminitError

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 3, 16, 16)
RUNNING = ("whitening-small-head", "small-head", "lsuv", "krahenbuhl")


class Standardize(nn.Module):
    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def forward(self, images: Tensor) -> Tensor:
        return images.sub_(0.5).div_(0.25) if self.in_place else (images - 0.5) / 0.25


def standardizing(*, in_place: bool) -> nn.Module:
    torch.manual_seed(0)
    # The normalization in front makes the order of the two convolutions a question to a pass.
    return nn.Sequential(
        Standardize(in_place=in_place), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1),
        nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip


@pytest.mark.parametrize("arm", RUNNING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_that_a_model_standardizes_in_place(arm: str, dtype: torch.dtype) -> None:
    images = IMAGES.to(dtype)
    one, other = (standardizing(in_place=each).to(dtype) for each in (True, False))
    init_(one, images, arm)
    assert torch.equal(images, IMAGES.to(dtype))
    init_(other, images, arm)
    assert all_bits(one) == all_bits(other)


def test_deeper_layers_and_diagnosis_leave_the_images_too() -> None:
    images = IMAGES.clone()
    model = standardizing(in_place=True)
    whiten_(model, images, layers=2, patches_per_image=9)
    diagnose(model, images)
    assert torch.equal(images, IMAGES)


class LoRA(nn.Linear):
    """Merges its factors in train(False), as loralib does."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.a, self.b = nn.Parameter(torch.randn(4, n_in)), nn.Parameter(torch.randn(n_out, 4))
        self.merged = False

    def train(self, mode: bool = True) -> "LoRA":
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.b.data @ self.a.data)
            self.merged = not mode
        return self

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if not self.training and not self.merged:  # and as it is first run without training
            self.weight.data += self.b.data @ self.a.data
            self.merged = True
        out = super().forward(input)
        return out if self.merged else out + input @ self.a.T @ self.b.T


@pytest.mark.parametrize("arm", RUNNING)
def test_factors_that_a_pass_merges(arm: str) -> None:
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    model = nn.Sequential(*stem, LoRA(32, 6), nn.ReLU(), nn.Linear(6, 3))
    lora: Any = model[4]
    kept = [bits(each) for each in (lora.a, lora.b)]
    weight = bits(lora.weight)
    options: dict[str, Any] = {"scope": "first"} if arm in {"lsuv", "krahenbuhl"} else {}
    init_(model, IMAGES, arm, **options)
    assert (lora.merged, lora.training) == (False, True)
    assert bits(lora.weight) == weight
    assert [bits(each) for each in (lora.a, lora.b)] == kept


class Own(nn.Module):
    """A head called by keyword, and a training loop of its own under a name of torch's."""

    def __init__(self, extra: Tensor | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        if extra is not None:
            self.extra = nn.Parameter(extra, requires_grad=False)
        self.conv, self.deep = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        deep = self.deep(input=self.conv(images).relu())
        out: Tensor = self.head(input=deep.mean((2, 3)))
        return out

    def train(self, loader: Any) -> "Own":  # type: ignore[override]  # that is the case
        for _ in loader:
            pass
        return self


@pytest.mark.parametrize("arm", RUNNING)
def test_layers_that_are_called_by_keyword(arm: str) -> None:
    assert "conv" in init_(Own(), IMAGES, arm).layer or arm == "small-head"
    assert whiten_(Own(), IMAGES, layers=2, patches_per_image=9).layer == "conv, deep"


@pytest.mark.parametrize(
    "extra", [torch.arange(3), torch.ones(1).double(), torch.ones(1).bfloat16()], ids=str
)
def test_the_first_parameter_does_not_decide_the_dtype(extra: Tensor) -> None:
    model, plain = Own(extra), Own()
    init_(model, IMAGES, layers=2)
    init_(plain, IMAGES, layers=2)
    assert {name: each for name, each in all_bits(model).items() if name != "extra"} == all_bits(
        plain
    )


class Masked(nn.Conv2d):
    def forward(self, input: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override] # noqa: A002
        return super().forward(input * mask)


class MaskedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = Masked(3, 8, 3), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv(images, torch.ones_like(images[:, :1])).mean((2, 3)))
        return out


def test_a_convolution_that_needs_a_mask_cannot_be_verified() -> None:
    model = MaskedNet()
    before = all_bits(model)
    with pytest.raises(WarminitError, match="without a convolution in its forward"):
        init_(model, IMAGES)
    assert all_bits(model) == before
    with pytest.raises(WarminitError, match="without a convolution in its forward"):
        diagnose(model, IMAGES)


@pytest.mark.parametrize(
    "error", [TypeError, AssertionError, KeyError, RecursionError, KeyboardInterrupt]
)
def test_an_error_as_the_head_is_measured_restores_the_filters(
    error: type[BaseException],
) -> None:
    """The second pass, after the filters are written, is the one of eight images."""

    class Fails(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            if len(features) == 8 and issubclass(error, KeyboardInterrupt):
                raise error("own")
            return features

    model = nn.Sequential(nn.Conv2d(3, 8, 3), Fails(), nn.Flatten(), nn.Linear(8 * 196, 3))
    before = all_bits(model)
    if issubclass(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            init_(model, IMAGES)
    else:
        head: Any = model[3]

        class Head(type(head)):  # type: ignore[misc]  # its attribute fails once it is small
            @property
            def out_features(self) -> int:
                if bits(self.weight) != before["3.weight"]:
                    raise error("own")
                return 3

        del head.out_features
        head.__class__ = Head
        with pytest.raises(WarminitError, match=f"cannot be used: {error.__name__}") as caught:
            init_(model, IMAGES, "small-head")
        assert isinstance(caught.value.__cause__, error)
    assert all_bits(model) == before


@pytest.mark.parametrize(
    ("filters", "report", "text"),
    [
        (8, {"notes": 7}, "notes is a int, not a list"),
        (8, {"notes": "abc"}, "notes is a str, not a list"),
        (8, {"notes": [1]}, "1 is a int, not a text"),
        (8, {"seed": "x"}, "seed is a str, not a int"),
        (0, {}, "and no tensor 'filters'"),
    ],
)
def test_a_file_with_a_damaged_report(
    filters: int, report: dict[str, Any], text: str, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "bank.safetensors"
    save_file({"filters": torch.randn(filters, 3, 3, 3)}, path, {"report": json.dumps(report)})
    model = nn.Sequential(nn.Conv2d(3, 16, 3))
    before = all_bits(model)
    with pytest.raises(WarminitError, match=text):
        load_filters_(model, path)
    assert all_bits(model) == before
