"""A head that starts small: the factor by hand, which layer is the head, and what is refused."""

import math
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from arm_cases import bits, first, make_images, make_net
from warminit import init_
from warminit.errors import WarminitError

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 2, 12, 12)
ARMS = ["small-head", "whitening-small-head"]


def parameters(arm: str, **more: Any) -> dict[str, Any]:
    return more | ({"n_patches": 9} if arm == "whitening-small-head" else {})


def head_of(net: nn.Module) -> nn.Linear:
    return [module for module in net.modules() if isinstance(module, nn.Linear)][-1]


class Ending(nn.Module):
    """A net of 3 classes, and what becomes of its outputs."""

    def __init__(self, end: Any) -> None:
        super().__init__()
        self.net, self.end = make_net(), end

    def forward(self, images: Tensor) -> Any:
        return self.end(self.net(images))


@pytest.mark.parametrize("arm", ARMS)
def test_the_factor_by_hand(arm: str) -> None:
    net = make_net()
    head = head_of(net)
    # Root mean square 2 over 15 values of 5 inputs: torch's default has 1 / sqrt(15).
    with torch.no_grad():
        head.weight.copy_(torch.full((3, 5), 2.0) * torch.tensor([[1.0], [-1.0], [1.0]]))
    bias = bits(head.bias)
    report = init_(net, IMAGES, arm, seed=0, **parameters(arm, head=0.25))
    expected = 0.25 / math.sqrt(15)
    torch.testing.assert_close(head.weight.abs(), torch.full((3, 5), expected))
    assert bool((head.weight[1] < 0).all())
    assert bits(head.bias) == bias, "the bias may hold what is known of the classes"
    assert report.parameters["head"] == 0.25
    assert report.provenance["head"] == f"6.weight x {expected / 2:.3g}"


def test_the_filters_are_those_of_whitening() -> None:
    both, filters, control = make_net(), make_net(), make_net()
    report = init_(both, IMAGES, "whitening-small-head", seed=4, n_patches=9, n_filters=3)
    init_(filters, IMAGES, "whitening", seed=4, n_patches=9, n_filters=3)
    init_(control, IMAGES, "small-head", seed=4)
    assert bits(first(both).weight) == bits(first(filters).weight)
    assert bits(head_of(both).weight) == bits(head_of(control).weight)
    assert bits(first(control).weight) == bits(first(make_net()).weight)
    assert (report.arm, report.layer, report.filters_set) == ("whitening-small-head", "0", 3)


def test_it_is_what_init_does_and_asks_for_no_raw_pixels() -> None:
    one, other = make_net(), make_net()
    report = init_(one, IMAGES)
    init_(other, IMAGES, "whitening-small-head", seed=0, n_patches=32)
    assert float(IMAGES.min()) < 0, "standardized: the pixel rules would refuse them"
    assert (report.arm, report.parameters["n_patches"]) == ("whitening-small-head", 32)
    assert report.provenance["n_patches"].startswith("no rule")
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert bits(mine) == bits(theirs)


@pytest.mark.parametrize("arm", ARMS)
def test_a_second_call_leaves_the_head(arm: str) -> None:
    net = make_net()
    init_(net, IMAGES, arm, seed=0, **parameters(arm))
    before = head_of(net).weight.detach().clone()
    init_(net, IMAGES, arm, seed=0, **parameters(arm))
    torch.testing.assert_close(head_of(net).weight, before, rtol=1e-6, atol=0)


@pytest.mark.parametrize("head", [0, 0.0, 1, 1.0])
def test_the_ends_of_the_range(head: float) -> None:
    net = make_net()
    before = head_of(net).weight.detach().clone()
    init_(net, IMAGES, "small-head", seed=0, head=head)
    after = head_of(net).weight.detach()
    if head == 0:
        assert not bool(after.any())
    else:
        assert float(after.square().mean().sqrt()) <= 1 / math.sqrt(15) + 1e-7
        torch.testing.assert_close(F.normalize(after.flatten(), dim=0),
                                   F.normalize(before.flatten(), dim=0))  # fmt: skip


def test_a_head_of_zeros_keeps_its_bits() -> None:
    net = make_net()
    nn.init.zeros_(head_of(net).weight)
    report = init_(net, IMAGES, "small-head", seed=0)
    assert not bool(head_of(net).weight.any())
    assert report.provenance["head"] == "6.weight x 1"


@pytest.mark.parametrize("head", [-0.1, 1.01, float("nan"), float("inf"), True, "0.1", None])
@pytest.mark.parametrize("arm", ARMS)
def test_an_unusable_share(arm: str, head: Any) -> None:
    net = make_net()
    before = {name: bits(each) for name, each in net.state_dict().items()}
    with pytest.raises(WarminitError, match="a number from 0 to 1 is needed") as error:
        init_(net, IMAGES, arm, seed=0, **parameters(arm, head=head))
    assert str(error.value).startswith(f"head={head!r};")
    assert {name: bits(each) for name, each in net.state_dict().items()} == before


