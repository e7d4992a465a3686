"""diagnose -> NumPy, SciPy and torch's convolution on the same patches, and banks by hand."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from diagnosis_cases import IMAGES, assert_answers, make_conv, outputs_of, with_bank
from warminit.look import diagnose as diagnosis
from warminit.look.diagnose import diagnose, effective_rank


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"filters": 40},
        {"kernel": 1},
        {"dilation": (2, 3)},
        {"filters": 6, "groups": 3},
        # Responses are taken one pixel apart inside the image, whatever these two are.
        {"stride": 2, "padding": 1},
    ],
    ids=str,
)
def test_outputs_are_those_of_the_convolution_at_every_position(options: dict[str, Any]) -> None:
    conv = make_conv(**options)
    outputs = outputs_of(conv, IMAGES)
    found = diagnose(conv, IMAGES)
    assert found.every_position
    assert found.n_patches == len(outputs)
    assert_answers(found, outputs)


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (nn.Conv1d(2, 5, 4, dilation=3), (5, 2, 40)),
        (nn.Conv3d(2, 5, (2, 3, 1), groups=1, dilation=(2, 1, 1)), (3, 2, 6, 5, 4)),
        (nn.Conv3d(2, 4, 2, groups=2), (3, 2, 6, 5, 4)),
    ],
)
def test_one_and_three_dimensions(
    conv: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(2)) + 0.2
    assert_answers(diagnose(conv, images), outputs_of(conv, images))
    # Sampled, no channel dies; one that is dead is.
    conv.bias.data[0] = -50.0
    monkeypatch.setattr(diagnosis, "_MOST_PATCHES", 20)
    found = diagnose(conv, images)
    assert not found.every_position
    assert found.relu_dead_channels == (0,)


def test_a_bias_kills_channels_and_moves_no_variance() -> None:
    conv = make_conv()
    free = diagnose(conv, IMAGES)
    assert conv.bias is not None
    conv.bias.data[[1, 6]] = -50.0
    found = diagnose(conv, IMAGES)
    assert found.relu_dead_channels == (1, 6)
    assert found.relu_dead_share == 0.25
    assert found.response_variances == free.response_variances
    assert found.white_distance == free.white_distance
    assert found.dead_filters == ()
    assert_answers(found, outputs_of(conv, IMAGES))


def test_the_bank_s_figures_are_numpy_s_and_scipy_s() -> None:
    conv = make_conv(filters=20)
    bank = conv.weight.detach().double().flatten(1).numpy()
    found = diagnose(conv, IMAGES)
    singular = np.linalg.svd(bank, compute_uv=False)
    # scipy.stats.entropy divides by the sum itself.
    assert found.effective_rank == pytest.approx(np.exp(scipy.stats.entropy(singular)), rel=1e-9)
    assert found.condition_number == pytest.approx(np.linalg.cond(bank), rel=1e-9)
    assert found.rank == np.linalg.matrix_rank(bank) == 20
    assert found.patch_values == 27
    # The projection on the filters is what least squares explains of the centered patches.
    patches = F.unfold(IMAGES.double(), 3).transpose(1, 2).flatten(0, 1).numpy()
    centered = patches - patches.mean(axis=1, keepdims=True)
    residual = centered.T - bank.T @ np.linalg.lstsq(bank.T, centered.T, rcond=None)[0]
    share = 1 - np.sum(residual**2) / np.sum(centered**2)
    assert 0.5 < share < 0.9
    assert found.energy_captured == pytest.approx(share, rel=1e-9)


def test_near_duplicates_are_those_of_numpy_s_cosines() -> None:
    conv = make_conv(filters=10)
    weight = conv.weight.data
    direction = weight[3] / weight[3].norm()
    across = weight[5] - (weight[5] * direction).sum() * direction
    across /= across.norm()
    # tan(8 degrees) = 0.1405 is a cosine of 0.9903, tan(8.2 degrees) = 0.1441 one of 0.9898.
    weight[7] = 4 * (direction + math.tan(math.radians(8.0)) * across)
    weight[8] = 4 * (direction - math.tan(math.radians(8.2)) * across)
    bank = conv.weight.detach().double().flatten(1).numpy()
    unit = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    pairs = np.argwhere(np.triu(np.abs(unit @ unit.T) > 0.99, k=1))
    assert pairs.tolist() == [[3, 7]]
    assert diagnose(conv, IMAGES).duplicate_pairs == ((3, 7),)


def test_identity_bank_by_hand() -> None:
    conv = with_bank(torch.eye(9), 1, 3)
    found = diagnose(conv, IMAGES[:, :1])
    assert found.effective_rank == pytest.approx(9, rel=1e-12)
    assert found.condition_number == pytest.approx(1, rel=1e-12)
    assert (found.rank, found.duplicate_pairs, found.dead_filters) == (9, (), ())
    assert found.energy_captured == pytest.approx(1, rel=1e-12)
    # Each filter reads one pixel of the patch: the top left one spans rows 0-8 and columns 0-6.
    pixels = IMAGES[:, 0, :9, :7].double().numpy()
    assert found.response_variances[0] == pytest.approx(pixels.var(), rel=1e-12)


def test_four_patches_by_hand() -> None:
    # 1 x 1 filters over two channels with four pixels: (1, 0), (3, 0), (1, 2), (3, 2).
    images = torch.tensor([[[[1.0, 3.0, 1.0, 3.0]], [[0.0, 0.0, 2.0, 2.0]]]])
    conv = with_bank([[1, 0], [0, 2], [-1, 1]], 2, 1)
    found = diagnose(conv, images)
    # Responses (1, 3, 1, 3), (0, 0, 4, 4), (-1, -3, 1, -1): variances 1, 4 and 2 around 2, 2, -1.
    assert found.response_variances == pytest.approx((1.0, 4.0, 2.0), rel=1e-12)
    assert found.response_spread == pytest.approx(math.sqrt(14 / 9) / (7 / 3), rel=1e-12)
    # Correlations 0, -1/sqrt(2) and 1/sqrt(2): the mean of their squares is 1/3.
    assert found.white_distance == pytest.approx(math.sqrt(1 / 3), rel=1e-12)
    assert found.nonpositive_share == pytest.approx(5 / 12, rel=1e-12)
    assert found.relu_dead_channels == ()
    # Centered patches lie along (1, -1), and the filters span the plane.
    assert found.energy_captured == pytest.approx(1, rel=1e-12)
    # (1, 0) alone catches half of each.
    assert diagnose(with_bank([[1, 0]], 2, 1), images).energy_captured == pytest.approx(0.5)
    # The bank's gram matrix B^T B = [[2, -1], [-1, 5]] has eigenvalues (7 +- sqrt(13)) / 2.
    high, low = (math.sqrt((7 + sign * math.sqrt(13)) / 2) for sign in (1, -1))
    assert found.condition_number == pytest.approx(high / low, rel=1e-9)


def test_rank_one_bank_has_effective_rank_one_and_no_condition_number() -> None:
    direction = torch.linspace(-1, 2, 9)
    conv = with_bank(torch.stack([direction, 2 * direction, -0.5 * direction]), 1, 3)
    found = diagnose(conv, IMAGES[:, :1])
    assert found.effective_rank == pytest.approx(1, abs=1e-6)  # rounding leaves 1e-16 beside 1
    assert (found.rank, found.condition_number) == (1, None)
    assert found.duplicate_pairs == ((0, 1), (0, 2), (1, 2))
    assert found.white_distance == pytest.approx(1, rel=1e-9)
    text = str(found)
    assert "no condition number: the bank has rank 1 of 3" in text
    assert "2 of the near-duplicates are opposite" in text


def test_whitening_directions_are_white() -> None:
    patches = F.unfold(IMAGES.double(), 3).transpose(1, 2).flatten(0, 1).numpy()
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, bias=True))
    conv = with_bank(torch.from_numpy((vectors / np.sqrt(values)).T), 3, 3)
    found = diagnose(conv, IMAGES)
    # float32 filters, condition 2: a correlation is off by about 1e-7.
    assert found.white_distance == pytest.approx(0, abs=1e-6)
    assert found.response_spread == pytest.approx(0, abs=1e-6)
    assert found.response_variances == pytest.approx([1.0] * 27, abs=1e-5)


def test_more_filters_than_patch_values_cannot_beat_welch_s_bound() -> None:
    found = diagnose(make_conv(filters=64), IMAGES)
    assert found.white_distance is not None
    assert found.white_distance >= math.sqrt((64 - 27) / (27 * 63))
    assert "the filters span all patches" in str(found)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0, 1.0, 1.0], 4.0), ([3.0], 1.0), ([5.0, 0.0], 1.0), ([0.0, 0.0], None)],
)
def test_effective_rank_by_hand(values: list[float], expected: float | None) -> None:
    assert effective_rank(torch.tensor(values)) == pytest.approx(expected)


def test_effective_rank_of_unequal_values_by_hand() -> None:
    # Shares 1/2, 1/4, 1/4: the entropy is 1.5 bits.
    assert effective_rank(torch.tensor([2.0, 1.0, 1.0])) == pytest.approx(2**1.5, rel=1e-9)
