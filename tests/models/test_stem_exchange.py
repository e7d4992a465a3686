"""models of all kinds, another number of channels -> they run on it, or are bit-identical."""

import copy
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from arm_guarantees import bits, global_states
from warminit import WarminitError, adapt_stem_

pytestmark = pytest.mark.usefixtures("one_thread")


def state(model: nn.Module) -> dict[str, Any]:
    return {name: bits(value) for name, value in model.state_dict().items()}


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, **options), nn.ReLU(), nn.Conv2d(4, 3, 3))


# ---------------------------------------------------------------- what is kept
def test_only_the_first_layer_changes_and_keeps_its_kind() -> None:
    model = small().to(memory_format=torch.channels_last)
    model[0].weight.requires_grad = False
    before, states = state(model), global_states()
    report = adapt_stem_(model, in_channels=5)
    assert global_states() == states
    assert {name for name, value in state(model).items() if before[name] != value} == {"0.weight"}
    conv: Any = model[0]
    assert (conv.in_channels, conv.weight.shape[1], conv.weight.requires_grad) == (5, 5, False)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.training
    assert any("optimizer" in note for note in report.notes)


def test_the_parameter_stays_where_its_shape_does() -> None:
    model = small()
    held, before = model[0].weight, model[0].weight.detach().clone()
    bands: dict[str | int, int] = {"red": 2, 1: 1, "blue": 0}
    report = adapt_stem_(model, in_channels=3, method="copy", bands=bands)
    assert model[0].weight is held
    assert torch.equal(held, before.flip(1))
    assert not any("optimizer" in note for note in report.notes)


def test_an_optimizer_made_afterwards_trains_the_new_channels() -> None:
    model = small()
    adapt_stem_(model, in_channels=4)
    before = model[0].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.randn(2, 4, 8, 8)).sum().backward()
    optimizer.step()
    assert (model[0].weight != before).any(0).all()


def test_attributes_agree_afterwards_where_they_did_not_before() -> None:
    model = small()
    model[0].weight = nn.Parameter(torch.randn(4, 6, 3, 3))  # by hand, and no attribute with it
    adapt_stem_(model, in_channels=5)
    assert (model[0].in_channels, model[0].weight.shape[1]) == (5, 5)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_model_may_be_the_layer_itself(dims: int) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](2, 3, 3)
    adapt_stem_(conv, in_channels=1)
    assert conv(torch.zeros(1, 1, *[8] * dims)).shape[1] == 3


class Beside(nn.Module):
    """Two convolutions take the image, and a third of the same shape does not."""

    def __init__(self) -> None:
        super().__init__()
        self.later = nn.Conv2d(3, 3, 3, padding=1)
        self.one, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.in_chans, self.config = 3, SimpleNamespace(num_channels=3)

    def forward(self, x: Tensor) -> Any:
        return self.later(self.one(x) + self.other(x))


def test_layers_side_by_side_are_adapted_together() -> None:
    model = Beside()
    report = adapt_stem_(model, in_channels=6)
    assert set(report.layer.split(", ")) == {"one", "other"}
    assert (model.later.in_channels, model.in_chans, model.config.num_channels) == (3, 6, 6)
    assert model(torch.zeros(1, 6, 8, 8)).shape[1] == 3


def test_a_frozen_backbone_is_adapted_too() -> None:
    model = small()
    model[0].requires_grad_(requires_grad=False)
    assert adapt_stem_(model, in_channels=4).layer == "0"


class Preactivated(nn.Module):
    """What the first layer gives goes into a BatchNorm and around it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Any:
        x = self.conv(x)
        return x + self.norm(x)


def test_a_running_mean_takes_the_constant_only_where_nothing_goes_around_it() -> None:
    model = Preactivated()
    adapt_stem_(model, torch.rand(4, 4, 8, 8) + 2, method="least-squares")
    assert model.conv.bias is not None
    assert not model.norm.running_mean.any()  # type: ignore[union-attr]  # a buffer of BatchNorm


# ---------------------------------------------------------------- what is refused
class Counts(nn.Module):
    """Takes three channels, and says so only when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.ones(3, 1, 1))
        self.config = SimpleNamespace(num_channels=3)

    def forward(self, x: Tensor) -> Any:
        return self.conv(x * self.scale)


