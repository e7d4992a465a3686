"""A head that starts small: the factor by hand, which layer is the head, and what is refused."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from arm_cases import Calls, bits, first, make_images, make_net
from warminit import init_
from warminit.errors import WarminitError

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(16, 2, 12, 12)
ARMS = ["small-head", "whitening-small-head"]


def parameters(arm: str, **more: Any) -> dict[str, Any]:
    return more | ({"patches_per_image": 9} if arm == "whitening-small-head" else {})


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
    report = init_(net, IMAGES, arm, seed=0, **parameters(arm, head_scale=0.25))
    expected = 0.25 / math.sqrt(15)
    torch.testing.assert_close(head.weight.abs(), torch.full((3, 5), expected))
    assert bool((head.weight[1] < 0).all())
    assert bits(head.bias) == bias, "the bias may hold the class frequencies"
    assert report.parameters["head_scale"] == 0.25
    assert report.provenance["head_scale"] == f"6.weight x {expected / 2:.3g}"


def test_the_filters_are_those_of_whitening() -> None:
    both, filters, control = make_net(), make_net(), make_net()
    report = init_(both, IMAGES, "whitening-small-head", seed=4, patches_per_image=9, n_filters=3)
    init_(filters, IMAGES, "whitening", seed=4, patches_per_image=9, n_filters=3, scale="unit")
    init_(control, IMAGES, "small-head", seed=4)
    assert bits(first(both).weight) == bits(first(filters).weight)
    assert bits(head_of(both).weight) == bits(head_of(control).weight)
    assert bits(first(control).weight) == bits(first(make_net()).weight)
    assert (report.method, report.layer, report.filters_set) == ("whitening-small-head", "0", 3)


def test_it_is_what_init_does_and_asks_for_no_raw_pixels() -> None:
    one, other = make_net(), make_net()
    report = init_(one, IMAGES)
    init_(other, IMAGES, "whitening-small-head", seed=0, patches_per_image=512)
    assert float(IMAGES.min()) < 0, "standardized: the pixel rules would refuse them"
    assert (report.method, report.parameters["patches_per_image"]) == ("whitening-small-head", 512)
    assert report.provenance["patches_per_image"] == "ceil(8192 / 16 images)"
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
    init_(net, IMAGES, "small-head", seed=0, head_scale=head)
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
    report = init_(net, IMAGES, "small-head", seed=0, head_scale=0.1)
    assert not bool(head_of(net).weight.any())
    assert report.provenance["head_scale"] == "6.weight x 1"


@pytest.mark.parametrize("head", [-0.1, 1.01, float("nan"), float("inf"), True, "0.1", [0.1]])
@pytest.mark.parametrize("arm", ARMS)
def test_an_unusable_share(arm: str, head: Any) -> None:
    net = make_net()
    before = {name: bits(each) for name, each in net.state_dict().items()}
    with pytest.raises(WarminitError, match="expected a number from 0 to 1") as error:
        init_(net, IMAGES, arm, seed=0, **parameters(arm, head_scale=head))
    assert str(error.value).startswith(f"head_scale={head!r}:")
    assert {name: bits(each) for name, each in net.state_dict().items()} == before


@dataclass(slots=True)
class Slots:
    logits: Tensor
    states: tuple[Tensor, ...]
    sparse: Tensor


ENDINGS = {
    "log-softmax": lambda out: F.log_softmax(out, dim=1),
    "a tuple": lambda out: (out, None),
    "a dictionary": lambda out: {"logits": out, "other": out[:, :1]},
    "a first value": lambda out: {"out": out},
    "a dictionary in a tuple": lambda out: ({"logits": (out,)}, 3),
    "a dataclass with slots": lambda out: Slots(out, (), out.to_sparse()),
    "an output object": lambda out: SimpleNamespace(loss=None, logits=out),
}


@pytest.mark.parametrize("end", ENDINGS)
def test_the_head_is_found_whatever_is_made_of_its_output(end: str) -> None:
    model = Ending(ENDINGS[end])
    report = init_(model, IMAGES, "small-head", seed=0)
    assert report.layer == "net.6"
    assert float(head_of(model).weight.detach().std()) < 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8])
def test_an_image_has_the_type_of_the_layers_and_not_of_the_first_parameter(dtype: Any) -> None:
    model = Ending(lambda out: out)
    # It comes first among the parameters: those of the model itself do.
    model.prior = nn.Parameter(torch.ones(3, dtype=dtype), requires_grad=False)
    assert init_(model, IMAGES, "small-head", seed=0).layer == "net.6"


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
    report = init_(one, batches(), "whitening-small-head", seed=0, patches_per_image=9, batches=2)
    init_(other, IMAGES[:8], "whitening-small-head", seed=0, patches_per_image=9)
    assert bits(first(one).weight) == bits(first(other).weight)
    assert bits(head_of(one).weight) == bits(head_of(other).weight)
    assert any("batches" in note for note in report.notes)


class Behind(nn.Module):
    """A net of 3 classes behind which something else is made of its features and its outputs."""

    def __init__(self, last: nn.Module, end: Any) -> None:
        super().__init__()
        net = make_net()
        self.features, self.head, self.last, self.end = net[:6], net[6], last, end

    def forward(self, images: Tensor) -> Any:
        features = self.features(images)
        return self.end(self, features, self.head(features))


def two(join: Any) -> nn.Module:
    return Behind(nn.Linear(5, 3), lambda self, features, out: join(out, self.last(features)))


def tied() -> nn.Module:
    def end(self: Any, _features: Tensor, out: Tensor) -> Tensor:
        result: Tensor = self.last[1](self.last[0](out))
        return result

    model = Behind(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3)), end)
    model.last[1].weight = model.head.weight  # type: ignore[index]
    return model


def normed() -> nn.Module:
    net = make_net()
    parametrizations.weight_norm(head_of(net))
    return net


def held_by_the_model() -> nn.Module:
    model = Ending(lambda out: out)
    model.again = head_of(model).weight
    return model


def stops() -> nn.Module:
    def fail(_: Tensor) -> Tensor:
        raise ValueError("boxes are needed")

    return Ending(fail)


def filled(value: float) -> nn.Module:
    net = make_net()
    with torch.no_grad():
        head_of(net).weight[1, 2] = value
    return net


def expanded() -> nn.Module:
    net = make_net()
    head_of(net).weight = nn.Parameter(torch.ones(3, 1).expand(3, 5))
    return net


def cosine(self: Any, _features: Tensor, out: Tensor) -> Tensor:
    return F.linear(F.normalize(out), self.last.weight)


class Cosine(nn.Linear):
    """Its outputs do not know how large its weight is."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return F.linear(F.normalize(input), F.normalize(self.weight))