ENDINGS = {
    "log-softmax": lambda out: F.log_softmax(out, dim=1),
    "a tuple": lambda out: (out, None),
    "a dictionary": lambda out: {"logits": out, "other": out[:, :1]},
    "a first value": lambda out: {"out": out},
    "an output object": lambda out: SimpleNamespace(loss=None, logits=out),
}


@pytest.mark.parametrize("end", ENDINGS)
def test_the_head_is_found_whatever_is_made_of_its_output(end: str) -> None:
    model = Ending(ENDINGS[end])
    report = init_(model, IMAGES, "small-head", seed=0)
    assert report.layer == "net.6"
    assert float(head_of(model).weight.detach().std()) < 0.1


def test_the_layer_that_runs_last_is_the_head_wherever_it_was_defined() -> None:
    class Upside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.stem = nn.Linear(8, 3), nn.Conv2d(2, 8, 3)
            self.hidden = nn.Linear(8, 8)

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.head(self.hidden(self.stem(images).mean((2, 3))))
            return out

    model = Upside()
    hidden = bits(model.hidden.weight)
    assert init_(model, IMAGES, "small-head", seed=0).layer == "head"
    assert bits(model.hidden.weight) == hidden


# torch's own, as `torch.compile` is first used.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("wrap", [nn.DataParallel, partial(torch.compile, backend="eager")])
def test_wrapped_models(wrap: Any) -> None:
    net = make_net()
    assert init_(wrap(net), IMAGES, "small-head", seed=0).layer == "6"


def test_batches_of_a_generator_are_read_once() -> None:
    def batches() -> Iterator[Tensor]:
        yield from IMAGES.split(4)

    one, other = make_net(), make_net()
    report = init_(one, batches(), "whitening-small-head", seed=0, n_patches=9, batches=2)
    init_(other, IMAGES[:8], "whitening-small-head", seed=0, n_patches=9)
    assert bits(first(one).weight) == bits(first(other).weight)
    assert bits(head_of(one).weight) == bits(head_of(other).weight)
    assert any("batches" in note for note in report.notes)


def tied() -> nn.Module:
    net, again = make_net(), nn.Linear(5, 3)
    again.weight = head_of(net).weight
    return net.append(nn.Sequential(nn.Linear(3, 5), again))


def normed() -> nn.Module:
    net = make_net()
    parametrizations.weight_norm(head_of(net))
    return net


def stops() -> nn.Module:
    def fail(_: Tensor) -> Tensor:
        raise ValueError("boxes are needed")

    return Ending(fail)


REFUSED = {
    "the last layer that runs is 2, a Conv2d; an nn.Linear is needed": lambda: make_net()[:5],
    "the model gives 1 values an image and net.6, the last layer that runs, 3": (
        lambda: Ending(lambda out: out.sum(1))
    ),
    "the model gives None values an image": stops,
    "the weight of 7.1 is shared by 6 and 7.1": tied,
    "the weight of 6 is parametrized": normed,
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_model_without_such_a_head_gets_the_filters_alone(text: str) -> None:
    model = REFUSED[text]()
    before = {name: bits(each) for name, each in model.state_dict().items()}
    with pytest.raises(WarminitError) as error:
        init_(model, IMAGES, "small-head", seed=0)
    assert str(error.value).startswith(text)
    assert str(error.value).endswith("Use an arm without a small head, such as whitening.")
    assert {name: bits(each) for name, each in model.state_dict().items()} == before
    report = init_(model, IMAGES, "whitening-small-head", seed=0, n_patches=9)
    assert report.notes[-1] == f"the head is left as it is: {error.value}"
    assert report.provenance["head"] == "left as it is"
    changed = {n for n, each in model.state_dict().items() if bits(each) != before[n]}
    assert len(changed) == 1, "only the first layer's weight"


def test_the_first_images_only_look_for_the_head() -> None:
    """Buffers, modes and generators are as they were, and no gradient is left behind."""
    net = make_net()
    net.insert(1, nn.BatchNorm2d(8))
    net.insert(2, nn.Dropout())
    states = torch.get_rng_state()
    before = {name: bits(each) for name, each in net.named_buffers()}
    init_(net, IMAGES, "small-head", seed=0)
    assert {name: bits(each) for name, each in net.named_buffers()} == before
    assert torch.equal(torch.get_rng_state(), states)
    assert all(module.training for module in net.modules())
    assert all(each.grad is None for each in net.parameters())