class Shuffled(nn.Module):
    """Space to depth before its convolution, as TResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 4, 3)

    def forward(self, x: Tensor) -> Any:
        return self.conv(nn.functional.pixel_unshuffle(x, 2))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "has 2 groups, so its filters"),
        (parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), "parametrized"),
        (tied(), "shares"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), "Linear"),
        (nn.LazyConv2d(4, 3), "lazy"),
        (Counts(), "counts channels"),
        (Shuffled(), "not those of the images"),
        (nn.ReLU(), "no convolution"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_exchanged_is_refused(model: nn.Module, says: str) -> None:
    attributes = {name: copy.copy(vars(module)) for name, module in model.named_modules()}
    parameters = dict(model.named_parameters())
    with pytest.raises(WarminitError, match=says):
        adapt_stem_(model, in_channels=5)
    for name, module in model.named_modules():
        assert vars(module).keys() == attributes[name].keys()
        assert getattr(module, "in_channels", 0) == attributes[name].get("in_channels", 0)
    assert all(each is parameters[name] for name, each in model.named_parameters())
    assert getattr(model, "config", SimpleNamespace(num_channels=3)).num_channels == 3


def test_a_wrapper_that_holds_the_old_weight_is_refused() -> None:
    kind = nn.parallel.DistributedDataParallel
    wrapped = kind.__new__(kind)  # which would want a process group
    nn.Module.__init__(wrapped)
    wrapped.module = small()
    with pytest.raises(WarminitError, match="before you wrap it"):
        adapt_stem_(wrapped, in_channels=4)


def test_a_deep_layer_is_refused_by_name() -> None:
    with pytest.raises(WarminitError, match="not those of the images"):
        adapt_stem_(small(), in_channels=5, layers="2")


def test_filters_beyond_half_precision_are_refused() -> None:
    model = small().half()
    with torch.no_grad():
        model[0].weight.fill_(60_000)
    before = state(model)
    with pytest.raises(WarminitError, match="float16"):
        adapt_stem_(model, in_channels=1)
    assert state(model) == before
    assert model[0].in_channels == 3


# ---------------------------------------------------------------- zoos
@pytest.fixture
def zoos(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("timm") is None or find_spec("torchvision") is None:
        pytest.skip("timm or torchvision is not installed")
    import zoo_setup

    zoo_setup.prepare()


ZOO_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@ZOO_WARNINGS
@pytest.mark.usefixtures("zoos")
@pytest.mark.parametrize(
    ("name", "size"), [("resnet10t", 64), ("vit_tiny_patch16_224", 224), ("repvgg_a0", 64)]
)
def test_a_timm_model_is_what_timm_builds(name: str, size: int) -> None:
    import timm
    from timm.models import adapt_input_conv

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2)
    before, config = model.state_dict(), model.pretrained_cfg
    before = {key: value.clone() for key, value in before.items()}
    report = adapt_stem_(model, in_channels=4)
    built = timm.create_model(name, num_classes=2, in_chans=4)
    told = config["first_conv"]
    for layer in [told] if isinstance(told, str) else told:
        key = f"{layer}.weight"
        assert layer in report.layer
        assert torch.equal(model.state_dict()[key], adapt_input_conv(4, before.pop(key)))
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    built.load_state_dict(model.state_dict())
    assert model(torch.zeros(2, 4, size, size)).shape == (2, 2)
    assert model.pretrained_cfg is model.default_cfg
    assert model.pretrained_cfg["input_size"] == (4, *config["input_size"][1:])
    assert model.pretrained_cfg["mean"] == (*config["mean"], config["mean"][0])
    assert config["input_size"][0] == 3  # the dict that it had is as it was


@ZOO_WARNINGS
@pytest.mark.usefixtures("zoos")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 2, 4, 6, 13])
def test_repeat_is_what_timm_does_to_the_bit(channels: int, dtype: torch.dtype) -> None:
    from timm.models import adapt_input_conv

    model = small().to(dtype)
    meant = adapt_input_conv(channels, model[0].weight.detach().clone())
    adapt_stem_(model, in_channels=channels)
    assert model[0].weight.dtype == dtype
    assert torch.equal(model[0].weight, meant)


@ZOO_WARNINGS
@pytest.mark.usefixtures("zoos")
def test_mean_and_std_that_are_given_go_into_the_metadata() -> None:
    import timm

    model = timm.create_model("resnet10t")
    images = torch.rand(4, 2, 32, 32)
    adapt_stem_(model, images, method="least-squares", mean=[0.1, 0.2], std=[0.3, 0.485])
    assert model.pretrained_cfg["mean"] == (0.1, 0.2)
    assert model.pretrained_cfg["std"] == (0.3, 0.485)
    assert "conv1.0.bias" not in model.state_dict()


@ZOO_WARNINGS
@pytest.mark.usefixtures("zoos")
def test_transformers_configuration_follows() -> None:
    if find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers import ViTConfig, ViTModel

    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = ViTModel(ViTConfig(image_size=32, intermediate_size=8, **sizes))
    adapt_stem_(model, in_channels=2)
    assert model.config.num_channels == 2
    assert ViTModel(model.config)(torch.zeros(1, 2, 32, 32)).last_hidden_state.shape[0] == 1
    assert model(torch.zeros(1, 2, 32, 32)).last_hidden_state.shape[0] == 1