def cosine_layer() -> nn.Module:
    return nn.Sequential(*list(make_net().children())[:6], Cosine(5, 3))


def gated() -> nn.Module:
    """Beside the outputs it returns a zero, which is the log-softmax of any one value."""
    return Behind(
        nn.Linear(5, 1),
        lambda self, features, out: {
            "logits": out * self.last(features).sigmoid(),
            "loss": torch.zeros(()),
        },
    )


def sharing_memory() -> nn.Module:
    model = two(lambda out, other: (out, other[:, :2]))
    model.last.weight.data = model.head.weight.data  # type: ignore[union-attr]
    return model


def frozen() -> nn.Module:
    net = make_net()
    head_of(net).requires_grad_(requires_grad=False)
    return net


def lazy() -> nn.Module:
    return nn.Sequential(*list(make_net().children())[:6], nn.LazyLinear(3))


NONE = "linear layers whose output is the model's output: none: expected one as the head"
REFUSED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "no linear layer": (NONE, lambda: make_net()[:5]),
    "a sum": (NONE, lambda: Ending(lambda out: out.sum(1))),
    "the mean of two heads": (NONE, lambda: two(lambda one, other: (one + other) / 2)),
    "two heads": (
        "linear layers whose output is the model's output: head, last: expected one",
        lambda: two(lambda one, other: (one, other)),
    ),
    "a norm behind": (NONE, lambda: make_net().append(nn.LayerNorm(3))),
    "a cosine head": (NONE, lambda: Behind(nn.Embedding(3, 3), cosine)),
    "each place of a map": (
        NONE,
        lambda: Behind(nn.Linear(2, 1), lambda self, *_: self.last(torch.ones(1, 7, 2))),
    ),
    "nothing that is a tensor": (NONE, lambda: Ending(lambda _: None)),
    "used again": (
        "the weight of head is used 2 times for one image",
        lambda: Behind(nn.Identity(), lambda self, features, out: self.head(features) + 0 * out),
    ),
    "a failing pass": (
        "one image of shape (1, 2, 12, 12) fails in the model, so its head is not known",
        stops,
    ),
    "tied": ("the weight of last.1 is shared by head and last.1", tied),
    "held by the model": (
        "the weight of net.6 is shared by (the model itself) and net.6",
        held_by_the_model,
    ),
    "normed": ("the weight of 6 is parametrized", normed),
    "NaN": (NONE, lambda: filled(math.nan)),
    "infinite": (
        "the 15 weights of 6 have the deviation inf: expected a finite number. Initialize the",
        lambda: filled(math.inf),
    ),
    "expanded": ("6 has an expanded weight, shape (3, 5) with strides (1, 0): its va", expanded),
    "changed in place": (NONE, lambda: Ending(lambda out: out.mul_(-2))),
    "a layer that normalizes its weight": (NONE, cosine_layer),
    "a gate beside a zero": (NONE, gated),
    "sharing memory": ("the weight of head is shared by head and last", sharing_memory),
    "frozen": ("the weight of 6 is frozen: expected an unshared weight that trains.", frozen),
    "lazy": ("6.weight is lazy:", lazy),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_without_such_a_head_gets_the_filters_alone(case: str) -> None:
    text, make = REFUSED[case]
    model = make()
    known = {name: each for name, each in model.state_dict().items() if case != "lazy"}
    before = {name: bits(each) for name, each in known.items()}
    with pytest.raises(WarminitError) as error:
        init_(model, IMAGES, "small-head", seed=0)
    assert str(error.value).startswith(text)
    advice = "with torch.no_grad(): model.head.weight.mul_(0.1)."
    assert str(error.value).endswith(advice if case != "expanded" else ".clone() first.")
    assert {name: bits(each) for name, each in known.items()} == before
    report = init_(model, IMAGES, "whitening-small-head", seed=0, patches_per_image=9)
    assert report.notes[-1] == f"the head is unchanged: {error.value}"
    assert report.provenance["head_scale"] == "unchanged"
    assert report.parameters["head_scale"] is None
    changed = {name for name, each in known.items() if bits(each) != before[name]}
    assert len(changed) == (case != "lazy"), "only the first layer's weight"


