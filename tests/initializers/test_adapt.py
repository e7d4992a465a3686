"""trained first layer, another number of channels -> what it has learned is kept, by every rule."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from warminit import WarminitError, adapt_stem_
from warminit.initializers.adapt.moments import matching_map, moments

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stem(channels: int = 3, kernel: Any = 3, **options: Any) -> nn.Sequential:
    """A first layer with weights of no usual deviation, a BatchNorm and a layer behind it."""
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 6, kernel, **options)
    with torch.no_grad():
        conv.weight.add_(0.3 * drawn(*conv.weight.shape, seed=1))
    return nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1))


def photographs(size: int = 64) -> Tensor:
    """Two real photographs, (2, 3, size, size), standardized."""
    pixels = torch.stack([torch.tensor(each) for each in load_sample_images().images])
    pixels = F.adaptive_avg_pool2d(pixels.permute(0, 3, 1, 2).float() / 255, size)
    return (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), keepdim=True)


def weight(model: Any) -> Tensor:
    found: Tensor = model[0].weight
    return found.detach().clone()


def covariance(responses: Tensor) -> Tensor:
    """(F, F) of responses (N, F, *size), by torch's own function."""
    return torch.cov(responses.detach().movedim(1, 0).flatten(1).double())


# ---------------------------------------------------------------- rules without data
@pytest.mark.parametrize("channels", [2, 5, 200])
def test_repeat_takes_the_old_channels_in_turn(channels: int) -> None:
    model = stem(kernel=(3, 5))
    rows = [weight(model)[:, index % 3] * 3 / channels for index in range(channels)]
    adapt_stem_(model, in_channels=channels)
    torch.testing.assert_close(weight(model), torch.stack(rows, 1))


def test_mean_gives_gray_images_the_responses_that_they_got() -> None:
    model = stem()
    gray, before = drawn(2, 1, 9, 9), model[0](drawn(2, 1, 9, 9).expand(-1, 3, -1, -1))
    adapt_stem_(model, in_channels=7, method="mean")
    expanded = model[0](gray.expand(-1, 7, -1, -1))
    torch.testing.assert_close(expanded, before, rtol=1e-4, atol=1e-5)  # sums in another order
    assert torch.equal(weight(model)[:, 0], weight(model)[:, 6])


