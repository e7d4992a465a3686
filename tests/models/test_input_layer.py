"""frozen filters, side branches, exchanged weights -> the layer that is meant, or one sentence."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arm_guarantees import values
from warminit import diagnose, init_, prewarm_, whiten_
from warminit.errors import WarminitError
from warminit.images.patches import center_patches, sample_patches
from warminit.initializers.stems.whitening import whitening_directions
from warminit.look.filter_files import load_filters_, save_filters
from warminit.models.find import find_layer

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = ("whitening-small-head", "prewarm", "coates-ng", "dct", "he-normal", "lsuv", "krahenbuhl")


def images(channels: int = 3, size: int = 16) -> Tensor:
    return torch.rand(16, channels, size, size, generator=torch.Generator().manual_seed(0))


def edsr() -> Any:
    """A frozen colour shift, as EDSR has, before the layers that train."""
    torch.manual_seed(1)
    shift = nn.Conv2d(3, 3, 1)
    shift.weight.data = torch.eye(3).view(3, 3, 1, 1) / 0.3
    shift.requires_grad_(requires_grad=False)
    return nn.Sequential(shift, nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 3, 3))


def sobel() -> Any:
    torch.manual_seed(1)
    bank = nn.Conv2d(1, 4, 3, bias=False)
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    bank.weight = nn.Parameter(
        torch.stack([kernel, kernel.T, -kernel, -kernel.T])[:, None], requires_grad=False
    )
    return nn.Sequential(bank, nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 144, 5))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("build", "channels"), [(edsr, 3), (sobel, 1)])
@pytest.mark.parametrize("scope", ["first", "all"])
def test_frozen_filters_stay_and_the_first_layer_that_trains_is_set(
    build: Any, channels: int, method: str, scope: str
) -> None:
    model, before = build(), build()
    options: dict[str, Any] = (
        {"scope": scope} if method in {"he-normal", "lsuv", "krahenbuhl"} else {}
    )
    if scope == "all" and not options:
        options = {"layers": 2} if build is edsr else {"layers": ["1"]}
    report = init_(model, images(channels), method, **options)
    assert torch.equal(model[0].weight, before[0].weight)
    assert report.layer.split(", ")[0] == "1"
    assert not torch.equal(model[1].weight, before[1].weight)


def test_filters_behind_a_frozen_layer_are_made_of_what_it_gives() -> None:
    model = edsr()
    report = whiten_(model, images(), patches_per_image=20, scale=0.25, seed=3)
    fed = edsr()[0](images()).detach()
    patches = sample_patches(fed, 20, (3, 3), torch.Generator().manual_seed(3))
    directions = whitening_directions(center_patches(patches), 8)
    expected = directions / directions.std(correction=0) * 0.25
    torch.testing.assert_close(
        model[1].weight[:8].double().flatten(1), expected, rtol=1e-4, atol=1e-6
    )
    assert "0 is frozen" in " ".join(report.notes)
    assert diagnose(model, images()).layer == "1"
    assert diagnose(sobel(), images(1)).patch_values == 36


def test_a_model_that_is_frozen_as_a_whole_is_set_and_so_is_a_layer_by_name() -> None:
    model = edsr().requires_grad_(requires_grad=False)
    assert prewarm_(model, images()).layer == "0"
    assert prewarm_(edsr(), images(), layers="0").layer == "0"


def test_a_frozen_backbone_is_refused_by_one_sentence() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 196, 5))
    model[0].requires_grad_(requires_grad=False)
    before = values(model)
    with pytest.raises(WarminitError, match=r"0 is frozen .*Pass layers='0'"):
        init_(model, images())
    assert values(model) == before


@torch.library.custom_op("warminit_tests::deform_conv2d", mutates_args=())
def deform_conv2d(fed: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """Stands for torchvision's function, whose compiled part is not needed here."""
    return F.conv2d(fed, weight, padding=1) + offset.mean()