class FrozenBatchNorm(nn.Module):
    """A normalization of another library: told by its name."""

    def forward(self, features: Tensor) -> Tensor:
        return features / features.std()


class Standardized(nn.Linear):
    """A layer that normalizes its weight, and not what it gives."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return F.linear(input, F.layer_norm(self.weight, [self.in_features]), self.bias)


class PreNorm(nn.Module):
    """A block that normalizes its input, and not what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(5), nn.Linear(5, 5)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.last(self.norm(features))
        return out


NORMALIZED: dict[str, Callable[[], list[nn.Module]]] = {
    "BatchNorm": lambda: [nn.BatchNorm1d(5)],
    "LayerNorm": lambda: [nn.LayerNorm(5)],
    "GroupNorm": lambda: [nn.GroupNorm(1, 5), nn.GELU(), nn.Dropout()],
    "RMSNorm": lambda: [nn.RMSNorm(5)],
    "another library's": lambda: [FrozenBatchNorm()],
    "layer_norm": lambda: [nn.Linear(5, 5), Calls(lambda fed: F.layer_norm(fed, [5])), nn.ReLU()],
    "rms_norm": lambda: [nn.Linear(5, 5), Calls(lambda fed: torch.rms_norm(fed, [5]))],
    "in a block": lambda: [nn.Sequential(nn.Linear(5, 5), nn.Sequential(nn.BatchNorm1d(5)))],
}
NOT_NORMALIZED: dict[str, Callable[[], list[nn.Module]]] = {
    "nothing": list,
    "a layer behind the norm": lambda: [nn.BatchNorm1d(5), nn.Linear(5, 5), nn.ReLU()],
    "a block with a norm inside": lambda: [PreNorm()],
    "a layer that normalizes its weight": lambda: [Standardized(5, 5)],
    "a function of another name": lambda: [Calls(lambda fed: fed + torch.linalg.norm(fed))],
    "an activation": lambda: [nn.ReLU(), nn.Softmax(dim=1)],
}