def test_copied_bands_keep_their_filters_and_alone_their_responses() -> None:
    model, bands = stem(), {"red": 3, "green": 2, "blue": 1}
    before, images = weight(model), drawn(2, 5, 9, 9)
    responses = model[0](images[:, [3, 2, 1]])
    adapt_stem_(model, in_channels=5, method="copy", bands=bands, others="zero")
    assert torch.equal(weight(model)[:, [3, 2, 1]], before)
    assert not weight(model)[:, [0, 4]].any()
    torch.testing.assert_close(model[0](images), responses, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("others", ["mean", "repeat"])
def test_bands_without_a_name_follow_the_rule(others: Any) -> None:
    model, plain = stem(), stem()
    adapt_stem_(model, in_channels=5, method="copy", bands={2: 0, 0: 4}, others=others)
    adapt_stem_(plain, in_channels=5, method=others)
    assert torch.equal(weight(model)[:, 1:4], weight(plain)[:, 1:4])
    assert torch.equal(weight(model)[:, [0, 4]], weight(stem())[:, [2, 0]])


# ---------------------------------------------------------------- least squares
MIX = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
"""RGB -> YCbCr."""


@pytest.mark.parametrize("fold", ["bias", "running mean", "new bias"])
def test_a_paired_regression_keeps_every_response(fold: str) -> None:
    model = stem(bias=fold == "bias")
    if fold == "new bias":
        model = nn.Sequential(model[0], nn.ReLU())
    rgb = photographs(24)
    ycbcr = torch.einsum("oc,nchw->nohw", MIX, rgb) + torch.tensor([1.0, -2.0, 3.0])[:, None, None]
    before, keys = model.eval()(rgb), set(model.state_dict())
    report = adapt_stem_(model, ycbcr, method="least-squares", old_images=rgb, paired=True)
    # Float32 weights of about 1, and images of about 3.
    torch.testing.assert_close(model(ycbcr), before, rtol=1e-4, atol=1e-4)
    assert "100.0%" in report.parameters["fit"]
    assert set(model.state_dict()) - keys == ({"0.bias"} if fold == "new bias" else set())


@pytest.mark.parametrize("channels", [3, 5, 12])
def test_least_squares_keeps_mean_and_covariance_of_the_responses(channels: int) -> None:
    old = photographs(32)
    model = stem(kernel=1)
    images = torch.einsum("oc,nchw->nohw", drawn(channels, 3), old.flip(0).transpose(2, 3))
    images = images + 0.3 * drawn(*images.shape, seed=2) + 5
    before = model[0](old)
    adapt_stem_(model, images, method="least-squares", old_images=old)
    after = model[0](images)
    # Exact for 1 x 1 kernels, up to the float32 of the responses.
    torch.testing.assert_close(after.mean((0, 2, 3)), before.mean((0, 2, 3)), rtol=0, atol=1e-4)
    torch.testing.assert_close(covariance(after), covariance(before), rtol=1e-3, atol=1e-3)


def test_with_larger_kernels_it_is_nearer_to_the_old_covariance_than_repeat() -> None:
    old = photographs(64)
    images = torch.einsum("oc,nchw->nohw", MIX, old)
    before, off = covariance(stem(kernel=5)[0](old)), {}
    for method in ("repeat", "least-squares"):
        model, given = stem(kernel=5), {"old_images": old} if method != "repeat" else {}
        adapt_stem_(model, images, method=method, **given)  # type: ignore[arg-type]  # options as a mapping
        off[method] = float((covariance(model[0](images)) - before).norm() / before.norm())
    assert off["least-squares"] < 0.25 * off["repeat"]


def test_of_all_maps_that_match_it_moves_the_pixels_least() -> None:
    new, old = drawn(500, 4, seed=3).double(), drawn(500, 3).double() @ MIX.double()
    prior = drawn(3, 4, seed=5).double()
    fitted = matching_map(moments(new), moments(old), prior, "")
    wanted = torch.cov(old.T, correction=0)
    cov = torch.cov(new.T, correction=0)
    torch.testing.assert_close(fitted.matrix @ cov @ fitted.matrix.T, wanted)

    def moved(matrix: Tensor) -> float:
        return float(((matrix - prior) @ cov @ (matrix - prior).T).trace())

    values, vectors = torch.linalg.eigh(wanted)
    root = vectors * values.sqrt() @ vectors.T
    for seed in range(20):  # other maps of the same moments: turned in the whitened space
        turn, _ = torch.linalg.qr(torch.eye(3).double() + 0.1 * drawn(3, 3, seed=seed))
        turn = turn * turn.diagonal().sign()
        other = root @ turn @ torch.linalg.inv(root) @ fitted.matrix
        torch.testing.assert_close(other @ cov @ other.T, wanted)
        assert moved(other) > moved(fitted.matrix)


def test_gray_gets_the_regression_of_the_colors_on_their_brightness() -> None:
    old, model = photographs(32), stem(kernel=1, bias=False)
    gray = old.mean(1, keepdim=True) * 4 + 1
    report = adapt_stem_(model, gray, method="least-squares", old_images=old)
    pixels = old.movedim(1, -1).reshape(-1, 3).double()
    bright = pixels.sum(1, keepdim=True)
    told = torch.linalg.lstsq(bright - bright.mean(), pixels - pixels.mean(0)).solution
    # One unit of the new gray is 3 / 4 of the sum of the three.
    meant = weight(stem(kernel=1))[:, :, 0, 0].double() @ (told * 3 / 4).T
    torch.testing.assert_close(weight(model)[:, :, 0, 0].double(), meant, rtol=1e-4, atol=1e-5)
    assert any("1 of the 3" in note for note in report.notes)


def test_the_published_colors_are_those_of_imagenet() -> None:
    model, images = stem(kernel=1), drawn(4, 3, 16, 16)
    adapt_stem_(model, images, method="least-squares", mean=[0, 0, 0], std=[1, 1, 1])
    made = covariance(model[0](images))
    vectors = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    std = torch.tensor([0.229, 0.224, 0.225])
    colors = vectors @ torch.diag(torch.tensor([0.2175, 0.0188, 0.0045])) @ vectors.T
    filters = weight(stem(kernel=1))[:, :, 0, 0] / std
    torch.testing.assert_close(made.float(), filters @ colors @ filters.T, rtol=1e-2, atol=1e-2)


def test_uint8_pixels_and_loaders_give_what_their_tensor_gives() -> None:
    pixels = (drawn(8, 4, 8, 8).sigmoid() * 255).to(torch.uint8)
    given = {"mean": [0.5] * 4, "std": [0.25, 0.25, 0.3, 0.3]}
    fed = (pixels / 255 - 0.5) / torch.tensor(given["std"])[:, None, None]
    models = [stem() for _ in range(2)]
    adapt_stem_(models[0], [pixels[:4], pixels[4:]], method="least-squares", **given)  # type: ignore[arg-type]  # as above
    adapt_stem_(models[1], fed, method="least-squares")
    torch.testing.assert_close(weight(models[0]), weight(models[1]), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "in_channels"),
        ({"in_channels": 0}, ""),
        ({"images": 4}, "images"),
        ({"in_channels": 4, "method": "average"}, "method"),
        ({"in_channels": 4, "method": "copy"}, "bands"),
        ({"in_channels": 4, "bands": {"red": 0}}, "bands"),
        ({"in_channels": 4, "method": "copy", "bands": {"nir": 0}}, "bands"),
        ({"in_channels": 4, "method": "copy", "bands": {"red": 4}}, "bands"),
        ({"in_channels": 4, "method": "copy", "bands": {"red": 0}, "others": "he"}, "others"),
        ({"in_channels": 4, "method": "least-squares"}, "images"),
        ({"images": drawn(2, 4, 8, 8), "old_images": drawn(2, 3, 8, 8)}, "method"),
        ({"in_channels": 4, "paired": True}, "method"),
        ({"images": drawn(2, 4, 8, 8), "method": "least-squares", "paired": True}, "old_images"),
        ({"images": drawn(2, 4, 8, 8), "in_channels": 5}, ""),
        (
            {
                "images": drawn(2, 4, 8, 8),
                "method": "least-squares",
                "old_images": drawn(3, 3, 8, 8),
                "paired": True,
            },
            "old_images",
        ),
        (
            {
                "images": drawn(2, 4, 8, 8),
                "method": "least-squares",
                "old_images": drawn(2, 4, 8, 8),
            },
            "",
        ),
    ],
)
def test_bad_input_gets_one_error_and_the_model_stays(options: Any, field: str) -> None:
    model = stem()
    before, held = weight(model), list(model.parameters())
    with pytest.raises(WarminitError) as caught:
        adapt_stem_(model, **options)
    assert caught.value.name == field
    assert torch.equal(weight(model), before)
    assert all(one is other for one, other in zip(model.parameters(), held, strict=True))


@pytest.mark.parametrize("config", [None, {"mean": (0.5,) * 4, "std": (0.5,) * 4}])
def test_other_channels_than_three_need_old_images(config: Any) -> None:
    model: Any = stem(4)
    model.pretrained_cfg = config
    with pytest.raises(WarminitError, match="4 channels that the model was trained on"):
        adapt_stem_(model, drawn(2, 6, 8, 8), method="least-squares")
