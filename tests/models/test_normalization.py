"""What runs after the first layer, and the size that whitening filters get by it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from arm_cases import Calls, all_bits, bits, first, make_images, make_net
from warminit import init_
from warminit.errors import WarminitError
from warminit.models.survey import Survey

pytestmark = pytest.mark.usefixtures("one_thread")

Next = tuple[str, bool] | None

IMAGES = make_images(16, 2, 12, 12)


def with_norm(norm: nn.Module) -> nn.Sequential:
    return make_net().insert(1, norm)


def runs_next(model: nn.Module, layer: nn.Module, images: Tensor) -> Next:
    """What is called next, and whether it normalizes."""
    following = Survey(model, images).next_after(layer)
    return None if following is None else (following.name, following.normalizes)


class ScaleNormed(nn.Module):
    """A normalization of another library: told by its name."""

    def forward(self, features: Tensor) -> Tensor:
        return features / features.std()


ScaleNormed.__name__ = "EvoNorm2dS0"


class Standardized(nn.Conv2d):
    """A convolution that normalizes its weight, and not what it gives."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        rows = self.weight.flatten(1)
        weight = F.layer_norm(rows, rows.shape[1:]).view_as(self.weight)
        return F.conv2d(input, weight, self.bias)


class Residual(nn.Module):
    """A block that normalizes what it is fed inside, as pre-activation networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.inside(features)
        return out


class Upside(nn.Module):
    """Its modules are defined in another order than they run in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.net = nn.BatchNorm2d(8), make_net()
        self.net.insert(1, self.norm)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


class Stops(nn.Module):
    """It fails once `net` has run so far: a detector without targets."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.net, self.reached = make_net(), layers

    def forward(self, images: Tensor) -> Tensor:
        self.net[: self.reached](images)
        raise ValueError("targets are needed")


def before_images(norm: nn.Module) -> nn.Sequential:
    return make_net().insert(0, norm)


def weight_normed(net: nn.Sequential) -> nn.Sequential:
    parametrizations.weight_norm(first(net))
    return net


def batch_norm(features: Tensor) -> Tensor:
    return F.batch_norm(features, None, None, training=True)


NORMALIZED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "BatchNorm": ("1", lambda: with_norm(nn.BatchNorm2d(8))),
    "GroupNorm": ("1", lambda: with_norm(nn.GroupNorm(2, 8))),
    "another library's": ("1", lambda: with_norm(ScaleNormed())),
    "layer_norm": ("layer_norm", lambda: with_norm(Calls(lambda x: F.layer_norm(x, x.shape[1:])))),
    "torch.group_norm": ("group_norm", lambda: with_norm(Calls(lambda x: torch.group_norm(x, 2)))),
    "batch_norm": ("batch_norm", lambda: with_norm(Calls(batch_norm)).insert(1, nn.ReLU())),
    "behind the activation": ("2", lambda: make_net().insert(2, nn.InstanceNorm2d(8))),
    "in a block": ("1.0", lambda: with_norm(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()))),
    "in a residual block": ("1.inside.0", lambda: with_norm(Residual())),
    "wherever it was defined": ("norm", Upside),
    "wrapped": ("1", lambda: nn.DataParallel(with_norm(nn.BatchNorm2d(8)))),
}
NOT_NORMALIZED: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "nothing": ("2", make_net),
    "a norm of the images": ("3", lambda: before_images(nn.BatchNorm2d(2))),
    "a norm behind the next layer": ("2", lambda: make_net().insert(3, nn.BatchNorm2d(5))),
    "dropout and pooling": ("4", lambda: with_norm(nn.Dropout()).insert(2, nn.MaxPool2d(2))),
    "a layer that normalizes its weight": ("1", lambda: with_norm(Standardized(8, 8, 1))),
    "a function of the images": ("3", lambda: before_images(Calls(F.instance_norm))),
    "a function behind the next layer": ("2", lambda: make_net().insert(3, Calls(F.instance_norm))),
    "a norm of the weights": ("2", lambda: weight_normed(make_net())),
    "local response normalization": ("3", lambda: with_norm(nn.LocalResponseNorm(3))),
    "what fails later": ("net.2", lambda: Stops(3)),
}


class Spare(nn.Module):
    """Its first convolution is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Conv2d(2, 8, 3)
        self.net = make_net()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


UNKNOWN: dict[str, Callable[[], nn.Module]] = {
    "the only layer": lambda: make_net()[:2],
    "what fails before": lambda: Stops(2),
    "lazy": lambda: nn.Sequential(*list(make_net())[:6], nn.LazyLinear(3)),
}