def fed_by(layers: list[nn.Module]) -> nn.Module:
    net = list(make_net().children())
    return nn.Sequential(*net[:6], *layers, net[6]).eval()


@pytest.mark.parametrize("case", NORMALIZED)
def test_a_head_behind_a_normalization_is_left_unless_asked_for(case: str) -> None:
    left, asked, control = (fed_by(NORMALIZED[case]()) for _ in range(3))
    before = bits(head_of(left).weight)
    report = init_(left, IMAGES)
    assert bits(head_of(left).weight) == before
    assert (report.parameters["head_scale"], report.provenance["head_scale"]) == (
        None,
        "unchanged",
    )
    name = next(name for name, each in left.named_modules() if each is head_of(left))
    assert re.fullmatch(
        rf"{name} is unchanged: [\w.]+ normalizes its input\. Pass head_scale=0\.1 to "
        r"make it small anyway\.", report.notes[-1]
    )  # fmt: skip
    told = re.search(r"is unchanged: ([\w.]+) normalizes", report.notes[-1])
    assert told is not None
    assert told[1] == case or "Norm" in type(left.get_submodule(told[1])).__name__
    assert init_(asked, IMAGES, head_scale=0.1).parameters["head_scale"] == 0.1
    alone = init_(control, IMAGES, "small-head")
    assert bits(head_of(control).weight) == before
    assert (alone.filters_set, alone.parameters, alone.provenance["head_scale"], alone.notes) == (
        0, {"head_scale": None}, "unchanged", report.notes[-1:]
    )  # fmt: skip
    alone = init_(control, IMAGES, "small-head", head_scale=0.1)
    assert bits(head_of(asked).weight) == bits(head_of(control).weight) != before
    assert (alone.filters_set, alone.parameters, alone.notes) == (3, {"head_scale": 0.1}, ())


@pytest.mark.parametrize("case", NOT_NORMALIZED)
def test_any_other_head_is_made_small(case: str) -> None:
    model = fed_by(NOT_NORMALIZED[case]())
    before = bits(head_of(model).weight)
    assert init_(model, IMAGES).parameters["head_scale"] == 0.1
    assert bits(head_of(model).weight) != before


def test_a_model_that_is_its_own_head_is_named() -> None:
    model = nn.Linear(4, 3)
    report = init_(model, torch.randn(2, 1, 4), "small-head", seed=0)
    assert report.layer == "(the model itself)"


@pytest.mark.parametrize("images", [IMAGES[:0], IMAGES * float("nan"), IMAGES[0, 0], [], "images"])
def test_unusable_images_are_told_before_any_pass(images: Any) -> None:
    net = make_net()
    with pytest.raises(WarminitError, match=r"image|batch"):
        init_(net, images, "small-head", seed=0)


def test_a_buffer_without_values_is_left() -> None:
    net = make_net()
    net.register_buffer("later", torch.empty(3, device="meta"))
    assert init_(net, IMAGES, "small-head", seed=0).layer == "6"


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
