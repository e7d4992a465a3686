"""any convolution -> the same guarantees: 500 drawn configurations on every commit."""

import copy
import math
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from arm_guarantees import bits, global_states, identity, values
from layer_cases import draw
from robustness import Robustness
from warminit import init_, prewarm_, whiten_
from warminit.errors import WarminitError

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch, on the layer's own forward with padding="same"; the call itself is silent.
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
]

SAMPLE, MORE = 500, 2000


def convolution(model: nn.Module) -> Any:
    return next(module for module in model.modules() if hasattr(module, "kernel_size"))


def check(seed: int) -> str:
    """Hold one configuration to every guarantee; return its kind."""
    case = draw(seed)
    model, images = case.build(), case.images()
    conv = convolution(model)
    before, kept, weight, fed = identity(model), values(model), conv.weight.clone(), bits(images)
    states = global_states()
    # No pixel rule on some images: they are noise, and what it makes of noise is not the question.
    report = init_(model, images, case.arm, seed=seed, patches_per_image=6)
    assert global_states() == states
    assert identity(model) == before  # objects, dtypes, devices, strides, modes, hooks, buffers
    assert bits(images) == fed
    now = values(model)
    own = "weight" if case.bare else "0.weight"
    assert {name for name in now if now[name] != kept[name]} == {own}
    groups, per_group = conv.groups, conv.out_channels // conv.groups
    each = report.filters_set // groups
    assert report.filters_set == groups * each
    # Half of each group, at least one; whitening has no more than 2 (D - 1) directions.
    wanted = max(1, per_group // 2)
    values_of_a_patch = conv.weight[0].numel()
    assert each == min(wanted, 2 * (values_of_a_patch - 1)) or case.arm != "whitening"
    assert each == wanted or case.arm == "whitening"
    by_group = conv.weight.detach().reshape(groups, per_group, -1)
    was = weight.detach().reshape(groups, per_group, -1)
    assert bits(by_group[:, each:]) == bits(was[:, each:])
    assert bits(by_group[:, :each]) != bits(was[:, :each])
    assert bool(torch.isfinite(by_group).all())
    # 0.20 for one channel of a group, 0.25 for more, capped by parity with the group's own fan-in.
    scale = report.parameters["scale"]
    usual = 0.2 if conv.weight.shape[1] == 1 else 0.25
    assert scale == pytest.approx(min(usual, math.sqrt(2 / values_of_a_patch)))
    if case.arm in {"prewarm", "whitening"}:
        spread = by_group[:, :each].double().flatten(1).std(1, correction=0)
        # Rounding, and the 1e-8 beside the deviation in Equation 3, which counts in a quiet group.
        tolerance = 8 * torch.finfo(case.dtype).eps + 1e-3
        torch.testing.assert_close(
            spread, torch.full_like(spread, scale), rtol=tolerance, atol=1e-6
        )
    # In float32: torch 2.13's dilated Conv3d in bfloat16 gives NaN from memory that it never wrote,
    # on processors with AMX.
    with torch.no_grad():
        answer = copy.deepcopy(conv).float()(images.float())
    assert bool(torch.isfinite(answer).all())
    again = case.build()
    init_(again, images, case.arm, seed=seed, patches_per_image=6)
    assert values(again) == now
    depthwise = "depthwise " if groups == conv.in_channels > 1 else ""
    return f"{depthwise}{case.dims}-D"


@pytest.mark.parametrize("start", range(0, SAMPLE, 50))
def test_the_guarantees_hold_for_a_sample_of_configurations(start: int) -> None:
    kinds = Counter(check(seed) for seed in range(start, start + 50))
    assert set(kinds) >= {"1-D", "2-D", "3-D"}


@pytest.mark.full
def test_the_guarantees_hold_for_many_more_configurations(robustness: Robustness) -> None:
    kinds = Counter(check(seed) for seed in range(SAMPLE, SAMPLE + MORE))
    assert min(kinds[kind] for kind in ("1-D", "2-D", "3-D", "depthwise 2-D")) >= 10
    counts = {kind.replace(" ", "_"): count for kind, count in kinds.items()}
    robustness.record("layer_configurations", {"drawn": MORE, "failed": 0, **counts})


def test_dilated_patches_are_what_the_layer_sees() -> None:
    """Every random patch of a dilated layer stands in an image, at the layer's own dilation."""
    images = torch.rand(3, 2, 11, 9, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 12, (3, 2), dilation=(2, 3), bias=False)
    init_(conv, images, "random-patches", patches_per_image=4)
    seen = F.unfold(images, (3, 2), dilation=(2, 3)).transpose(1, 2).flatten(0, 1)
    undilated = F.unfold(images, (3, 2)).transpose(1, 2).flatten(0, 1)
    filters = F.normalize(conv.weight.detach()[:6].flatten(1))
    # float32 rounding of a unit vector's product with itself.
    assert float((filters @ F.normalize(seen).T).amax(1).min()) > 1 - 1e-5
    assert float((filters @ F.normalize(undilated).T).amax(1).max()) < 1 - 1e-3


def test_each_group_learns_from_its_own_channels() -> None:
    """Two groups of a layer get what two layers would get from the two halves of the images."""
    images = torch.rand(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    images[:, 2:] = images[:, 2:].cumsum(3) / 8
    conv = nn.Conv2d(4, 8, 3, groups=2)
    prewarm_(conv, images, patches_per_image=9, seed=4)
    for group in (0, 1):
        alone = nn.Conv2d(2, 4, 3)
        prewarm_(alone, images[:, 2 * group : 2 * group + 2], patches_per_image=9, seed=4)
        got = conv.weight.detach()[4 * group : 4 * group + 2]
        torch.testing.assert_close(got, alone.weight.detach()[:2], rtol=1e-5, atol=1e-6)


def test_depthwise_layers_keep_the_floor_of_one_cluster() -> None:
    images = torch.rand(5, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    conv = nn.Conv2d(6, 6, 3, groups=6)
    report = prewarm_(conv, images, patches_per_image=9)
    assert (report.filters_set, report.parameters["n_filters"]) == (6, 1)
    assert report.parameters["groups"] == 6
    assert "F = 1 in each group" in report.provenance["n_filters"]


@pytest.mark.parametrize("write", [prewarm_, whiten_])
def test_a_patch_of_one_value_is_refused(write: Any) -> None:
    conv = nn.Conv2d(3, 6, 1, groups=3)
    kept = values(conv)
    with pytest.raises(WarminitError, match=r"kernel \(1, 1\) over 1 channel has 1 value"):
        write(conv, torch.rand(4, 3, 8, 8), patches_per_image=9)
    assert values(conv) == kept


def test_the_stem_of_a_vit_b_16() -> None:
    """768 filters of 768 values, non-overlapping."""
    images = torch.rand(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 768, 16, stride=16)
    report = whiten_(stem, images, patches_per_image=130)
    assert report.filters_set == 384
    flat = stem.weight.detach()[:384].flatten(1)
    # Uncentered directions with no brightness: every filter sums to zero, to float32 rounding.
    assert float(flat.sum(1).abs().max()) < 1e-4
    assert float(flat.std(correction=0)) == pytest.approx(math.sqrt(2 / 768), rel=1e-5)


@pytest.mark.parametrize("channels", range(1, 14))
def test_any_channel_count_says_which_rule_holds(channels: int) -> None:
    images = torch.rand(4, channels, 9, 9, generator=torch.Generator().manual_seed(0))
    images = (images > 0.7) * images
    model = nn.Conv2d(channels, 8, 3)
    provenance = prewarm_(model, images).provenance
    assert ("Otsu" in provenance["patches_per_image"]) == (channels == 1)
    if channels > 1:
        assert f"there are {channels} channels" in provenance["patches_per_image"]
        assert ("extrapolated" in provenance["patches_per_image"]) == (channels != 3)
