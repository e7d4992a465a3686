"""The default by architecture: told by the computation, in one pass, and said in the report."""

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from arm_guarantees import global_states, identity, values
from body_cases import Attention, Residual, Transformer, conv_mixer, images
from warminit import WarminitError, init_
from warminit.initializers.compose import get_method
from warminit.initializers.default import DEFAULTS, NOT_SEEN, Default
from warminit.lab.networks.simple import ResNet20, SimpleCNN, SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
IMAGES = images(8, 3, 16, 16)


def plain(*more: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), *more, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    )  # fmt: skip


def conv(groups: int = 1, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(8, 8, size, padding=size // 2, groups=groups)


class Gated(nn.Module):
    """Squeeze and excitation: what it multiplies are no matrices."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class OneHead(nn.Module):
    """Attention written out, without a module that has a known name."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        weights = (tokens @ tokens.transpose(1, 2)).softmax(2)
        out: Tensor = (weights @ tokens).transpose(1, 2).reshape(x.shape)
        return out


ARCHITECTURES: dict[str, tuple[nn.Module, str]] = {
    "SimpleCNN": (SimpleCNN(3, (16, 16), 5), "plain, normalized"),
    "SimpleCNN without": (SimpleCNN(3, (16, 16), 5, batch_norm=False), "plain, not normalized"),
    "gates": (plain(Gated()), "plain, not normalized"),
    "groups": (plain(conv(groups=4)), "plain, not normalized"),
    "1 x 1 in groups": (plain(conv(groups=8, size=1)), "plain, not normalized"),
    "softmax at the end": (plain().append(nn.Softmax(1)), "plain, not normalized"),
    "ResNet-20": (ResNet20(3, 5), "residual, normalized"),
    "residual": (plain(Residual(conv())), "residual, not normalized"),
    "twins": (plain(Residual(conv(), conv())), "plain, not normalized"),
    "depthwise": (plain(conv(groups=8)), "depthwise, not normalized"),
    "ConvMixer": (conv_mixer(), "depthwise, normalized"),
    "SmallViT": (SmallViT(3, (16, 16), 5), "attention, normalized"),
    "multihead": (
        nn.Sequential(nn.AvgPool2d(2), Transformer(nn.MultiheadAttention(12, 3))),
        "attention, normalized",
    ),
    "attention": (
        nn.Sequential(nn.AvgPool2d(2), Transformer(Attention(12, 3, "interleaved"))),
        "attention, normalized",
    ),
    "written out": (plain(Residual(OneHead())), "attention, not normalized"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_computation_tells_the_row_in_one_pass(name: str) -> None:
    fresh, wanted = ARCHITECTURES[name]
    model = copy.deepcopy(fresh)
    seen: list[int] = []
    kept, states = identity(model), global_states()
    stem: Any = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    handle = stem.register_forward_hook(lambda _module, fed, _out: seen.append(len(fed[0])))
    report = init_(model, IMAGES, seed=2)
    handle.remove()
    assert report.parameters["default_for"] == wanted
    # The outputs of an unnormalized head are measured besides, of eight images.
    assert seen in ([1], [1, 8])
    assert identity(model) == kept
    assert global_states() == states


@pytest.mark.parametrize("name", ["SimpleCNN", "ResNet-20", "SmallViT", "residual"])
def test_the_bits_and_the_rest_of_the_report_are_those_of_the_rows_method(name: str) -> None:
    fresh, wanted = ARCHITECTURES[name]
    model = copy.deepcopy(fresh)
    row = next(each for each in DEFAULTS if each.architecture == wanted)
    start = {key: each.clone() for key, each in model.state_dict().items()}
    report = init_(model, IMAGES, seed=2, n_filters=4)
    chosen = values(model)
    model.load_state_dict(start)
    named = init_(model, IMAGES, row.method, seed=2, n_filters=4)
    assert values(model) == chosen
    assert report.method == named.method == row.method
    assert report.notes == named.notes
    assert {**named.parameters, "default_for": wanted} == report.parameters
    evidence = f"compared in docs/results/{row.evidence}" if row.evidence else "not compared yet"
    assert report.provenance["default_for"] == evidence


def test_the_table() -> None:
    kinds = ("plain", "residual", "depthwise", "attention")
    wanted = {f"{kind}, {no}normalized" for kind in kinds for no in ("", "not ")} | {NOT_SEEN}
    assert {row.architecture for row in DEFAULTS} == wanted
    assert len(DEFAULTS) == len(wanted)
    for row in DEFAULTS:
        get_method(row.method)
        assert not row.evidence or (ROOT / "docs/results" / row.evidence / "runs.csv").is_file()


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs/initializers.md").read_text(encoding="utf-8")
    for row in DEFAULTS:
        link = f"[{row.evidence}](results/{row.evidence}/README.md)"
        compared = link if row.evidence else "not compared yet"
        assert f"| {row.architecture} | `{row.method}` | {compared} |\n" in page


def test_another_row_is_another_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of methods, each of which gets the survey that chose it."""
    rows = (Default("residual, normalized", "whitening+dirac+zero-residual", ""), *DEFAULTS[:2])
    monkeypatch.setattr("warminit.initializers.default.DEFAULTS", rows)
    model, other = ResNet20(3, 5), ResNet20(3, 5)
    other.load_state_dict(model.state_dict())
    seen: list[int] = []
    handle = model.register_forward_pre_hook(lambda _module, fed: seen.append(len(fed[0])))
    report = init_(model, IMAGES, zero_residual__value=0.1)
    handle.remove()
    assert seen == [1]
    assert report.method == "whitening+dirac+zero-residual"
    assert report.parameters["default_for"] == "residual, normalized"
    init_(other, IMAGES, rows[0].method, zero_residual__value=0.1)
    assert values(model) == values(other)


class Refuses(nn.Module):
    """An operation that runs but does not let itself be seen."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise NotImplementedError("there was no rule registered for this operator and mode")
        return x


def test_a_model_whose_operations_cannot_be_seen() -> None:
    model = plain(Refuses(), Residual(conv()))
    report = init_(model, IMAGES)
    assert report.parameters["default_for"] == NOT_SEEN
    assert not any("fails in the model" in note for note in report.notes)
    with pytest.raises(
        WarminitError, match="while its operations are recorded: NotImplementedError"
    ):
        init_(model, IMAGES, "zero-residual")


def test_a_model_that_does_not_run() -> None:
    class Stops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("targets are needed")

    report = init_(plain(Stops()), IMAGES)
    assert report.parameters["default_for"] == NOT_SEEN


def test_checkpointed_blocks() -> None:
    class Checkpointed(Residual):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = checkpoint(super().forward, x, use_reentrant=False)
            return out

    report = init_(plain(Checkpointed(conv())), IMAGES)
    assert report.parameters["default_for"] == "residual, not normalized"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"n_filter": 3}, "Did you mean 'n_filters'?"),
        ({"seed": -1}, "seed=-1"),
        ({"layers": "nowhere"}, "layers='nowhere'"),
    ],
)
def test_what_is_refused(given: Any, text: str) -> None:
    model = plain()
    before = values(model)
    with pytest.raises(WarminitError, match=text.replace("?", r"\?")):
        init_(model, IMAGES, **given)
    assert values(model) == before


