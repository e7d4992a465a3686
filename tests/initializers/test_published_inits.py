"""The variance rules against NumPy's Mersenne Twister, torch's own layers, and their moments.

False alarms: the draws are seeded, so a test that passes once passes always; each limit is one that
a right sampler with another seed would exceed once in a million (the Kolmogorov-Smirnov and the
chi-squared ones), and a sampler of another published rule exceeds by far (shown below).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from arm_cases import bits, check_stored, first, make_conv, make_images, make_net
from warminit import init_
from warminit.errors import WarminitError

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(4, 2, 10, 10)
FALSE_ALARM = 1e-6
RULES = ("torch-default", "he-normal", "he-uniform", "glorot", "orthogonal")

# (64, 16, 5, 5): fan_in 400, fan_out 1600.
DEVIATIONS = {
    "torch-default": 1 / math.sqrt(3 * 400),
    "he-normal": math.sqrt(2 / 400),
    "he-uniform": math.sqrt(2 / 400),
    "glorot": math.sqrt(2 / (400 + 1600)),
}


def drawn(arm: str, seed: int = 7, **parameters: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    model = make_conv(16, 64, 5)
    init_(model, IMAGES, arm, seed=seed, **parameters)
    return model.weight.detach().double().numpy()


def law(arm: str, deviation: float) -> Any:
    if arm == "he-normal":
        return scipy.stats.norm(0, deviation)
    bound = math.sqrt(3) * deviation
    return scipy.stats.uniform(-bound, 2 * bound)


@pytest.mark.parametrize("arm", RULES)
def test_the_stored_numbers(arm: str) -> None:
    check_stored(arm)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("shape", [(1, 32, 3), (3, 64, 7)])
def test_torch_default_is_the_layer_built_under_that_seed(
    seed: int, shape: tuple[int, int, int]
) -> None:
    model = make_conv(*shape, seed=5)
    init_(model, IMAGES, "torch-default", seed=seed)
    assert bits(model.weight) == bits(make_conv(*shape, seed=seed).weight)


@pytest.mark.parametrize("arm", DEVIATIONS)
def test_the_distribution(arm: str) -> None:
    """25,600 values: Kolmogorov-Smirnov, and it tells every other rule from this one."""
    values = drawn(arm).ravel()
    assert scipy.stats.kstest(values, law(arm, DEVIATIONS[arm]).cdf).pvalue > FALSE_ALARM
    for other, deviation in DEVIATIONS.items():
        if other != arm:
            assert scipy.stats.kstest(values, law(other, deviation).cdf).pvalue < FALSE_ALARM


def test_he_normal_has_hes_variance() -> None:
    """(n - 1) s^2 / variance is chi-squared, two-sided; no room for 1 % of another variance."""
    values = drawn("he-normal").ravel()
    n, variance = len(values), 2 / 400
    statistic = (n - 1) * np.var(values, ddof=1) / variance
    low, high = scipy.stats.chi2(n - 1).ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2])
    assert low < statistic < high
    assert high / n < 1.05


@pytest.mark.parametrize("arm", ["torch-default", "he-uniform", "glorot"])
def test_the_bound_of_a_uniform_rule(arm: str) -> None:
    bound = math.sqrt(3) * DEVIATIONS[arm]
    largest = abs(drawn(arm)).max()
    assert largest <= bound * (1 + 1e-6)  # the bound itself is rounded to float32
    # That none of 25,600 values lies in the last thousandth has probability 7e-12.
    assert largest > 0.999 * bound


@pytest.mark.parametrize(("shape", "gain"), [((2, 8, 3), 1.0), ((2, 40, 3), 1.0), ((3, 7, 5), 2.5)])
def test_orthogonal_rows_or_columns(shape: tuple[int, int, int], gain: float) -> None:
    model = make_conv(*shape)
    init_(model, IMAGES, "orthogonal", seed=3, gain=gain)
    matrix = model.weight.detach().double().flatten(1).numpy()
    small = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, gain**2 * np.eye(len(small)), atol=1e-6 * gain**2)


@pytest.mark.parametrize("arm", RULES)
def test_scope_all_draws_every_affine_layer_in_order(arm: str) -> None:
    net = nn.ModuleList(
        [nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Conv1d(4, 6, 3), nn.Conv3d(2, 4, 3)]
    )
    net.append(nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3, bias=False)))
    rest = {name: bits(p) for name, p in net.named_parameters() if not is_drawn(name)}
    report = init_(net, IMAGES, arm, seed=4, scope="all")
    generator = torch.Generator().manual_seed(4)
    draws: dict[str, Callable[[torch.Tensor], Any]] = {
        "torch-default": lambda w: nn.init.kaiming_uniform_(w, math.sqrt(5), generator=generator),
        "he-normal": lambda w: nn.init.kaiming_normal_(w, generator=generator),
        "he-uniform": lambda w: nn.init.kaiming_uniform_(w, generator=generator),
        "glorot": lambda w: nn.init.xavier_uniform_(w, generator=generator),
        "orthogonal": lambda w: nn.init.orthogonal_(w, generator=generator),
    }
    for name, parameter in net.named_parameters():
        if is_drawn(name):
            assert torch.equal(parameter, draws[arm](torch.empty(parameter.shape))), name
    assert {n: bits(p) for n, p in net.named_parameters() if not is_drawn(n)} == rest
    assert report.layer == "0, 2, 3, 4.0, 4.1"
    assert report.filters_set == report.out_channels == 8 + 6 + 4 + 5 + 3


def is_drawn(name: str) -> bool:
    return name.endswith("weight") and not name.startswith("1.")


@pytest.mark.parametrize("arm", RULES)
def test_scope_first_draws_the_input_layer_alone(arm: str) -> None:
    net = make_net()
    before = {name: bits(p) for name, p in net.named_parameters()}
    report = init_(net, IMAGES, arm, seed=4)
    changed = [name for name, p in net.named_parameters() if bits(p) != before[name]]
    assert (changed, report.layer, report.filters_set) == (["0.weight"], "0", 8)
    assert report.parameters["std"] == pytest.approx(
        float(np.std(first(net).weight.detach().numpy())), rel=1e-5
    )


def test_a_named_layer() -> None:
    net = make_net()
    assert init_(net, IMAGES, "he-normal", layers="2").layer == "2"
    assert init_(net, IMAGES, "he-normal", layers=net[2]).found == "given as a module"


def test_groups_count_in_the_fan() -> None:
    model = nn.Conv2d(16, 64, 5, groups=4)  # fan_in 4 * 25
    init_(model, IMAGES, "he-uniform", seed=2)
    bound = math.sqrt(6 / 100)
    assert 0.99 * bound < float(model.weight.detach().abs().max()) <= bound * (1 + 1e-6)


@pytest.mark.parametrize("arm", RULES)
def test_an_unknown_scope(arm: str) -> None:
    model = make_conv()
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=r"scope='last': expected one of first, all"):
        init_(model, IMAGES, arm, scope="last")
    assert bits(model.weight) == before


def test_nothing_is_written_where_a_later_layer_cannot_be() -> None:
    net = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Linear(3, 3, device="meta"))
    before = bits(first(net).weight)
    with pytest.raises(WarminitError, match="1 is on the meta device"):
        init_(net, IMAGES, "he-normal", scope="all")
    assert bits(first(net).weight) == before
