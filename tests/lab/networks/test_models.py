"""build_model against the paper's numbers, and against the same networks written out plainly."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network_cases import plain_simplecnn, seeded_images
from warminit.errors import WarminitError
from warminit.lab.networks.build import MODELS, build_model, model_builder
from warminit.lab.networks.simple import ResNet20, SimpleCNN
from warminit.models.find import find_layer

ENDS = ("weight", "bias")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("in_channels", "size", "n_classes", "flat", "parameters"),
    [
        # Section 3.1: 64 x 7 x 7 = 3136 and 64 x 8 x 8 = 4096. Counts by hand: conv1 288 + 32 (864
        # + 32 for colour), BatchNorm 2 x 32 and 2 x 64, conv2 18,432 + 64, fc1 256 (flat + 1), fc2.
        (1, (28, 28), 10, 3136, 320 + 64 + 18_496 + 128 + 256 * 3137 + 2570),
        (3, (32, 32), 10, 4096, 896 + 64 + 18_496 + 128 + 256 * 4097 + 2570),
        (3, (32, 32), 100, 4096, 896 + 64 + 18_496 + 128 + 256 * 4097 + 25_700),
        (2, (13, 6), 3, 64 * 3 * 1, 608 + 64 + 18_496 + 128 + 256 * 193 + 771),
    ],
)
def test_simplecnn_has_the_sizes_of_section_3_1(
    in_channels: int, size: tuple[int, int], n_classes: int, flat: int, parameters: int
) -> None:
    model = build_model("simplecnn", in_channels, size, n_classes)
    assert model.state_dict()["fc1.weight"].shape == (256, flat)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(seeded_images(2, in_channels, *size)).shape == (2, n_classes)


def test_simplecnn_k7_differs_from_simplecnn_in_its_first_weight_alone() -> None:
    # The first convolution pads by 3, so that all that follows has the sizes of Section 3.1.
    sizes = {
        name: {
            key: value.shape for key, value in build_model(name, 3, (13, 6), 5).state_dict().items()
        }
        for name in ("simplecnn", "simplecnn-k7")
    }
    assert sizes["simplecnn-k7"] == sizes["simplecnn"] | {"conv1.weight": (32, 3, 7, 7)}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_relu_after_pooling_is_the_same_function_bit_for_bit(
    batch_norm: bool, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(3)
    plain = plain_simplecnn(3, 64 * 2 * 3, 5, batch_norm)
    torch.manual_seed(3)
    model = build_model("simplecnn" if batch_norm else "simplecnn-nobn", 3, (8, 13), 5)
    images = seeded_images(6, 3, 8, 13).to(memory_format=memory_format)
    for network in (plain, model):
        network.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stubs
    expected, got = plain(images), model(images)
    assert torch.equal(got, expected)
    # Gradients of everything that is learned, in the order of the layers, and BatchNorm's state.
    expected.square().sum().backward()
    got.square().sum().backward()
    pairs = list(zip(plain.parameters(), model.parameters(), strict=True))
    assert len(pairs) == (12 if batch_norm else 8)
    for a, b in pairs:
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)
    for one, other in zip(plain.buffers(), model.buffers(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ties_and_dead_windows_get_the_same_gradient_in_both_orders(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-2, 3, (8, 16, 12, 12), generator=generator).to(dtype)
    windows = F.unfold(values.float(), 2, stride=2).view(8, 16, 4, 36)
    top = windows.amax(2, keepdim=True)
    assert ((windows == top).sum(2)[top.squeeze(2) > 0] > 1).any()  # positive ties are there,
    assert (top < 0).any()  # windows that ReLU kills,
    assert (top == 0).any()  # and those whose maximum is zero
    weights = torch.randn(8, 16, 6, 6, generator=generator).to(dtype)
    gradients = []
    for relu_first in (True, False):
        x = values.clone(memory_format=memory_format).requires_grad_()
        y = F.max_pool2d(F.relu(x), 2) if relu_first else F.max_pool2d(x, 2).relu_()
        torch.autograd.backward((y * weights).sum())
        assert x.grad is not None
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_simplecnn_nobn_has_no_normalization_and_keeps_the_names() -> None:
    model = build_model("simplecnn-nobn", 1, (28, 28), 10)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    names = [name for name, _ in model.named_children()]
    assert names == ["conv1", "bn1", "conv2", "bn2", "fc1", "fc2"]
    assert names == [name for name, _ in build_model("simplecnn", 1, (28, 28), 10).named_children()]


def plain_resnet20(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """He et al. 2016, Section 4.2, in evaluation mode, from the weights alone."""

    def conv_norm(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1)
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, gain, shift = (state[f"{norm}.{name}"].view(-1, 1, 1) for name in names)
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + shift

    x = conv_norm(images, "conv1", "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in (0, 1, 2):
            stride = 2 if stage > 1 and block == 0 else 1
            path = f"stage{stage}.{block}."
            y = conv_norm(x, path + "conv1", path + "bn1", stride).clamp(min=0)
            y = conv_norm(y, path + "conv2", path + "bn2")
            if stride == 2:  # option A: every second pixel, zeros on both sides of the channels
                x = x[:, :, ::2, ::2]
                zeros = torch.zeros_like(x[:, : x.shape[1] // 2])
                x = torch.cat([zeros, x, zeros], dim=1)
            x = (x + y).clamp(min=0)
    return x.flatten(2).mean(2) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("size", [(32, 32), (9, 14)])
def test_resnet20_is_the_published_network(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", 3, size, 10)
    # By hand: stem 432 + 32; stages 6 x 2304 + 192, 4608 + 5 x 9216 + 384, 18,432 + 5 x 36,864 +
    # 768; fc 650. He et al. state 0.27 million.
    assert sum(p.numel() for p in model.parameters()) == 269_722
    images = seeded_images(4, 3, *size)
    model(images)  # gives BatchNorm's running statistics values of their own
    model.eval()
    with torch.no_grad():
        # Two orders of the same float32 sums over 20 layers.
        torch.testing.assert_close(
            model(images), plain_resnet20(model.state_dict(), images), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("size", [(32, 32), (9, 14)])
def test_small_vit_is_patches_and_torchs_own_pre_norm_encoder_layers(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build_model("small-vit", 3, size, 10)
    state = model.state_dict()
    if size == (32, 32):
        # By hand: stem 96 x 48 + 96, positions 64 x 96, four blocks of 4 x 96 for two LayerNorms,
        # 288 x 97 and 96 x 97 of attention, 192 x 97 + 96 x 193 of the MLP; norm 192, head 970.
        blocks = 4 * (384 + 288 * 97 + 96 * 97 + 192 * 97 + 96 * 193)
        assert sum(p.numel() for p in model.parameters()) == 4704 + 6144 + blocks + 192 + 970
    images = seeded_images(4, 3, *size)
    height, width = (4 * (side // 4) for side in size)
    patches = F.unfold(images[:, :, :height, :width], 4, stride=4).transpose(1, 2)
    stem = state["patch_embed.weight"].flatten(1)
    tokens = patches @ stem.T + state["patch_embed.bias"] + state["positions"]
    names = {
        "self_attn.in_proj_weight": "qkv.weight",
        "self_attn.in_proj_bias": "qkv.bias",
        "self_attn.out_proj.weight": "proj.weight",
        "self_attn.out_proj.bias": "proj.bias",
        **{f"linear{n + 1}.{end}": f"mlp.{2 * n}.{end}" for n in (0, 1) for end in ENDS},
        **{f"norm{n}.{end}": f"norm{n}.{end}" for n in (1, 2) for end in ENDS},
    }
    with torch.no_grad():
        for block in range(4):
            layer = nn.TransformerEncoderLayer(
                96, 3, 192, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            layer.load_state_dict({to: state[f"blocks.{block}.{of}"] for to, of in names.items()})
            tokens = layer(tokens)
        tokens = F.layer_norm(tokens, (96,), state["norm.weight"], state["norm.bias"])
        expected = tokens.mean(1) @ state["head.weight"].T + state["head.bias"]
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_seed_alone_decides_the_initial_weights(name: str) -> None:
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        model = build_model(name, 1, (12, 12), 4)
        states.append(find_layer(model).module.weight.detach())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert all(p.requires_grad for p in model.parameters())


def test_a_users_model_is_imported_when_it_is_named_and_called_by_keyword(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def tiny(*, n_classes, in_channels, image_size):\n"
        "    h, w = image_size\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * h * w, n_classes))\n"
        "def two(in_channels, image_size):\n    return nn.Identity()\n"
        "def number(in_channels, image_size, n_classes):\n    return 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = build_model("my_nets:tiny", 2, (3, 5), 4)
    assert model(torch.zeros(6, 2, 3, 5)).shape == (6, 4)
    for name, text in (
        ("my_nets:tny", r"has no function 'tny'\. Did you mean 'tiny'\?"),
        ("my_nets:two", r"cannot be called as two\(in_channels, image_size, n_classes\): .*n_cl"),
        ("my_nets:number", r"returned a int: expected a torch\.nn\.Module"),
        ("no_such_nets:tiny", r"module 'no_such_nets' cannot be imported .*PYTHONPATH"),
        (":tiny", r"module '' cannot be imported"),
    ):
        with pytest.raises(WarminitError, match=text):
            build_model(name, 2, (3, 5), 4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("simplecn", 1, (28, 28), 10), r"model='simplecn': expected one of.*mean 'simplecnn'\?"),
        (("ResNet-20", 1, (28, 28), 10), r"one of simplecnn, simplecnn-nobn, .*'resnet20'"),
        (
            ("simplecnn", 1, (28, 3), 10),
            r"image_size=28 x 3: expected at least 4 x 4 pixels .*Resize",
        ),
        (("simplecnn-nobn", 1, (2, 9), 10), r"image_size=2 x 9: expected at least"),
        (("small-vit", 1, (3, 28), 10), r"image_size=3 x 28 is too small for small-vit.*4 x 4"),
        (("simplecnn", 0, (28, 28), 10), r"in_channels=0: expected at least 1"),
        (("resnet20", 3, (0, 8), 10), r"image_size=\(0, 8\): expected at least 1"),
        (("resnet20", 3, (8, 8), 1), r"n_classes=1: expected at least 2 to build resnet20"),
    ],
)
def test_sizes_and_names_that_cannot_be(
    arguments: tuple[str, int, tuple[int, int], int], text: str
) -> None:
    with pytest.raises(WarminitError, match=text):
        build_model(*arguments)


def test_a_name_is_checked_without_building() -> None:
    assert model_builder("simplecnn") is SimpleCNN
    assert isinstance(model_builder("resnet20")(1, (8, 8), 2), ResNet20)
    with pytest.raises(WarminitError, match="mean 'simplecnn-nobn'"):
        model_builder("simplecnn-nobm")
