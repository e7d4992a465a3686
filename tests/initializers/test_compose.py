"""Several methods in one call: what each does alone, all or nothing, in two passes at most."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import global_states, identity, values
from body_cases import Attention, Transformer, conv_mixer, images
from warminit import InitReport, WarminitError, init_
from warminit.initializers import get_method, keywords, taken_by
from warminit.lab.networks.simple import ResNet20, SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")

HERE = "test_compose"
IMAGES = images(8, 3, 16, 16)


class Scale(nn.Module):
    """A learned scale of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((12,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def scaled() -> nn.Module:
    """Build a transformer whose residual branch ends in a learned scale."""
    attention = nn.Sequential(Attention(12, 3, "fused"), Scale())
    return nn.Sequential(nn.AvgPool2d(2), Transformer(attention))


RESNET = partial(ResNet20, 3, 5)


def build(kind: Callable[[], nn.Module] = RESNET) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return kind()


def half(model: nn.Module, batch: Any, *, seed: int, factor: float = 0.5) -> InitReport:
    """A method of a user's own, for a layer that no other method sets."""
    assert isinstance(batch, Tensor)
    head: Any = [each for each in model.modules() if isinstance(each, nn.Linear)][-1]
    with torch.no_grad():
        head.bias.fill_(factor)
    return InitReport("half", "head", "here", 1, 1, {"factor": factor}, seed, 0.0)


def breaks(model: nn.Module, batch: Tensor, *, seed: int) -> InitReport:
    """Write, leave a hook, and raise."""
    weight: Any = next(model.parameters())
    weight.data.fill_(7)
    weight.register_hook(lambda gradient: gradient)
    raise KeyError("in the user's own code")


CASES: dict[str, tuple[Callable[[], nn.Module], list[str], int]] = {
    "stem-body": (RESNET, ["whitening", "dirac"], 0),
    "stem-body-ends": (RESNET, ["whitening", "dirac", "zero-residual"], 2),
    "stem-attention": (partial(SmallViT, 3, (16, 16), 5), ["whitening", "mimetic"], 1),
    "stem-attention-ends": (scaled, ["embed-scale", "mimetic", "zero-residual"], 2),
    "stem-depthwise": (conv_mixer, ["prewarm", "convcov"], 1),
}


@pytest.mark.parametrize("case", CASES)
def test_what_each_does_alone_in_two_passes_at_most(case: str) -> None:
    kind, names, passes = CASES[case]
    alone, together = build(kind), build(kind)
    reports = [init_(alone, IMAGES, name, seed=4) for name in names]
    kept, states, given, seen = identity(together), global_states(), IMAGES.clone(), list[int]()
    handle = together.register_forward_pre_hook(lambda _module, fed: seen.append(len(fed[0])))
    report = init_(together, IMAGES, names, seed=4)
    handle.remove()
    assert seen == [1] * passes
    assert values(together) == values(alone)
    assert identity(together) == kept
    assert global_states() == states
    assert torch.equal(given, IMAGES)
    assert report.method == "+".join(names)
    assert [each.method for each in report.parts] == names
    assert [each.layer for each in report.parts] == [each.layer for each in reports]
    assert report.filters_set == sum(each.filters_set for each in reports)
    assert report.layer == ", ".join(each.layer for each in reports)


@pytest.mark.parametrize("last", ["mimetic", f"{HERE}:breaks"])
def test_nothing_is_left_where_the_last_fails(last: str) -> None:
    """Neither a weight nor the hook by which whitening freezes its filters."""
    model: Any = build()
    before, kept = values(model), identity(model)
    names = ["whitening", "dirac", last]
    with pytest.raises((WarminitError, KeyError)):
        init_(model, IMAGES, names, whitening__trainable=False)
    assert values(model) == before
    assert identity(model) == kept
    model(IMAGES).sum().backward()
    assert bool(model.conv1.weight.grad.flatten(1).any(1).all())


def test_a_hook_of_the_callers_stays_where_the_last_fails() -> None:
    model: Any = build()
    called: list[int] = []
    model.conv1.weight.register_hook(lambda _gradient: called.append(1))
    with pytest.raises(WarminitError, match="attention"):
        init_(model, IMAGES, ["whitening", "mimetic"], whitening__trainable=False)
    model(IMAGES).sum().backward()
    assert called == [1]
    assert bool(model.conv1.weight.grad.flatten(1).any(1).all())


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["whitening", "prewarm"], "whitening and prewarm both set the stem"),
        (["dirac", "whitening", "convcov"], "dirac and convcov both set the convolutions"),
        (["small-head", "whitening-small-head"], "both set the head"),
        (["mimetic", "impulse"], "mimetic and impulse both set the attention"),
        (["zero-residual", "lsuv"], "zero-residual and lsuv both set the same layers"),
        (["dirac", "dirac"], "dirac and dirac both set the same"),
        (["whitening", "diracs"], "Did you mean 'dirac'?"),
        ([], "method=[]: expected a name"),
        (["whitening", 3], "method=['whitening', 3]: expected a name"),
        ("whitening+", "method='' is unknown"),
        (3, "method=3: expected a name"),
    ],
)
def test_lists_that_are_refused_before_anything_is_read(names: Any, text: str) -> None:
    def unread() -> Iterator[Tensor]:
        raise AssertionError("the images are read")
        yield IMAGES

    with pytest.raises(WarminitError, match=re.escape(text)):
        init_(build(), unread(), names)


