"""Spatial weights, amplitude and shape of filters against NumPy, by hand and by Monte Carlo."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.initializers.stems.filters import (
    check_scaling,
    scale_bank,
    shape_filters,
    spatial_weights,
    weight_centroids,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape))


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ((1, 1), [1]),
        ((3, 3), [1 / 3, 1 / 2, 1 / 3, 1 / 2, 1, 1 / 2, 1 / 3, 1 / 2, 1 / 3]),
        ((2, 2), [1 / 3, 1 / 2, 1 / 2, 1]),  # floor(2 / 2) = 1: the last position is the center
        ((1, 4), [1 / 3, 1 / 2, 1, 1 / 2]),
        ((3,), [1 / 2, 1, 1 / 2]),
        ((1, 3, 3), [1 / 3, 1 / 2, 1 / 3, 1 / 2, 1, 1 / 2, 1 / 3, 1 / 2, 1 / 3]),
    ],
)
def test_equation_2_by_hand(kernel: tuple[int, ...], expected: list[float]) -> None:
    torch.testing.assert_close(
        spatial_weights(kernel), torch.tensor(expected, dtype=torch.float64), rtol=1e-15, atol=0
    )


def test_weights_are_the_same_in_every_channel() -> None:
    patches = draws(4, 3 * 5 * 5)
    weighted = weight_centroids(patches, (5, 5)).numpy().reshape(4, 3, 5, 5)
    row, column = np.indices((5, 5))
    expected = patches.numpy().reshape(4, 3, 5, 5) / (1 + abs(row - 2) + abs(column - 2))
    np.testing.assert_allclose(weighted, expected, rtol=1e-14)


@pytest.mark.parametrize("scale", [0.2, 0.25, 1, "parity"])
def test_a_number_is_the_deviation_of_the_bank(scale: Any) -> None:
    bank = 7 * draws(16, 27) + 0.3
    scaled = scale_bank(bank, scale).numpy()
    wanted = math.sqrt(2 / 27) if scale == "parity" else scale
    # The listing adds 1e-8 to a deviation of 7.
    assert np.std(scaled) == pytest.approx(wanted, rel=1e-8)
    ratio = scaled / bank.numpy()
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-12)  # one factor


@pytest.mark.parametrize("scale", [0.2, "parity"])
def test_per_filter_gives_every_filter_the_deviation(scale: Any) -> None:
    bank = draws(16, 27) * torch.logspace(-2, 2, 16, dtype=torch.float64)[:, None]
    scaled = scale_bank(bank, scale, scaling="per-filter").numpy()
    wanted = math.sqrt(2 / 27) if scale == "parity" else scale
    # 1e-8 beside the smallest deviation, about 0.01.
    np.testing.assert_allclose(np.std(scaled, axis=1), wanted, rtol=3e-6)
    signs = np.sign(scaled) == np.sign(bank.numpy())
    assert signs.all()


def test_match_is_the_closed_form_on_uncentered_patches() -> None:
    patches = draws(500, 12, seed=1) @ draws(12, 12, seed=2) + 0.7
    bank = draws(6, 12, seed=3)
    scaled = scale_bank(bank, "match", patches=patches).numpy()
    second_moment = np.einsum("pi,pj->ij", patches.numpy(), patches.numpy()) / 500
    wanted = math.sqrt(1 / (3 * 12) * np.trace(second_moment))
    np.testing.assert_allclose(np.std(patches.numpy() @ scaled.T, axis=0), wanted, rtol=1e-12)
    cosine = (scaled * bank.numpy()).sum(1) / np.linalg.norm(scaled, axis=1)
    np.testing.assert_allclose(cosine, bank.norm(dim=1).numpy(), rtol=1e-12)  # a positive factor


def matched(patches: Tensor) -> float:
    """Return the deviation that scale="match" gives the responses of a filter."""
    bank = torch.eye(patches.shape[1], dtype=torch.float64)[:1]
    scaled = scale_bank(bank, "match", patches=patches)
    return float((patches.double() @ scaled.T).std(correction=0))


def test_the_default_response_by_hand() -> None:
    # Patches (3, 4) and (0, 0): the mean of the squared norms is 12.5, var(w) = 1 / (3 * 2).
    two = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert matched(two) == pytest.approx(math.sqrt(12.5 / 6))


def test_the_default_response_is_what_default_filters_give() -> None:
    """Monte Carlo through real layers; off by 5 standard errors once in 1.7 million draws."""
    patches = draws(300, 18, seed=4).float() @ draws(18, 18, seed=5).float() + 1.5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        filters = nn.Conv2d(2, 8000, 3).weight.detach().flatten(1)
    squares = (patches @ filters.T).double().square().mean(0).numpy()
    error = np.std(squares, ddof=1) / math.sqrt(len(squares))
    expected = matched(patches) ** 2
    assert abs(squares.mean() - expected) < 5 * error
    # The test can tell: it would reject the moment about the mean, and He's variance.
    about_mean = (patches - patches.mean(0)).double().square().sum(1).mean() / (3 * 18)
    assert abs(squares.mean() - float(about_mean)) > 5 * error
    assert abs(squares.mean() - 6 * expected) > 5 * error


def test_unit_gives_a_response_of_deviation_1() -> None:
    patches = draws(400, 9, seed=6) * 3 + 1
    scaled = scale_bank(draws(5, 9, seed=7), "unit", patches=patches)
    np.testing.assert_allclose(np.std((patches @ scaled.T).numpy(), axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("scale", ["match", "unit"])
def test_a_filter_without_a_response_is_left_alone(scale: Any) -> None:
    patches = draws(50, 4, seed=8)
    patches[:, 3] = 2.0  # a pixel that never varies
    bank = torch.eye(4, dtype=torch.float64)
    bank[0] = 0
    scaled = scale_bank(bank, scale, patches=patches)
    assert torch.equal(scaled[[0, 3]], bank[[0, 3]])
    assert bool((scaled[1:3].diagonal(offset=1) != 1).all())
    assert bool(torch.isfinite(scaled).all())


def test_a_bank_of_zeros_stays_zero() -> None:
    zeros = torch.zeros(3, 9, dtype=torch.float64)
    assert torch.equal(scale_bank(zeros, 0.2), zeros)
    assert torch.equal(scale_bank(zeros, 0.2, scaling="per-filter"), zeros)


def test_scale_errors_say_what_is_wrong() -> None:
    bank = draws(2, 9)
    with pytest.raises(WarminitError, match=r"scaling='both': expected one of global, per-filter"):
        check_scaling("both", None)  # type: ignore[arg-type]  # no such scaling
    with pytest.raises(WarminitError, match=r"scale='match' without patches: expected patches"):
        scale_bank(bank, "match")


@pytest.mark.parametrize(
    ("patch", "kernel", "rows", "columns"),
    [
        ((5, 5), (3, 3), slice(1, 4), slice(1, 4)),
        ((5, 5), (2, 2), slice(1, 3), slice(1, 3)),  # floor((5 - 2) / 2) = 1
        ((4, 7), (3, 7), slice(0, 3), slice(0, 7)),
        ((3, 3), None, slice(0, 3), slice(0, 3)),
    ],
)
def test_filters_are_the_center_of_their_patches(
    patch: tuple[int, int], kernel: tuple[int, int] | None, rows: slice, columns: slice
) -> None:
    bank = draws(4, 2 * patch[0] * patch[1])
    filters = shape_filters(bank, patch, kernel)
    expected = bank.float().numpy().reshape(4, 2, *patch)[:, :, rows, columns]
    assert filters.dtype == torch.float32
    assert np.array_equal(filters.numpy(), expected)