class ByFunction(nn.Module):
    """A deformable convolution that is a function with the weight of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.off, self.conv = nn.Conv2d(3, 18, 3, padding=1), nn.Conv2d(3, 16, 3, padding=1)
        nn.init.zeros_(self.off.weight)

    def forward(self, fed: Tensor) -> Tensor:
        result: Tensor = deform_conv2d(fed, self.conv.weight, self.off(fed))
        return result


@pytest.mark.parametrize("method", ["whitening-small-head", "prewarm", "lsuv"])
def test_offsets_of_a_deformable_function_are_refused(method: str) -> None:
    model = ByFunction()
    before = values(model)
    with pytest.raises(
        WarminitError, match=r"off is a side branch: .*deform_conv2d.*receives the sam"
    ):
        init_(model, images(), method)
    assert values(model) == before


class Deformable(nn.Module):
    """A layer with filters that takes offsets, as torchvision's DeformConv2d does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(16, 3, 3, 3))

    def forward(self, fed: Tensor, offset: Tensor) -> Tensor:
        return F.conv2d(fed, self.weight, padding=1) + offset.mean()


class WithOffsets(nn.Module):
    def __init__(self, *, stem: bool) -> None:
        super().__init__()
        self.off = nn.Conv2d(3, 18, 3, padding=1)
        nn.init.zeros_(self.off.weight)
        self.deformable = Deformable()
        self.stem = nn.Conv2d(3, 3, 1) if stem else nn.Identity()
        self.fc = nn.Linear(16, 5)

    def forward(self, fed: Tensor) -> Tensor:
        fed = self.stem(fed)
        scores: Tensor = self.fc(self.deformable(fed, self.off(fed)).mean((2, 3)))
        return scores


@pytest.mark.parametrize("method", ["whitening-small-head", "prewarm", "lsuv"])
def test_offsets_of_a_deformable_convolution_are_left(method: str) -> None:
    model = WithOffsets(stem=False)
    before = values(model)
    with pytest.raises(WarminitError, match=r"off is a side branch: deformable \(Deformable\)"):
        init_(model, images(), method)
    assert values(model) == before
    assert init_(WithOffsets(stem=True), images(), "prewarm").layer == "stem"


def exchanged(kind: str) -> Any:
    torch.manual_seed(1)
    model: Any = nn.Sequential(
        nn.Conv2d(3, 64, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.LazyLinear(10),
    )  # fmt: skip
    conv: Any = model[0]
    weight: Tensor = conv.weight.detach()
    if kind == "gray":
        conv.weight = nn.Parameter(weight.sum(1, keepdim=True))
    elif kind == "pruned":
        conv.weight = nn.Parameter(weight[:10])
    elif kind == "wide":
        conv.weight = nn.Parameter(torch.randn(64, 3, 5, 5) * 0.1)
    model(images(1 if kind == "gray" else 3))
    return model


@pytest.mark.parametrize(("kind", "shape"), [
    ("gray", (64, 1, 3, 3)), ("pruned", (10, 3, 3, 3)), ("wide", (64, 3, 5, 5)),
])  # fmt: skip
def test_a_weight_that_was_exchanged_tells_the_layer_s_shape(
    kind: str, shape: tuple[int, ...], tmp_path: Any
) -> None:
    model, batch = exchanged(kind), images(shape[1])
    assert find_layer(model, None, batch).out_channels == shape[0]
    report = whiten_(model, batch, patches_per_image=100, scale=0.25, seed=3)
    half = shape[0] // 2
    assert report.out_channels == shape[0]
    kernel = tuple(shape[2:])
    patches = sample_patches(batch, 100, kernel, torch.Generator().manual_seed(3))
    directions = whitening_directions(center_patches(patches), half)
    expected = directions / directions.std(correction=0) * 0.25
    written = model[0].weight[: len(expected)].double().flatten(1)
    torch.testing.assert_close(written, expected, rtol=1e-4, atol=1e-6)
    found = diagnose(model, batch)
    assert (found.out_channels, found.patch_values) == (shape[0], shape[1] * kernel[0] * kernel[1])
    for method in METHODS:
        init_(exchanged(kind), (batch > 0.5).float() if kind == "gray" else batch, method)
    file = tmp_path / "filters.safetensors"
    save_filters(model[0].weight[:half].detach(), file)
    other = exchanged(kind)
    load_filters_(other, file)
    assert torch.equal(other[0].weight[:half], model[0].weight[:half])