def test_two_that_write_one_parameter_are_seen_where_they_do() -> None:
    """The last layer of a transformer's attention branch is its projection."""
    model = build(partial(SmallViT, 3, (16, 16), 5))
    before = values(model)
    with pytest.raises(WarminitError, match=r"mimetic and zero-residual both write .*proj\.weight"):
        init_(model, IMAGES, ["whitening", "mimetic", "zero-residual"])
    assert values(model) == before


def test_options_say_whose_they_are() -> None:
    names = ["whitening", "zero-residual", f"{HERE}:half"]
    model: Any = build()
    report = init_(
        model, IMAGES, names, whitening__n_filters=4, zero_residual__value=0.2, half__factor=3.0
    )
    assert report.parts[0].filters_set == 4
    assert torch.equal(model.stage1[0].bn2.weight, torch.full((16,), 0.2))
    assert torch.equal(model.fc.bias, torch.full((5,), 3.0))
    assert report.parameters["whitening__n_filters"] == 4
    assert report.parameters["zero_residual__value"] == 0.2
    assert report.parameters["half__factor"] == 3.0


@pytest.mark.parametrize(
    "option", ["n_filters", "content", "whitening__value", "whitening__mean", "lsuv__tol", "x"]
)
def test_options_of_no_method_of_the_list(option: str) -> None:
    method = get_method("whitening+dirac")
    model = build()
    before = values(model)
    for call in (partial(init_, method="whitening+dirac"), partial(method, seed=0)):
        with pytest.raises(WarminitError, match=f"{option}.*whitening__n_filters"):
            call(model, IMAGES, **{option: 1})
    assert values(model) == before


def test_what_is_about_the_images_is_given_once() -> None:
    """Pixels with their mean and std, in batches that can be read once."""
    pixels = (torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 255).byte()
    about: Any = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.2]}
    alone, together = build(), build()
    report = init_(alone, pixels, "whitening", **about)
    init_(alone, pixels, "zero-residual", **about)
    batches = iter([pixels[:4], pixels[4:], pixels])
    composed = init_(together, batches, ["whitening", "zero-residual"], batches=2, **about)
    assert values(together) == values(alone)
    assert composed.parts[0].parameters == report.parameters


def test_a_wrapped_model() -> None:
    plain, inner = build(), build()
    init_(plain, IMAGES, ["whitening", "dirac"])
    init_(nn.DataParallel(inner), IMAGES, ["whitening", "dirac"])
    assert values(inner) == values(plain)


def test_the_report_prints_each_part() -> None:
    report = init_(build(), IMAGES, ["whitening", "dirac"], dirac__content="random")
    head, *parts = str(report).split("\n\n")
    assert head.startswith("whitening+dirac: ")
    assert parts == [str(each) for each in report.parts]
    assert report.notes == tuple(f"whitening: {note}" for note in report.parts[0].notes)


def test_what_a_list_takes() -> None:
    method = get_method(f"whitening+{HERE}:half")
    names, any_other = keywords(method)
    assert {"batches", "mean", "std", "whitening__n_filters", "half__factor"} <= names
    assert not any_other
    given = {"patches_per_image": 30, "algorithm": "paper", "mean": 0.5, "factor": 2}
    wanted = {"mean": 0.5, "whitening__patches_per_image": 30, "half__factor": 2}
    assert taken_by(method, given) == wanted
