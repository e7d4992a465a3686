"""What every arm guarantees, as prewarm_ does: objects, bits, generators, errors, dtypes."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_cases import (
    BODY_METHODS,
    all_bits,
    bits,
    first,
    make_images,
    make_net,
    parameters_of,
    set_filters,
    state_of_generators,
)
from warminit import InitReport, init_
from warminit.errors import WarminitError
from warminit.initializers import METHODS as ALL_METHODS

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 2, 12, 12)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
METHODS = [arm for arm in ALL_METHODS if arm not in BODY_METHODS]
NO_DATA = {"torch-default", "he-normal", "he-uniform", "glorot", "orthogonal"}
FIXED = {"dct", "gabor"}
LAYERWISE = {"krahenbuhl", "lsuv"}
"""Arms that go through the whole model, each layer by the outputs of those before it."""
OF_FILTERS = [arm for arm in METHODS if arm != "small-head"]
"""small-head sets no filter, and test_small_head.py says what it sets."""


def apply(net: nn.Module, arm: str, seed: int = 0, images: Tensor = IMAGES) -> InitReport:
    return init_(net, images, arm, seed=seed, **parameters_of(arm))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("arm", OF_FILTERS)
def test_parameters_stay_the_objects_that_they_were(arm: str, dtype: torch.dtype) -> None:
    net = make_net().to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    first(net).bias.requires_grad_(False)  # type: ignore[union-attr]
    net.requires_grad_(requires_grad=arm != "dct")
    net.eval()

    def outside() -> list[Any]:
        return [
            (name, id(p), p.data_ptr(), p.dtype, p.device, p.shape, p.stride(), p.requires_grad)
            for name, p in net.named_parameters()
        ]

    before, values = outside(), bits(first(net).weight)
    report = apply(net, arm, images=IMAGES.to(dtype) if arm in LAYERWISE else IMAGES)
    assert outside() == before
    assert first(net).weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(module.training for module in net.modules())
    assert bits(first(net).weight) != values
    assert bool(torch.isfinite(first(net).weight).all())
    assert report.method == arm


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("arm", [arm for arm in OF_FILTERS if arm not in LAYERWISE])
def test_every_dtype_holds_the_same_values_rounded(arm: str, dtype: torch.dtype) -> None:
    reference, net = make_net(), make_net().to(dtype)
    count = apply(reference, arm).filters_set
    assert apply(net, arm).filters_set == count
    assert torch.equal(first(net).weight[:count], first(reference).weight[:count].to(dtype))


@pytest.mark.parametrize("arm", OF_FILTERS)
def test_all_that_is_not_set_keeps_its_bits(arm: str) -> None:
    net = make_net()
    net.insert(1, nn.BatchNorm2d(8))
    before, weight = all_bits(net), first(net).weight.detach().clone()
    report = apply(net, arm)
    written = {"0", "3", "7"} if arm in LAYERWISE else {"0"}
    assert set(report.layer.split(", ")) == written
    after = all_bits(net)
    changed = {name for name in after if after[name] != before[name]}
    if arm in LAYERWISE:
        assert {name.split(".")[0] for name in changed} <= written
    if arm not in LAYERWISE:
        assert changed == {"0.weight"} | ({"7.weight"} if arm == "whitening-small-head" else set())
        count = report.filters_set
        assert count == (8 if arm in NO_DATA else 4)
        assert bits(first(net).weight[count:]) == bits(weight[count:])
        assert bool((first(net).weight[:count] != weight[:count]).flatten(1).any(1).all())


@pytest.mark.parametrize("arm", OF_FILTERS)
def test_the_seed_and_nothing_else_is_random(arm: str) -> None:
    nets = [make_net() for _ in range(3)]
    apply(nets[0], arm, seed=3)
    torch.rand(5)
    apply(nets[1], arm, seed=3)
    apply(nets[2], arm, seed=4)
    bank = [all_bits(net) for net in nets]
    assert bank[0] == bank[1]
    assert (bank[0] == bank[2]) == (arm in FIXED)


@pytest.mark.parametrize("arm", METHODS)
def test_the_global_generators_and_the_images_are_untouched(arm: str) -> None:
    images = IMAGES.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(987)  # no arm is given this seed: reseeding by the arm's would be seen
        before = state_of_generators()
        apply(make_net(), arm, images=images)
        assert state_of_generators() == before
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("arm", METHODS)
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_an_optimizer_made_before_or_after_takes_the_same_step(arm: str, name: str) -> None:
    nets = [make_net(), make_net()]
    for net in nets:
        before = net is nets[0]
        optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.01) if before else None
        apply(net, arm)
        optimizer = optimizer or getattr(torch.optim, name)(net.parameters(), lr=0.01)
        start = bits(first(net).weight)
        nn.functional.cross_entropy(net(IMAGES), torch.arange(16) % 3).backward()
        optimizer.step()
        assert bits(first(net).weight) != start
    assert all_bits(nets[0]) == all_bits(nets[1])


@pytest.mark.parametrize("arm", METHODS)
def test_pixels_as_bytes_are_pixels_over_255(arm: str) -> None:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (16, 2, 12, 12), dtype=torch.uint8, generator=generator)
    by_bytes, by_floats = make_net(), make_net()
    apply(by_bytes, arm, images=pixels)
    apply(by_floats, arm, images=pixels.float() / 255)
    for name, tensor in by_bytes.state_dict().items():
        torch.testing.assert_close(tensor, by_floats.state_dict()[name], msg=name)


@pytest.mark.parametrize("arm", [arm for arm in OF_FILTERS if arm not in NO_DATA | LAYERWISE])
def test_bytes_are_standardized_with_mean_and_std(arm: str) -> None:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (16, 2, 12, 12), dtype=torch.uint8, generator=generator)
    mean, std = [0.4, 0.6], [0.2, 0.3]
    nets = make_net(), make_net()
    options = parameters_of(arm, scale="unit", mean=mean, std=std)
    init_(nets[0], pixels, arm, **options)
    fed = pixels.float().div(255).sub(torch.tensor(mean).view(2, 1, 1))
    fed /= torch.tensor(std).view(2, 1, 1)
    init_(nets[1], fed, arm, **options)
    torch.testing.assert_close(first(nets[0]).weight, first(nets[1]).weight)


@pytest.mark.parametrize("arm", [arm for arm in OF_FILTERS if arm not in NO_DATA])
def test_nothing_is_written_for_images_that_cannot_be_used(arm: str) -> None:
    broken = IMAGES.clone()
    broken[3, 1, 4, 4] = float("nan")
    for images in (broken, IMAGES[:, :1], torch.full_like(IMAGES, 0.5), IMAGES[:0]):
        net = make_net()
        before, states = all_bits(net), state_of_generators()
        with pytest.raises(WarminitError):
            apply(net, arm, images=images)
        assert all_bits(net) == before
        assert state_of_generators() == states


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "0", None])
@pytest.mark.parametrize("arm", METHODS)
def test_an_unusable_seed(arm: str, seed: Any) -> None:
    net = make_net()
    before = all_bits(net)
    with pytest.raises(
        WarminitError, match=re.escape(f"seed={seed!r}") + r": expected a whole number"
    ):
        apply(net, arm, seed=seed)
    assert all_bits(net) == before


@pytest.mark.parametrize("arm", OF_FILTERS)
def test_a_model_without_a_convolution(arm: str) -> None:
    with pytest.raises(WarminitError, match=r"no .*[cC]onv"):
        apply(nn.Sequential(nn.Flatten(), nn.Linear(288, 3)), arm)


@pytest.mark.parametrize("arm", METHODS)
def test_a_parameter_that_does_not_exist(arm: str) -> None:
    net = make_net()
    before = all_bits(net)
    with pytest.raises((TypeError, WarminitError), match="n_patchez"):
        init_(net, IMAGES, arm, n_patchez=9)
    assert all_bits(net) == before


@pytest.mark.parametrize("arm", METHODS)
def test_the_report(arm: str) -> None:
    net = make_net()
    report = apply(net, arm, seed=5)
    assert isinstance(report, InitReport)
    assert (report.method, report.seed) == (arm, 5)
    assert 0 <= report.seconds < 60
    assert 0 < report.filters_set <= report.out_channels
    assert str(report).startswith(f"{arm}\n")
    for value in report.parameters.values():
        assert not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("arm", [arm for arm in OF_FILTERS if arm not in NO_DATA | LAYERWISE])
def test_images_of_one_channel(arm: str) -> None:
    net = make_net(1)
    report = apply(net, arm, images=make_images(16, 1, 12, 12))
    filters = set_filters(net, report)
    assert filters.shape == (4, 1, 3, 3)
    # The paper's scale for one channel is 0.20, and the controls share the deviation or the norm.
    if arm == "whitening-small-head":  # nothing normalizes what these filters give
        assert report.parameters["scale"] == "unit"
        return
    deviation = float(filters.double().square().mean().sqrt())
    assert deviation == pytest.approx(0.2, rel=0.2)
