"""Models of timm, torchvision and Transformers: their own zeros are the oracle for branches."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn

from body_cases import images
from warminit.initializers.bodies.convcov import convcov
from warminit.initializers.bodies.dirac import dirac
from warminit.initializers.bodies.impulse import impulse
from warminit.initializers.bodies.mimetic import mimetic
from warminit.initializers.bodies.zero_residual import zero_residual

if any(find_spec(name) is None for name in ("timm", "torchvision", "transformers")):
    pytest.skip("timm, torchvision or transformers is not installed", allow_module_level=True)

import zoo_setup

zoo_setup.prepare()  # before timm, which imports torchvision

import timm  # noqa: E402
import transformers  # noqa: E402
from torchvision.models import get_model  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # The zoos' own: some build with torch functions that are about to change.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

ZEROED = ("resnet18", "resnet50", "seresnext26d_32x4d", "ecaresnet26t", "resnetv2_50d_gn")
VIT: dict[str, Any] = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}


def zeros(model: nn.Module) -> set[str]:
    """Names of the weights that are zero; a bias of a normalization is zero in any case."""
    return {
        name
        for name, each in model.named_parameters()
        if not name.endswith("bias") and not bool(each.any())
    }


@pytest.mark.parametrize(
    "name", [ZEROED[0], *(pytest.param(n, marks=pytest.mark.full) for n in ZEROED[1:])]
)
def test_the_branches_are_those_that_timm_sets_to_zero(name: str) -> None:
    model = timm.create_model(name, zero_init_last=False)
    wanted = zeros(timm.create_model(name, zero_init_last=True))
    assert wanted
    assert not zeros(model)
    zero_residual(model, images(1, 3, 64, 64), seed=0)
    assert zeros(model) == wanted


def test_the_report_says_that_timm_has_done_it() -> None:
    report = zero_residual(timm.create_model("resnet10t"), images(1, 3, 64, 64), seed=0)
    assert report.notes == ("4 of 4 branches had this value already",)
    assert report.filters_set == 0


def test_the_branches_are_those_that_torchvision_sets_to_zero() -> None:
    model = get_model("resnet18", weights=None)
    wanted = zeros(get_model("resnet18", weights=None, zero_init_residual=True))
    zero_residual(model, images(1, 3, 64, 64), seed=0)
    assert zeros(model) == wanted != set()


@pytest.mark.parametrize("init_values", [None, 0.1])
def test_each_block_of_a_vision_transformer_is_its_skip(init_values: float | None) -> None:
    model = timm.create_model("vit_tiny_patch16_224", **VIT, init_values=init_values)
    report = zero_residual(model, images(1, 3, 16, 16), seed=0)
    ends = (".ls1.gamma", ".ls2.gamma") if init_values else (".attn.proj.weight", ".mlp.fc2.weight")
    assert report.layer.split(", ") == [f"blocks.{i}{end}" for i in range(2) for end in ends]
    tokens = images(2, 17, 24)
    assert torch.equal(model.blocks(tokens), tokens)


def vision_transformer(kind: str) -> tuple[Any, list[str]]:
    """A small model, and its first layer's query, key, value and projection: where they are."""
    if kind == "timm":
        qkv = "blocks.0.attn.qkv.weight"
        return timm.create_model("vit_tiny_patch16_224", **VIT), [qkv] * 3 + [
            "blocks.0.attn.proj.weight"
        ]
    if kind == "torchvision":
        sizes = {"image_size": 16, "patch_size": 4, "num_layers": 2, "num_heads": 3}
        from torchvision.models.vision_transformer import VisionTransformer

        home = "encoder.layers.encoder_layer_0.self_attention."
        model = VisionTransformer(**sizes, hidden_dim=24, mlp_dim=48)
        return model, [f"{home}in_proj_weight"] * 3 + [f"{home}out_proj.weight"]
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        image_size=16, patch_size=4,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    home = next(n for n, _ in model.named_parameters() if n.endswith("v_proj.weight"))[:-13]
    return model, [f"{home}{part}_proj.weight" for part in "qkvo"]


@pytest.mark.parametrize("kind", ["timm", "torchvision", "transformers"])
def test_attention_of_every_library(kind: str) -> None:
    model, names = vision_transformer(kind)
    report = mimetic(model, images(1, 3, 16, 16), seed=0, query_key=(0, 0.7), value=(0, 0.4))
    assert not report.notes
    parts = [model.get_parameter(name).detach() for name in names]
    if len(parts[0]) == 72:
        parts[:3] = parts[0].chunk(3)
    query, key, value, projection = parts
    torch.testing.assert_close(projection @ value, -0.4 * torch.eye(24))
    for q, k in zip(query.split(8), key.split(8), strict=True):
        assert float((q.T @ k).trace()) == pytest.approx(0.7 * 8, rel=1e-5)


@pytest.mark.parametrize("kind", ["timm", "torchvision", "transformers"])
def test_positions_of_every_library_stand_behind_the_class_token(kind: str) -> None:
    model, _ = vision_transformer(kind)
    name, positions = next((n, p) for n, p in model.named_parameters() if "pos" in n)
    before = positions.detach().clone()
    report = impulse(model, images(1, 3, 16, 16), seed=0)
    after = positions.detach()
    assert torch.equal(after[0, 0], before[0, 0])
    factor = 0.36 / before[0, 1:].square().mean().sqrt()
    torch.testing.assert_close(after[0, 1:], before[0, 1:] * factor)
    assert name not in report.layer


def test_large_depthwise_filters_and_their_blocks() -> None:
    model = timm.create_model("convnext_atto")
    report = convcov(model, images(1, 3, 64, 64), seed=0)
    depthwise = [n for n, m in model.named_modules() if getattr(m, "groups", 1) > 1]
    assert report.layer.split(", ") == depthwise
    assert len(depthwise) == 12
    gammas = [n for n, _ in model.named_parameters() if n.endswith("gamma")]
    assert zero_residual(model, images(1, 3, 64, 64), seed=0).layer.split(", ") == gammas


def test_identities_of_a_residual_network() -> None:
    """Seen in the network: what the second convolution of a block is given, it gives."""
    model = timm.create_model("resnet10t").eval()
    dirac(model, images(1, 3, 64, 64), seed=0)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for block in (model.layer1[0], model.layer2[0]):
        block.conv2.register_forward_hook(lambda _m, fed, out: seen.append((fed[0], out)))
    with torch.no_grad():
        model(images(1, 3, 64, 64))
    assert len(seen) == 2
    for fed, out in seen:
        torch.testing.assert_close(out, fed)