@pytest.mark.parametrize("case", [*NORMALIZED, *NOT_NORMALIZED])
def test_what_runs_next(case: str) -> None:
    name, make = (NORMALIZED | NOT_NORMALIZED)[case]
    model = make()
    assert runs_next(model, first(model), IMAGES) == (name, case in NORMALIZED)


@pytest.mark.parametrize("case", UNKNOWN)
def test_where_nothing_is_known_to_run_next(case: str) -> None:
    model = UNKNOWN[case]()
    assert runs_next(model, first(model), IMAGES) is None


def test_a_layer_that_is_not_called() -> None:
    model = Spare()
    assert runs_next(model, model.spare, IMAGES) is None
    assert runs_next(model, model.net.get_submodule("0"), IMAGES) == ("net.2", False)


def test_a_first_layer_that_normalizes_its_own_weight() -> None:
    model = make_net()
    model[0] = Standardized(2, 8, 3)
    assert runs_next(model, model[0], IMAGES) == ("2", False)


def test_looking_changes_nothing() -> None:
    model = with_norm(nn.BatchNorm2d(8)).append(nn.Dropout())
    before, state = all_bits(model), torch.get_rng_state()
    runs_next(model, first(model), IMAGES)
    assert all_bits(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def filters_of(model: nn.Module, **options: Any) -> bytes:
    init_(model, IMAGES, "whitening", seed=3, patches_per_image=512, **options)
    return bits(first(model).weight)


@pytest.mark.parametrize("case", [*NORMALIZED, *NOT_NORMALIZED, *UNKNOWN])
def test_the_filters_have_unit_responses_only_where_their_size_stays(case: str) -> None:
    make = UNKNOWN[case] if case in UNKNOWN else (NORMALIZED | NOT_NORMALIZED)[case][1]
    model = make()
    report = init_(model, IMAGES, seed=3)
    unit = case in NOT_NORMALIZED
    assert bits(first(model).weight) == filters_of(make(), **({"scale": "unit"} if unit else {}))
    if unit:
        fed = NOT_NORMALIZED[case][0]
        assert report.parameters["scale"] == "unit"
        assert report.provenance["scale"] == f"no normalization before {fed}"
    else:
        assert report.parameters["scale"] == 0.25
        assert report.provenance["scale"] == "the paper's value for two or more channels"


def test_unit_responses_over_the_images_themselves() -> None:
    model = make_net()
    images = make_images(64, 2, 24, 24)
    count = init_(model, images).filters_set
    responses = F.conv2d(images, first(model).weight[:count])
    deviation = responses.transpose(0, 1).flatten(1).std(1)
    # 8,192 of 30,976 patches: their deviation is that of all to about 1 / sqrt(2 * 8192).
    torch.testing.assert_close(deviation, torch.ones(count), rtol=0.05, atol=0)


@pytest.mark.parametrize("scale", [0.25, "match", "parity"])
def test_a_scale_that_is_given_stays(scale: Any) -> None:
    model = make_net()
    report = init_(model, IMAGES, seed=3, scale=scale)
    assert (report.parameters["scale"], report.provenance["scale"]) == (scale, "given")
    assert bits(first(model).weight) == filters_of(make_net(), scale=scale)


def test_batches_are_read_once() -> None:
    def batches() -> Iterator[Tensor]:
        yield from IMAGES.split(4)

    one, other = make_net(), make_net()
    assert init_(one, batches(), batches=4).parameters["scale"] == "unit"
    init_(other, IMAGES)
    assert bits(first(one).weight) == bits(first(other).weight)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layers": "9"}, "layers='9' is missing"),
        ({"layers": "net.6"}, "layer 'net.6' is a Linear"),
        ({"eps": -1}, "eps=-1:"),
        ({"images": torch.tensor(1.0)}, "images"),
        ({"images": IMAGES[:, :1]}, "images has 1 channels"),
        ({"images": IMAGES[:0]}, "images"),
        ({"images": IMAGES[0, 0]}, "images"),
    ],
)
def test_bad_input_is_told_as_whitening_tells_it(options: dict[str, Any], text: str) -> None:
    images = options.pop("images", IMAGES)
    told = []
    for arm in ("whitening", "whitening-small-head"):
        model = Spare()  # two convolutions take the images: one has to go through
        before = all_bits(model)
        with pytest.raises(WarminitError) as error:
            init_(model, images, arm, **options)
        told.append(str(error.value))
        assert all_bits(model) == before
    assert told[0] == told[1]
    assert told[0].startswith(text)
