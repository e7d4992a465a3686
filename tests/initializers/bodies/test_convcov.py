"""The covariance of depthwise filters: against a loop over positions, and in filters drawn."""

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from arm_guarantees import bits
from body_cases import conv_mixer, images
from warminit.errors import WarminitError
from warminit.initializers.bodies.convcov import convcov, filter_covariance

pytestmark = pytest.mark.usefixtures("one_thread")


def by_loops(size: int, variance: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The closed form, value by value, in plain Python."""
    middle = size // 2
    places = [(i - middle, j - middle) for i in range(size) for j in range(size)]
    result = np.zeros((size**2, size**2))
    for a, p in enumerate(places):
        for b, q in enumerate(places):
            z_p, z_q = (math.exp(-(x**2 + y**2) / (2 * variance)) for x, y in (p, q))
            c = math.exp(-((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) / (2 * variance))
            result[a, b] = 0.5 * (z_p * (c - 0.5 * z_q) + z_q * (c - 0.5 * z_p))
    return result


@pytest.mark.parametrize(("size", "variance"), [(5, 0.2), (7, 1.9)])
def test_the_closed_form(size: int, variance: float) -> None:
    np.testing.assert_allclose(
        filter_covariance((size, size), variance).numpy(), by_loops(size, variance), atol=1e-12
    )


def test_drawn_filters_have_the_covariance() -> None:
    """40,000 filters: each entry of their covariance is known to about 1 / 200 of a variance."""
    model: Any = nn.Sequential(nn.Conv2d(1, 40_000, 1), nn.Conv2d(40_000, 40_000, 5, groups=40_000))
    convcov(model, images(1, 1, 5, 5), seed=0, sigma=1.5)
    drawn = model[1].weight.detach().double().flatten(1).numpy()
    found = drawn.T @ drawn / len(drawn)
    values, vectors = np.linalg.eigh(by_loops(5, 1.5))
    wanted = (vectors * values.clip(min=0)) @ vectors.T
    wanted *= np.trace(found) / np.trace(wanted)
    assert abs(found - wanted).max() < 5 * wanted.max() * math.sqrt(2 / 40_000)


def test_filters_have_nothing_along_negative_eigenvalues() -> None:
    """The closed form is no covariance there: of 49, some are negative at this variance."""
    model: Any = nn.Sequential(nn.Conv2d(1, 64, 1), nn.Conv2d(64, 64, 7, groups=64))
    convcov(model, images(1, 1, 7, 7), seed=0, sigma=0.7)
    values, vectors = np.linalg.eigh(by_loops(7, 0.7))
    negative = vectors[:, values < -1e-3 * values.max()]
    assert negative.shape[1] > 0
    along = model[1].weight.detach().double().flatten(1).numpy() @ negative
    assert abs(along).max() < 1e-6


@pytest.mark.parametrize(
    ("numbers", "variances"),
    [((0.16, 0.32, 2.88), (0.16, 0.68, 1.92)), ((0.2, 1.5, 0), (0.2, 0.95, 1.7))],
)
def test_each_layer_keeps_its_root_mean_square_and_the_depth_widens_it(
    numbers: tuple[float, float, float], variances: tuple[float, float, float]
) -> None:
    model: Any = conv_mixer(kernel=9, width=512, depth=3)
    convolutions = [model[i].branch[0] for i in (1, 2, 3)]
    before = [float(each.weight.detach().square().mean().sqrt()) for each in convolutions]
    sigma, growth, acceleration = numbers
    report = convcov(model, images(), seed=0, sigma=sigma, growth=growth, acceleration=acceleration)
    assert report.layer == "1.branch.0, 2.branch.0, 3.branch.0"
    after = [float(each.weight.detach().square().mean().sqrt()) for each in convolutions]
    assert after == pytest.approx(before, rel=1e-5)
    centers = [each.weight.detach()[:, 0, 4, 4].square().mean() for each in convolutions]
    shares = [float(c / (81 * r**2)) for c, r in zip(centers, after, strict=True)]
    for share, variance in zip(shares, variances, strict=True):
        values = by_loops(9, variance).diagonal()
        # 512 filters: a variance is known to 6 %.
        assert share == pytest.approx(values[40] / values.sum(), rel=0.25)
    assert shares[0] > shares[1] > shares[2]


def test_a_smooth_image_passes_the_layer_and_not_the_control() -> None:
    """What the covariance is for: filters of one norm answer more to what is smooth."""
    answers: dict[str, Any] = {}
    ramp = torch.linspace(-1, 1, 24).expand(1, 32, 24, 24).contiguous()
    contents: tuple[Literal["own"], Literal["random"]] = ("own", "random")
    for content in contents:
        model: Any = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 7, groups=32, bias=False))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model[1].reset_parameters()
        convcov(model, images(1, 3, 9, 9), seed=0, sigma=2.0, content=content)
        answers[content] = model[1](ramp).detach()
        norms = model[1].weight.detach().flatten(1).norm(dim=1)
        answers[f"norms of {content}"] = norms
    torch.testing.assert_close(answers["norms of own"], answers["norms of random"])
    own, random = (float(answers[each].square().mean()) for each in ("own", "random"))
    assert own > 2 * random


def test_small_and_full_convolutions_stay() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 7), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 6, 5, groups=3),
        nn.Conv2d(6, 12, 5, groups=6),
    )  # fmt: skip
    before = {name: bits(each) for name, each in model.named_parameters()}
    convcov(model, images(1, 3, 20, 20), seed=0)
    assert [n for n, each in model.named_parameters() if bits(each) != before[n]] == ["3.weight"]


def test_a_model_without_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6))
    with pytest.raises(WarminitError, match=r"smallest=5: Sequential runs no depthwise"):
        convcov(model, images(), seed=0)
