"""whiten_ against the SVD of its patches, by the covariance of its responses, and when frozen."""

import io
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import arm_oracles
from arm_cases import bits, check_stored, first, make_conv, make_images, make_net, set_filters
from warminit import whiten_
from warminit.errors import WarminitError
from warminit.images.patches import center_patches, sample_patches
from warminit.initializers.stems.whitening import RELATIVE_EPS, whitening_directions

pytestmark = pytest.mark.usefixtures("one_thread")


def sampled(images: Tensor, n_patches: int, kernel: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return sample_patches(images, n_patches, (kernel, kernel), generator)


def centered(channels: int = 3, seed: int = 1) -> Tensor:
    return center_patches(sampled(make_images(64, channels, 12, 12, seed=seed), 20))


def test_the_stored_numbers() -> None:
    check_stored("whitening")


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("eps", [0.0, RELATIVE_EPS, 1.0])
def test_directions_are_the_svds(channels: int, eps: float) -> None:
    patches = centered(channels)
    m = 9 * channels - 1
    expected, _ = arm_oracles.whitening(patches.double().numpy(), m, eps)
    got = whitening_directions(patches, m, eps=eps).numpy()
    assert got.shape == (m, 9 * channels)
    # Patches are float32, so their row sums are 1e-7 off zero; singular values lie apart.
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("eps", [0.0, 1e-3, RELATIVE_EPS, 1.0])
def test_the_covariance_of_the_responses(channels: int, eps: float) -> None:
    """Before scaling: diag(e / (e + eps)) to 1e-4, and the identity at eps = 0."""
    patches = centered(channels).double().numpy()
    m = 9 * channels - 1
    directions = whitening_directions(torch.from_numpy(patches), m, eps=eps).numpy()
    responses = patches @ directions.T
    covariance = responses.T @ responses / len(patches)
    values = np.sort(np.linalg.svd(patches, compute_uv=False) ** 2 / len(patches))[::-1]
    absolute = eps * values.sum() / (9 * channels)
    expected = np.diag(values[:m] / (values[:m] + absolute))
    np.testing.assert_allclose(covariance, expected, atol=1e-4)
    if eps == 0:
        np.testing.assert_allclose(covariance, np.eye(m), atol=1e-4)


def test_no_direction_has_brightness() -> None:
    directions = whitening_directions(centered(3), 52)
    assert directions.shape == (52, 27)
    lengths = directions.norm(dim=1)
    assert float((directions.sum(1) / lengths).abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("asked", "set_"), [(1, 1), (5, 5), (8, 8), (9, 9), (12, 12), (16, 16), (17, 16), (40, 16)]
)
def test_at_most_2_m_filters_negatives_last(asked: int, set_: int) -> None:
    """One channel, 3 x 3: m = 8. Beyond 2 m the bank keeps its bits."""
    model = make_conv(1, 40)
    before = model.weight.detach().clone()
    report = whiten_(model, make_images(32, 1, 10, 10), n_filters=asked, patches_per_image=12)
    weight = model.weight.detach()
    assert report.filters_set == set_
    assert bits(weight[set_:]) == bits(before[set_:])
    positive = min(asked, 8)
    assert torch.equal(weight[positive:set_], -weight[: set_ - positive])
    largest = weight[:positive].flatten(1)
    assert bool((largest.gather(1, largest.abs().argmax(1, keepdim=True)) > 0).all())
    flat = weight[:positive].flatten(1)
    gram = flat @ flat.T
    assert float((gram - gram.diagonal().diag()).abs().max()) < 1e-5  # orthogonal, so all differ


def test_the_strongest_come_first() -> None:
    patches = centered(2).double()
    directions = whitening_directions(patches, 17, eps=0.0)
    unit = directions / directions.norm(dim=1, keepdim=True)
    energy = (patches @ unit.T).square().mean(0)
    assert bool((energy.diff() <= 0).all())


def test_only_directions_that_the_patches_have() -> None:
    """Gray images in three channels: 8 directions, not 26, and no division by the others' zeros."""
    model = make_conv(3, 32)
    before = model.weight.detach().clone()
    gray = make_images(32, 1, 10, 10).expand(-1, 3, -1, -1)
    report = whiten_(model, gray, n_filters=32, patches_per_image=12, eps=0.0)
    assert report.filters_set == 16
    assert bits(model.weight[16:]) == bits(before[16:])
    channels = model.weight.detach()[:16]
    torch.testing.assert_close(channels[:, 0], channels[:, 1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(channels[:, 0], channels[:, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "scaling"),
    [
        *itertools.product((0.25, "parity"), ("global", "per-filter")),
        ("match", None),
        ("unit", None),
    ],
)
def test_the_scale_of_what_is_written(scale: Any, scaling: Any) -> None:
    model, images = make_conv(3, 32), make_images(32, 3, 10, 10)
    whiten_(model, images, n_filters=16, patches_per_image=12, scale=scale, scaling=scaling, seed=4)
    bank = model.weight.detach()[:16].flatten(1).double().numpy()
    patches = sampled(images, 12, seed=4).double().numpy()
    if scale in {"match", "unit"}:
        trace = (patches**2).sum(1).mean()
        wanted = math.sqrt(trace / (3 * 27)) if scale == "match" else 1.0
        np.testing.assert_allclose(np.std(patches @ bank.T, axis=0), wanted, rtol=1e-5)
    else:
        wanted = math.sqrt(2 / 27) if scale == "parity" else scale
        axis = None if scaling == "global" else 1
        np.testing.assert_allclose(np.std(bank, axis=axis), wanted, rtol=1e-6)


def test_the_path_is_prewarms() -> None:
    """Count and scale derived alike, and no spatial weights: the filters are the directions."""
    model, images = make_conv(3, 10), make_images(64, 3, 12, 12, seed=1)
    report = whiten_(model, images, patches_per_image=20)
    assert (report.method, report.filters_set, report.out_channels) == ("whitening", 5, 10)
    assert report.parameters["scale"] == 0.25
    expected, _ = arm_oracles.whitening(centered(3).double().numpy(), 5, RELATIVE_EPS)
    expected *= 0.25 / expected.std()
    np.testing.assert_allclose(model.weight.detach()[:5].flatten(1).numpy(), expected, atol=1e-5)


def test_eps_is_a_hundredth_on_standardized_cifar10(data_root: Path) -> None:
    """Mean eigenvalue: the mean variance within a patch of 27, over every patch of 16,667 images.

    Their mean strays by about 0.5 % from that of all 50,000.
    """
    import pyarrow.parquet as pq
    from PIL import Image

    path = data_root / "uoft-cs/cifar10/plain_text/train-00000-of-00001.parquet"
    column = pq.read_table(path, columns=["img"]).column("img").to_pylist()[::3]
    images = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in column])
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)])
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(1)
    std = np.sqrt(counts @ levels**2 / counts.sum(1) - mean**2)

    def boxes(values: Any) -> Any:
        rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
        return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]

    total = 0.0
    for start in range(0, len(images), 2500):
        pixels = ((images[start : start + 2500] / 255.0 - mean) / std).astype(np.float32)
        squares, sums = boxes((pixels**2).sum(3)), boxes(pixels.sum(3))
        total += float((squares / 27 - (sums / 27) ** 2).mean(dtype=np.float64)) * len(pixels)
    assert RELATIVE_EPS * total / len(images) == pytest.approx(0.01, rel=0.02)


