"""layers=n or names -> convolutions conditioned one after another, each on what it is then fed."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arm_guarantees import global_states, identity, values
from warminit import init_, prewarm_, whiten_
from warminit.errors import WarminitError
from warminit.initializers.stems.fed import DEEP_PATCHES

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.rand(6, 3, 14, 14, generator=torch.Generator().manual_seed(0))
ORDER = ("stem", "block.first", "shortcut", "block.second")


class Net(nn.Module):
    """Registered in another order than it runs in, with batch statistics and dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 2)
        self.block = nn.Module()
        self.block.second = nn.Conv2d(8, 8, 3, padding=1)
        self.block.first = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(6, 8, 1)
        self.stem = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.unused = nn.Conv2d(8, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.drop(F.relu(self.norm(self.stem(images))))
        inner = F.relu(self.block.first(x))  # type: ignore[operator]
        x = self.shortcut(x)[:, :, ::2, ::2] + self.block.second(inner)  # type: ignore[operator]
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores


def net() -> Net:
    torch.manual_seed(2)
    return Net()


def stem_activations(model: Net) -> Tensor:
    """What comes out of the stem in the first training step, written out; dropout is off."""
    with torch.no_grad():
        x = F.conv2d(IMAGES, model.stem.weight, model.stem.bias).double()
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    return (((x - mean) / (variance + model.norm.eps).sqrt()).relu()).float()


def test_a_number_takes_them_in_the_order_in_which_they_run() -> None:
    for count in range(1, 5):
        model, fresh = net(), values(net())
        report = prewarm_(model, IMAGES, layers=count, patches_per_image=9, scale=0.2)
        assert report.layer == ", ".join(ORDER[:count])
        changed = {name for name, bits in values(model).items() if bits != fresh[name]}
        assert changed == {f"{name}.weight" for name in ORDER[:count]}
        assert report.filters_set == sum((3, 4, 4, 4)[:count])
        assert report.out_channels == sum((6, 8, 8, 8)[:count])


def test_names_are_taken_in_the_order_of_execution_too() -> None:
    one, other = net(), net()
    report = prewarm_(one, IMAGES, layers=["block.second", "stem"], patches_per_image=9, scale=0.2)
    prewarm_(other, IMAGES, layers=["stem", "block.second"], patches_per_image=9, scale=0.2)
    assert report.layer == "stem, block.second"
    assert values(one) == values(other)
    assert report.found.startswith("the only convolution that takes 3 channels")


@pytest.mark.parametrize("write", [prewarm_, whiten_])
def test_each_is_conditioned_on_what_the_conditioned_network_gives_it(write: Any) -> None:
    model = net()
    write(model, IMAGES, layers=2, patches_per_image=9, scale=0.2, seed=3)
    # The stem as alone; the next as a first layer would be, on the stem's activations.
    alone = net()
    write(alone, IMAGES, patches_per_image=9, scale=0.2, seed=3)
    assert torch.equal(model.stem.weight, alone.stem.weight)
    plain = nn.Conv2d(6, 8, 3)
    write(plain, stem_activations(model), patches_per_image=9, scale=0.2, seed=3)
    second: Any = model.block.first
    # The oracle's batch norm is computed in float64: clusters agree to float32's noise.
    torch.testing.assert_close(second.weight[:4], plain.weight[:4], rtol=1e-3, atol=1e-5)
    # On what the fresh network gives, the filters would be others.
    write(plain, stem_activations(net()), patches_per_image=9, scale=0.2, seed=3)
    assert not torch.allclose(second.weight[:4], plain.weight[:4], rtol=1e-2, atol=1e-2)


CONDITIONING = (
    "prewarm", "norm-matched-random", "shuffled-prewarm", "random-patches", "whitening",
    "coates-ng", "dct", "gabor",
)  # fmt: skip


@pytest.mark.parametrize("arm", CONDITIONING)
def test_every_arm_that_writes_filters_takes_layers_and_loaders(arm: str) -> None:
    batches = [IMAGES[:4], (IMAGES[4:], "labels"), torch.zeros(0)]  # the third is never read
    one, other, first = net(), net(), net()
    report = init_(
        one, batches, arm, batches=2, layers=["stem", "block.first"], patches_per_image=9
    )
    init_(other, IMAGES, arm, layers=2, patches_per_image=9)
    init_(first, IMAGES, arm, layers="stem", patches_per_image=9)
    assert (report.layer, report.filters_set) == ("stem, block.first", 3 + 4)
    assert values(one) == values(other)
    assert torch.equal(one.stem.weight, first.stem.weight)
    fresh = values(net())
    changed = {name for name, bits in values(one).items() if bits != fresh[name]}
    assert changed == {"stem.weight", "block.first.weight"}


def test_a_deeper_layer_alone_leaves_the_stem_as_it_is() -> None:
    model = net()
    report = prewarm_(model, IMAGES, layers=["block.first"], patches_per_image=9, scale=0.2, seed=3)
    assert torch.equal(model.stem.weight, net().stem.weight)
    plain = nn.Conv2d(6, 8, 3)
    prewarm_(plain, stem_activations(net()), patches_per_image=9, scale=0.2, seed=3)
    conditioned: Any = model.block.first
    torch.testing.assert_close(conditioned.weight[:4], plain.weight[:4], rtol=1e-3, atol=1e-5)
    assert (report.layer, report.filters_set) == ("block.first", 4)


def test_the_first_layer_counts_from_the_one_that_is_named() -> None:
    model, fresh = net(), values(net())
    prewarm_(model, IMAGES, layers=["stem", "block.first"], patches_per_image=9, scale=0.2)
    changed = {name for name, bits in values(model).items() if bits != fresh[name]}
    assert changed == {"stem.weight", "block.first.weight"}


@pytest.mark.parametrize("training", [True, False])
def test_nothing_but_the_set_filters_changes(training: bool) -> None:
    model = net().train(training)
    model.drop.train(not training)
    model.norm.running_mean.fill_(0.25)  # type: ignore[union-attr]
    before, states = identity(model), global_states()
    prewarm_(model, IMAGES, layers=4, patches_per_image=9, scale=0.2)
    assert identity(model) == before  # running statistics, modes, hooks, objects, strides
    assert global_states() == states


def test_the_same_seed_gives_the_same_bits() -> None:
    one, other, third = net(), net(), net()
    for model, seed in ((one, 1), (other, 1), (third, 2)):
        prewarm_(model, IMAGES, layers=3, patches_per_image=9, scale=0.2, seed=seed)
    assert values(one) == values(other) != values(third)


def test_pixel_rules_hold_for_the_first_layer_only() -> None:
    """From pixels: Otsu or the patch norm. From activations: the documented count."""
    model, given = net(), net()
    pixels = (IMAGES * 255).byte()
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    report = prewarm_(model, pixels, layers=2, mean=mean, std=std)
    assert "patch norm" in report.provenance["patches_per_image"]
    # The same again, the second layer's count and the first one's given as what they were.
    fed = (pixels.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    prewarm_(given, fed, patches_per_image=report.parameters["patches_per_image"])
    assert torch.equal(model.stem.weight, given.stem.weight)
    prewarm_(given, fed, layers=["block.first"], patches_per_image=DEEP_PATCHES)
    deeper: tuple[Any, Any] = (model.block.first, given.block.first)
    torch.testing.assert_close(deeper[0].weight, deeper[1].weight, rtol=1e-3, atol=1e-5)


REFUSED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "0": (0, ("layers=0", "runs 4 convolutions from stem on", "Choose 1 to 4")),
    "5": (5, ("layers=5", "runs 4 convolutions", "or name them")),
    "True": (True, ("layers=True", "expected a dotted name", "or a number")),
    "a number that is none": (2.0, ("layers=2.0", "expected a dotted name", "Leave it out")),
    "none": ([], ("layers=[]", "nothing is not a convolution that runs")),
    "a name that does not run": (
        ["stem", "unused"],
        ("'unused'", f"expected one of {', '.join(ORDER)}"),
    ),
    "a linear layer": (["stem", "fc"], ("'fc' is not a convolution that runs",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_layers_that_are_not_there_are_refused(case: str) -> None:
    asked, fragments = REFUSED[case]
    model = net()
    before, kept = identity(model), values(model)
    with pytest.raises(WarminitError) as caught:
        prewarm_(model, IMAGES, layers=asked, patches_per_image=9)
    assert not [text for text in fragments if text not in str(caught.value)], str(caught.value)
    assert (identity(model), values(model)) == (before, kept)


def dead() -> Net:
    """Its second layer is fed zeros, for the norm's shift is far below what ReLU lets through."""
    model = net()
    nn.init.constant_(model.norm.bias, -1e4)
    return model


def normed() -> Net:
    model = net()
    nn.utils.parametrizations.spectral_norm(model.block.first)  # type: ignore[arg-type]
    return model


def narrow() -> Net:
    model = net()
    model.norm.register_forward_hook(lambda *_: torch.zeros(6, 6, 2, 2))
    model.block.first = nn.Conv2d(6, 8, 5, padding=4)
    return model


IN_THE_SECOND = {
    "no patch differs": (dead, "the input of block.first is constant: every value is 0"),
    "a norm that changes it": (normed, "block.first (ParametrizedConv2d) changes its weight"),
    "images too small": (narrow, "the input of block.first is constant"),
}


@pytest.mark.parametrize("case", IN_THE_SECOND)
def test_an_error_in_the_second_layer_restores_the_first(case: str) -> None:
    build, text = IN_THE_SECOND[case]
    model = build()
    before, kept, states = identity(model), values(model), global_states()
    with pytest.raises(WarminitError) as caught:
        prewarm_(model, IMAGES, layers=2, patches_per_image=9, scale=0.2)
    assert text in str(caught.value)
    assert (identity(model), values(model)) == (before, kept)
    assert global_states() == states


def test_filters_of_every_layer_are_frozen() -> None:
    model = net()
    whiten_(model, IMAGES, layers=2, patches_per_image=9, scale=0.2, trainable=False)
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(IMAGES).square().sum().backward()
    optimizer.step()
    for name, count in (("stem.weight", 3), ("block.first.weight", 4)):
        now = model.state_dict()[name]
        assert torch.equal(now[:count], start[name][:count])
        assert not torch.equal(now[count:], start[name][count:])


@pytest.mark.parametrize("arm", ["norm-matched-random", "random-patches"])
def test_the_controls_go_the_same_way(arm: str) -> None:
    report = init_(net(), IMAGES, arm, layers=2, patches_per_image=9, scale=0.2)
    assert (report.layer, report.filters_set) == ("stem, block.first", 7)