# ---------------------------------------------------------------- twenty families of timm
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "vgg11": ("plain, not normalized", {}),
    "vgg11_bn": ("plain, normalized", {}),
    "resnet10t": ("residual, normalized", {}),
    "resnetv2_18": ("residual, normalized", {}),
    "seresnext26d_32x4d": ("residual, normalized", {}),
    "nf_resnet26": ("residual, not normalized", {}),
    "darknet17": ("residual, normalized", {}),
    "cspresnet50": ("residual, normalized", {}),
    "dla34": ("residual, normalized", {}),
    "regnetx_002": ("residual, normalized", {}),
    "res2net50d": ("residual, normalized", {}),
    "hardcorenas_a": ("depthwise, normalized", {}),
    "mobilenetv2_035": ("depthwise, normalized", {}),
    "mobilenetv3_small_050": ("depthwise, normalized", {}),
    "efficientnet_b0": ("depthwise, normalized", {}),
    "convnext_atto": ("depthwise, normalized", {}),
    "ghostnet_050": ("depthwise, normalized", {}),
    "mixer_s32_224": ("residual, normalized", {"img_size": 64}),
    "deit_tiny_patch16_224": ("attention, normalized", {"img_size": 64}),
    "vit_tiny_patch16_224": ("attention, normalized", {"img_size": 64, "patch_size": 8}),
    "swin_tiny_patch4_window7_224": ("attention, normalized", {"img_size": 64, "window_size": 4}),
    "coatnet_pico_rw_224": ("attention, normalized", {"img_size": 64}),
    "edgenext_xx_small": ("attention, normalized", {}),
}
QUICK = ("vgg11_bn", "resnet10t", "mobilenetv3_small_050", "vit_tiny_patch16_224")


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in FAMILIES],
)
def test_the_rows_of_timms_families(name: str) -> None:
    import zoo_setup

    zoo_setup.prepare()
    import timm

    wanted, options = FAMILIES[name]
    model = timm.create_model(name, num_classes=10, **options)
    report = init_(model, images(2, 3, 64, 64), patches_per_image=256)
    assert report.parameters["default_for"] == wanted
