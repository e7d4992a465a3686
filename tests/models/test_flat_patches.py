"""linear layers over flattened patches -> the filters that a convolution of that kernel gets."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arm_guarantees import global_states, values
from patch_cases import (
    ORDERS,
    ConvolutionalViT,
    FlatViT,
    flat_vit,
    overlapping,
    rearranged,
    sequence,
    smooth_images,
    video,
)
from warminit import diagnose, init_, methods, plot_filters, prewarm_, prewarm_filters, whiten_
from warminit.errors import WarminitError
from warminit.images.patches import center_patches
from warminit.initializers.stems.whitening import whitening_directions
from warminit.look.filter_files import load_filters_, save_filters
from warminit.models.find import find_layer

pytestmark = pytest.mark.usefixtures("one_thread")

STEMS = [each.name for each in methods() if each.sets == "stem"]


class Standardize(nn.Module):
    """Fixed statistics of each channel."""

    def forward(self, images: Tensor) -> Tensor:
        means = torch.tensor([0.1, -0.2, 0.3], dtype=images.dtype).view(1, 3, 1, 1)
        return (images - means) / (0.5 + means)


def own_standardization(images: Tensor) -> Tensor:
    return rearranged(Standardize()(images), 4, ORDERS[1])


def whole_image(images: Tensor) -> Tensor:
    """Each image by its own mean and deviation, as some models do in their forward."""
    wide = images.float()
    each = (wide - wide.mean((1, 2, 3), keepdim=True)) / wide.std((1, 2, 3), keepdim=True)
    return rearranged(each.to(images.dtype), 4, ORDERS[0])


def rows_of_all(images: Tensor) -> Tensor:
    """(N * patches, D): no axis of its own for the images."""
    return rearranged(images, 4, ORDERS[0]).flatten(0, 1)[None]


def patches_first(images: Tensor) -> Tensor:
    return rearranged(images, 4, ORDERS[2]).transpose(0, 1)


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...], tuple[int, ...], int]] = {
    **{
        order: (partial(rearranged, size=4, order=order), (3, 16, 12), (4, 4), 4)
        for order in ORDERS
    },
    "one channel, 2 x 2": (
        lambda images: rearranged(images, 2, ORDERS[0]), (1, 12, 16), (2, 2), 2
    ),
    "a signal": (sequence, (2, 32), (4,), 4),
    "a video": (video, (3, 4, 8, 8), (2, 4, 4), 4),
    "overlapping, with a border": (overlapping, (3, 12, 12), (3, 3), 2),
    "standardized within": (own_standardization, (3, 16, 12), (4, 4), 4),
    "no axis of images": (rows_of_all, (3, 16, 12), (4, 4), 4),
    "patches before images": (patches_first, (3, 16, 12), (4, 4), 4),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, torch.float32) for kind in KINDS]
    + [(ORDERS[0], dtype) for dtype in (torch.bfloat16, torch.float64)],
)
def test_it_computes_with_the_filters_that_a_convolution_would(
    kind: str, dtype: torch.dtype
) -> None:
    """The layer on its own patches against `F.conv2d` with filters made of the images alone."""
    rearrange, shape, kernel, stride = KINDS[kind]
    images = smooth_images(8, *shape).to(dtype)
    torch.manual_seed(0)
    width = shape[0] * torch.Size(kernel).numel()
    model = FlatViT(rearrange, width).to(dtype)
    report = prewarm_(model, images, patches_per_image=60, seed=1)
    assert (report.layer, report.filters_set) == ("embedding", 6)
    meant = prewarm_filters(images, 12, kernel, patches_per_image=60, seed=1).to(dtype)
    fed = images
    if kind == "standardized within":
        fed = Standardize()(images)
    convolve: Any = (F.conv1d, F.conv2d, F.conv3d)[len(kernel) - 1]
    steps = (2, 4, 4) if kind == "a video" else stride
    padding = 1 if kind.startswith("overlapping") else 0
    wanted = convolve(fed.double(), meant.double(), None, steps, padding)
    wanted = wanted.flatten(2).transpose(1, 2)  # (N, patches, filters)
    own = F.linear(rearrange(images).double(), model.embedding.weight.double())[..., :6]
    if kind == "patches before images":
        own = own.transpose(0, 1)
    torch.testing.assert_close(own.detach().reshape(wanted.shape), wanted)


@pytest.mark.parametrize("method", STEMS)
def test_every_stem_method_sets_the_bits_that_it_gives_the_convolution(method: str) -> None:
    images = smooth_images(16, 3, 16, 16)
    flat = flat_vit(ORDERS[0])
    twin = ConvolutionalViT(copy.deepcopy(flat), nn.Conv2d(3, 12, 4, 4))
    order = rearranged(torch.arange(48.0).view(1, 3, 4, 4), 4, ORDERS[0]).long().flatten()
    with torch.no_grad():
        convolution: Any = twin.convolution
        convolution.weight.flatten(1)[:, order] = flat.embedding.weight
        convolution.bias.copy_(flat.embedding.bias)
    before, states = values(flat), global_states()
    init_(flat, images, method, seed=3)
    assert global_states() == states
    init_(twin, images, method, seed=3)
    changed = {name for name, value in values(flat).items() if value != before[name]}
    assert changed <= {"embedding.weight", "embedding.bias"}
    assert "embedding.weight" in changed
    wanted = convolution.weight.flatten(1)[:, order]
    if method == "embed-scale":  # the rounding of its measurement
        torch.testing.assert_close(flat.embedding.weight, wanted)
    else:
        assert torch.equal(flat.embedding.weight, wanted)


@pytest.mark.parametrize("before", [nn.LayerNorm(48), nn.RMSNorm(48)])
@pytest.mark.parametrize("order", ORDERS[:2])
def test_behind_a_normalization_it_suits_what_it_is_fed(order: str, before: nn.Module) -> None:
    images = smooth_images(16, 3, 16, 16)
    model = flat_vit(order, copy.deepcopy(before))
    report = whiten_(model, images, scale="unit", n_filters=8)
    fed = before(rearranged(images, 4, "channels rows columns")).flatten(0, 1).detach()
    assert report.parameters["patches_per_image"] == 16
    assert any("normalized before embedding" in note for note in report.notes)
    directions = whitening_directions(center_patches(fed.double()), 8).float()
    own = before(rearranged(images, 4, order)).flatten(0, 1).detach()
    responses = F.linear(own, model.embedding.weight[:8].detach())
    meant = F.linear(fed, directions)
    torch.testing.assert_close(
        responses / responses.std(0), meant / meant.std(0), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(responses.std(0, correction=0), torch.ones(8), rtol=1e-3, atol=0)


def test_fewer_patches_of_a_normalized_grid() -> None:
    model = flat_vit(before=nn.LayerNorm(48))
    report = prewarm_(model, smooth_images(16, 3, 16, 16), patches_per_image=5)
    assert report.parameters["patches_per_image"] == 5
    assert report.filters_set == 6


def test_an_image_that_is_standardized_by_itself() -> None:
    model = FlatViT(whole_image, 48)
    report = prewarm_(model, smooth_images(16, 3, 16, 16) * 5 + 3)
    assert report.filters_set == 6
    assert any("normalized before embedding" in note for note in report.notes)


@pytest.mark.parametrize("method", ["krahenbuhl", "lsuv"])
@pytest.mark.parametrize("before", [None, nn.LayerNorm(48)])
def test_calibrated_methods(method: str, before: nn.Module | None) -> None:
    images = smooth_images(16, 3, 16, 16)
    model = flat_vit(before=before)
    init_(model, images, method, scope="first")
    fed = model.before(rearranged(images, 4, ORDERS[0]))
    out = model.embedding(fed).flatten(0, 1).detach()
    deviation = out.std(0, correction=0) if method == "krahenbuhl" else out.std(correction=0)
    torch.testing.assert_close(deviation, torch.ones_like(deviation), rtol=0.06, atol=0)


@pytest.mark.parametrize("order", ORDERS[:2])
def test_what_is_seen_of_it_is_what_is_seen_of_the_convolution(order: str, tmp_path: Path) -> None:
    images = smooth_images(8, 3, 16, 16)
    flat = flat_vit(order)
    report = whiten_(flat, images, seed=1)
    found = find_layer(flat, images=images)
    conv = nn.Conv2d(3, 12, 4, 4)
    with torch.no_grad():
        conv.weight.copy_(found.as_filters(flat.embedding.weight))
        conv.bias.copy_(flat.embedding.bias)  # type: ignore[union-attr]  # both layers have one
    x = images[:2]
    torch.testing.assert_close(
        conv(x).flatten(2).transpose(1, 2), flat.embedding(rearranged(x, 4, order))
    )
    one, other = diagnose(flat, images), diagnose(conv, images)
    assert one.response_variances == other.response_variances
    assert one.energy_captured == other.energy_captured
    picture = plot_filters(flat, images=images, conditioned=report)
    assert picture.tobytes() == plot_filters(conv, conditioned=6).tobytes()
    path = save_filters(conv.weight[:6].detach(), tmp_path / "bank.safetensors", report)
    fresh = flat_vit(order)
    assert load_filters_(fresh, path, images=images).filters_set == 6
    assert torch.equal(fresh.embedding.weight[:6], flat.embedding.weight[:6])
    for layer in (None, "embedding"):
        for look in (plot_filters, lambda model, layers: load_filters_(model, path, layers)):
            with pytest.raises(WarminitError, match="pass a tensor images"):
                look(fresh, layers=layer)


def test_named_layers_and_the_layers_after_it() -> None:
    images = smooth_images(8, 3, 16, 16)

    class WithConvolution(FlatViT):
        def __init__(self) -> None:
            super().__init__(lambda fed: rearranged(fed, 4, ORDERS[0]), 48)
            self.mixer = nn.Conv1d(12, 12, 3, padding=1)

        def forward(self, fed: Tensor) -> Tensor:
            tokens = self.embedding(self.rearrange(fed))
            scores: Tensor = self.head(self.mixer(tokens.transpose(1, 2)).mean(2))
            return scores

    torch.manual_seed(0)
    model = WithConvolution()
    named = copy.deepcopy(model)
    assert whiten_(model, images, layers=2).layer == "embedding, mixer"
    assert whiten_(named, images, layers="embedding").found == "given by name"
    assert torch.equal(named.embedding.weight, model.embedding.weight)
    with pytest.raises(WarminitError, match="layer 'head' is a Linear: expected a Conv1d"):
        whiten_(named, images, layers="head")


def test_a_convolution_that_refines_the_output_is_not_the_first_layer() -> None:
    class Restoring(FlatViT):
        def __init__(self) -> None:
            super().__init__(lambda fed: rearranged(fed, 4, ORDERS[1]), 48, dim=48)
            self.refine = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, fed: Tensor) -> Tensor:
            tokens = self.embedding(self.rearrange(fed)).transpose(1, 2)
            result: Tensor = self.refine(F.fold(tokens, fed.shape[2:], 4, stride=4)) + fed
            return result

    assert find_layer(Restoring(), images=smooth_images(2, 3, 16, 16)).name == "embedding"


def blurred(images: Tensor) -> Tensor:
    return rearranged(F.avg_pool2d(images, 3, 1, 1), 4, ORDERS[0])


def two_of_three_channels(images: Tensor) -> Tensor:
    return rearranged(images[:, :2], 3, ORDERS[0])


def rows(images: Tensor) -> Tensor:
    """Each row of each channel is a token."""
    return images.flatten(1, 2)


def another_order_in_each_patch(images: Tensor) -> Tensor:
    flat = rearranged(images, 4, ORDERS[0])
    return torch.stack([each.roll(turn, 1) for turn, each in enumerate(flat.unbind(1))], 1)


@pytest.mark.parametrize(
    ("rearrange", "width", "size"),
    [
        (blurred, 48, 16),
        (two_of_three_channels, 18, 9),
        (rows, 12, 12),
        (another_order_in_each_patch, 48, 16),
    ],
)
def test_no_patches_are_refused_by_one_sentence(
    rearrange: Callable[[Tensor], Tensor], width: int, size: int
) -> None:
    model = FlatViT(rearrange, width)
    before = values(model)
    for call in (init_, prewarm_, diagnose):
        with pytest.raises(WarminitError, match=r"embedding is a Linear and runs first.*Conv2d\(3"):
            call(model, smooth_images(4, 3, size, size))
    assert values(model) == before


def test_a_multilayer_perceptron_takes_no_patches() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.Linear(8, 2))
    with pytest.raises(WarminitError, match="has no convolution"):
        init_(model, smooth_images(4, 3, 12, 12))


class Standardized(nn.Linear):
    """Computes with a weight of deviation 1."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        weight = self.weight - self.weight.mean(1, keepdim=True)
        return F.linear(input, weight / weight.std(1, keepdim=True), self.bias)


class ByHand(nn.Linear):
    """Uses no linear function."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return input @ self.weight.T


def test_what_the_layer_computes_with_is_read_back() -> None:
    images = smooth_images(8, 3, 16, 16)
    standardizing, by_hand, normed = flat_vit(), flat_vit(), flat_vit()
    standardizing.embedding = Standardized(48, 12)
    assert "standardizes its weight" in str(whiten_(standardizing, images))
    normed.embedding = nn.utils.parametrizations.weight_norm(nn.Linear(48, 12))
    whiten_(normed, images)
    plain = flat_vit()
    whiten_(plain, images)
    torch.testing.assert_close(normed.embedding.weight[:6], plain.embedding.weight[:6])
    by_hand.embedding = ByHand(48, 12)
    before = values(by_hand)
    with pytest.raises(WarminitError, match="without a linear function"):
        whiten_(by_hand, images)
    assert values(by_hand) == before


def test_a_frozen_one_is_left() -> None:
    model = flat_vit()
    model.embedding.requires_grad_(requires_grad=False)
    before = values(model)
    with pytest.raises(WarminitError, match=r"embedding is frozen .*Pass layers='embedding'"):
        init_(model, smooth_images(8, 3, 16, 16))
    assert values(model) == before
