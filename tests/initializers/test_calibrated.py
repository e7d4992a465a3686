"""krahenbuhl and lsuv against plain NumPy statements of their papers, and by their properties."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arm_guarantees import FIXTURES
from calibrated_cases import (
    Array,
    Net,
    make_images,
    outputs_of,
    small_net,
    stated_kmeans,
    stated_krahenbuhl,
    stated_lsuv,
)
from warminit.images.patches import sample_patches
from warminit.initializers.network.krahenbuhl import Basis, data_directions, krahenbuhl
from warminit.initializers.network.lsuv import lsuv


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FIXTURES / "calibrated.json").read_text("utf-8"))
    return loaded


def parameters_of(model: nn.Module) -> list[Array]:
    return [p.detach().double().numpy() for p in model.parameters()]


@pytest.mark.parametrize("arm", ["lsuv", "krahenbuhl"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_stored_numbers_plain_statement_and_arm_agree(
    stored: dict[str, Any], arm: str, dtype: torch.dtype
) -> None:
    images = np.array(stored["images"], dtype=np.float64)
    model = small_net().to(dtype)
    if arm == "lsuv":
        stated = stated_lsuv(images, 5)
        lsuv(model, torch.from_numpy(images), seed=5)
    else:
        stated = stated_krahenbuhl(images, 5, 0.25, 30)
        krahenbuhl(
            model, torch.from_numpy(images), seed=5, basis="pca", beta=0.25, patches_per_image=30
        )
    atol = 1e-8 if dtype == torch.float64 else 3e-5  # rounding of sums over a few hundred values
    for wanted, plain, got in zip(stored[arm], stated, parameters_of(model), strict=True):
        np.testing.assert_allclose(plain, wanted, atol=1e-8)
        np.testing.assert_allclose(got, wanted, atol=atol)


def test_the_kmeans_basis_gives_the_stored_numbers(stored: dict[str, Any]) -> None:
    patches = np.array(stored["patches"])
    np.testing.assert_allclose(stated_kmeans(patches, 3), stored["kmeans"], atol=1e-8)
    generator = torch.Generator().manual_seed(0)
    found = data_directions(torch.from_numpy(patches), 3, "kmeans", generator).numpy()
    np.testing.assert_allclose(found[np.lexsort(found.T)], stored["kmeans"], atol=1e-8)


def test_pca_directions_are_orthogonal_and_their_responses_uncorrelated() -> None:
    patches = sample_patches(make_images(), 40, (3, 3), torch.Generator().manual_seed(0)).double()
    found = data_directions(patches, 20, "pca", torch.Generator()).numpy()
    assert found.shape == (9, 9)  # the rank, though 20 were asked
    covariance = np.cov((patches.numpy() @ found.T).T, bias=True)
    np.testing.assert_allclose(covariance, np.eye(9), atol=1e-8)
    gram = found @ found.T
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-8)
    assert (np.diff(np.diag(gram)) > 0).all()  # the widest direction comes first
    assert (found[np.arange(9), np.abs(found).argmax(1)] > 0).all()
    assert len(data_directions(patches[:19], 20, "pca", torch.Generator())) == 0


@pytest.mark.parametrize("basis", ["kmeans", "pca"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_krahenbuhl_gives_each_channel_unit_deviation(
    basis: Basis, batch_norm: bool, channels: int
) -> None:
    torch.manual_seed(1)
    model, images = Net(batch_norm=batch_norm, channels=channels), make_images(channels=channels)
    report = krahenbuhl(model, images, seed=0, basis=basis, beta=0.5)
    assert report.layer == "stem, body, head"
    assert (report.filters_set, report.out_channels) == (14, 14)
    assert report.notes == ("unused: not set, it does not run on these images",)
    for name, output in outputs_of(model, images).items():
        np.testing.assert_allclose(output.std(1), 1, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(output.mean(1), 0.5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("gain", [1.0, 1000.0])
def test_lsuv_gives_each_layer_unit_variance(batch_norm: bool, gain: float) -> None:
    torch.manual_seed(1)
    model, images = Net(batch_norm=batch_norm), make_images() * gain
    report = lsuv(model, images, seed=0)
    assert report.layer == "stem, body, head"
    assert report.notes == ("unused: not set, it does not run on these images",)
    outputs = outputs_of(model, images)
    assert all(abs(output.var() - 1) < 0.1 for output in outputs.values())
    for name in outputs:
        weight = model.get_submodule(name).get_parameter("weight").detach().flatten(1).double()
        bias = model.get_submodule(name).get_parameter("bias").detach()
        gram = (weight @ weight.T).numpy()
        np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(gram)), atol=1e-5)
        assert len(set(bias.tolist())) == 1  # one shift a layer
        # Corrected layers are exact, for they are affine; the others have not been touched.
        if abs(gram[0, 0] - 1) > 1e-5:
            assert abs(outputs[name].var() - 1) < 1e-4
            assert abs(outputs[name].mean()) < 1e-4
        else:
            assert float(bias[0]) == 0


def test_lsuv_corrects_nothing_within_tol() -> None:
    images = make_images(64)
    images = (images - images.mean()) / images.std() * 1.04  # variance 1.08 behind a 1 x 1 layer
    for tol, square in ((0.1, 1.0), (0.05, 1 / 1.0816)):
        conv = nn.Conv2d(1, 1, 1)
        lsuv(conv, images, seed=0, tol=tol)
        assert conv.weight.square().item() == pytest.approx(square, abs=1e-3)


def test_lsuv_stops_after_max_iterations_and_says_so() -> None:
    class Stubborn(nn.Conv2d):
        runs = 0

        def forward(self, x: Tensor) -> Tensor:  # its variance is 4 whatever its weight is
            Stubborn.runs += 1
            output = super().forward(x)
            return output / output.std(correction=0) * 2

    report = lsuv(Stubborn(1, 4, 3), make_images(), seed=0, max_iterations=3)
    assert report.notes == ("(the model itself): variance 4 after 3 iterations",)
    assert Stubborn.runs <= 7


def test_krahenbuhl_fills_up_with_gaussian_filters() -> None:
    # 4 values a patch: PCA has 4 directions, and k-means on images of two values few patches.
    stripes = (torch.arange(36).view(1, 1, 6, 6) % 2).float().expand(9, -1, -1, -1)
    cases: list[tuple[Basis, Tensor]] = [("pca", make_images()), ("kmeans", stripes)]
    for basis, images in cases:
        conv = nn.Conv2d(1, 8, 2)
        report = krahenbuhl(conv, images, seed=0, basis=basis)
        assert re.search(r"\d of 8 filters are Gaussian", report.notes[0]), report.notes
        assert bool(torch.isfinite(conv.weight).all())


def test_each_group_of_the_input_layer_has_a_basis_of_its_own() -> None:
    noise = make_images(64, channels=2, size=12)
    rows = F.avg_pool2d(noise[:, :1], (1, 5), 1, (0, 2))  # alike along a row, then along a column
    images = torch.cat([rows, F.avg_pool2d(noise[:, 1:], (5, 1), 1, (2, 0))], dim=1)
    conv = nn.Conv2d(2, 8, 2, groups=2)
    krahenbuhl(conv, images, seed=0, basis="pca")
    second = F.normalize(conv.weight.detach().flatten(1))[[1, 5]]
    # The widest direction is the mean of a patch; then comes the step from row to row, or column.
    wanted = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]]) / 2
    assert (second * wanted).sum(1).abs().min().item() > 0.98
    np.testing.assert_allclose(outputs_of(conv, images)[""].std(1), 1, atol=1e-5)


def test_the_basis_of_a_dilated_layer_is_of_dilated_patches() -> None:
    noise = make_images(64, size=12)
    images = torch.zeros(64, 1, 24, 24)
    images[:, :, ::2, ::2] = noise  # pixels between are zero: dilated patches see all or nothing
    conv = nn.Conv2d(1, 4, 2, dilation=2)
    krahenbuhl(conv, images, seed=0, basis="pca")
    first = F.normalize(conv.weight.detach().flatten(1))[0]
    # Neighbours of the noise agree, so the mean leads; an undilated patch has one live pixel.
    assert abs(first.sum().item()) / 2 > 0.98
    np.testing.assert_allclose(outputs_of(conv, images)[""].std(1), 1, atol=1e-5)