def make_optimizer(name: str, net: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(net.parameters(), lr=1e-2)
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("optimizer_first", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_frozen_filters_stay_and_the_others_learn(name: str, optimizer_first: bool) -> None:
    net, images = make_net(2, 8), make_images(16, 2, 10, 10)
    optimizer = make_optimizer(name, net) if optimizer_first else None
    report = whiten_(net, images, patches_per_image=9, trainable=False)
    optimizer = optimizer or make_optimizer(name, net)
    frozen = set_filters(net, report)
    others = {key: value.detach().clone() for key, value in net.named_parameters()}
    labels = torch.arange(16) % 3
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert bits(first(net).weight[:4]) == bits(frozen)
    moved = {key: not torch.equal(value, others[key]) for key, value in net.named_parameters()}
    assert all(moved.values()), moved
    assert bool((first(net).weight[4:] != others["0.weight"][4:]).flatten(1).any(1).all())


def test_trainable_filters_learn() -> None:
    net, images = make_net(2, 8), make_images(16, 2, 10, 10)
    start = set_filters(net, whiten_(net, images, patches_per_image=9))
    optimizer = make_optimizer("sgd", net)
    nn.functional.cross_entropy(net(images), torch.arange(16) % 3).backward()
    optimizer.step()
    assert bool((first(net).weight[:4] != start).flatten(1).any(1).all())


def test_freezing_a_weight_that_never_learns_changes_nothing_else() -> None:
    model = make_conv(2, 8)
    model.weight.requires_grad_(False)
    report = whiten_(model, make_images(8, 2, 10, 10), patches_per_image=9, trainable=False)
    assert report.filters_set == 4
    assert not model.weight.requires_grad


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf"), True, "0.01", None])
def test_an_unusable_eps(eps: Any) -> None:
    model = make_conv(2, 8)
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=r"eps=.*finite number of at least 0.*0\.0466"):
        whiten_(model, make_images(8, 2, 10, 10), patches_per_image=9, eps=eps)
    assert bits(model.weight) == before


@pytest.mark.parametrize("n_filters", [0, -1, 2.5, True])
def test_an_unusable_number_of_filters_is_named_as_it_was_given(n_filters: Any) -> None:
    with pytest.raises(WarminitError, match=rf"^n_filters={n_filters!r}: expected a whole number"):
        whiten_(
            nn.Conv2d(3, 8, 3), torch.rand(4, 3, 8, 8), n_filters=n_filters, patches_per_image=9
        )


def test_patches_without_a_direction() -> None:
    model = make_conv(1, 8, 1)  # one value a patch: centering leaves nothing
    before = bits(model.weight)
    with pytest.raises(
        WarminitError, match=r"1 value, and removing its mean leaves nothing.*layers="
    ):
        whiten_(model, make_images(8, 1, 10, 10), patches_per_image=9)
    assert bits(model.weight) == before
    with pytest.raises(WarminitError, match=r"patches of 1 values have no direction after"):
        whitening_directions(torch.zeros(5, 1), 2)
    with pytest.raises(WarminitError, match=r"patches of 9 values have no direction after"):
        whitening_directions(torch.zeros(5, 9), 2)
