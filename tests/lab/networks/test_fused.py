"""The fast way to compute SimpleCNN against the network written out plainly, and what it costs."""

import copy
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from network_cases import plain_simplecnn, seeded_images
from training_cases import make_dataset, make_spec, run
from warminit.lab.networks.build import build_model
from warminit.lab.networks.fused import evaluation_forward, training_forward
from warminit.lab.networks.simple import SimpleCNN

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(1, 12, 16, 3), (3, 28, 28, 3), (2, 13, 6, 3), (3, 12, 10, 7)]
"""Channels, height, width, kernel: gray, colour, sizes that fill no pooling window, a large one."""


def pair(
    shape: tuple[int, int, int, int], dtype: torch.dtype
) -> tuple[SimpleCNN, nn.Sequential, Tensor, Tensor]:
    """The network, the same one plainly, images and labels; gains of both signs, and many ties."""
    channels, *size, kernel = shape
    torch.manual_seed(5)
    model = SimpleCNN(channels, (size[0], size[1]), 7, kernel_size=kernel).to(dtype)
    for norm in (model.bn1, model.bn2):
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    plain = plain_simplecnn(channels, model.fc1.in_features, 7, True, kernel).to(dtype)
    plain.load_state_dict(dict(zip(plain.state_dict(), model.state_dict().values(), strict=True)))
    images = seeded_images(8, channels, *size).to(dtype)
    images[:, :, : size[0] // 2] = 0.3  # an empty half: all its windows tie
    # torch's stubs lack this overload of Module.to.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, plain, images, torch.arange(8) % 7


def relative(got: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of the largest value."""
    scale = expected.abs().max().clamp(min=1e-30)
    return float(((got - expected).abs().max() / scale).item())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "of_values", "of_gradients"),
    # float64 leaves rounding alone; float32 sums of up to 6,272 terms stand in other orders.
    [(torch.float64, 1e-12, 1e-10), (torch.float32, 1e-5, 1e-4)],
)
def test_training_is_the_plain_network(
    shape: tuple[int, int, int, int], dtype: torch.dtype, of_values: float, of_gradients: float
) -> None:
    model, plain, images, labels = pair(shape, dtype)
    forward = training_forward(model)
    assert forward is not model
    for _ in range(2):  # the second time the running statistics have values of their own
        got, expected = forward(images), plain(images)
        assert relative(got, expected) < of_values
        for logits in (got, expected):
            torch.autograd.backward(F.cross_entropy(logits, labels))
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        if name in {"conv1.bias", "conv2.bias"}:  # zero in real arithmetic, so in this one
            assert not one.grad.any(), name
            assert other.grad.abs().max() < of_gradients, name
        else:
            assert relative(one.grad, other.grad) < of_gradients, name
    for (name, mean), expected in zip(model.named_buffers(), plain.buffers(), strict=True):
        assert relative(mean.double(), expected.double()) < of_gradients, name  # sums, too


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_evaluation_is_the_plain_network(
    shape: tuple[int, int, int, int], dtype: torch.dtype, tolerance: float
) -> None:
    model, plain, images, _ = pair(shape, dtype)
    for network in (model, plain):
        network(images)
        network.eval()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        got, expected = evaluation_forward(model)(images), plain(images)
    assert relative(got, expected) < tolerance
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_bfloat16_rounds_where_autocast_does() -> None:
    model, plain, images, labels = pair((3, 12, 12, 3), torch.float32)
    exact = F.cross_entropy(plain(images), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = training_forward(model)(images)
        usual = plain(images)
    # 8 bits of significand through four layers, in both of them: 1 to 2 % was seen.
    assert relative(logits.float(), plain(images)) < 0.05
    assert relative(usual.float(), plain(images)) < 0.05
    loss = F.cross_entropy(logits.float(), labels)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), rel=0.03)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32, name


def test_gradients_are_the_slopes_of_the_function() -> None:
    model, _, _, _ = pair((1, 4, 4, 3), torch.float64)
    images = seeded_images(3, 1, 4, 4).double().requires_grad_()
    weight = model.conv1.weight
    assert torch.autograd.gradcheck(
        lambda x, _: training_forward(model)(x), (images, weight), atol=1e-6
    )


class Doubled(SimpleCNN):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


def exchanged(**layers: nn.Module) -> SimpleCNN:
    model = SimpleCNN(1, (8, 8), 3)
    for name, layer in layers.items():
        setattr(model, name, layer)
    return model


def hooked() -> SimpleCNN:
    model = SimpleCNN(1, (8, 8), 3)
    model.fc1.register_forward_hook(lambda module, args, output: output * 2)
    return model


@pytest.mark.parametrize(
    "model",
    [
        build_model("simplecnn-nobn", 1, (8, 8), 3),
        build_model("resnet20", 1, (8, 8), 3),
        build_model("small-vit", 1, (8, 8), 3),
        Doubled(1, (8, 8), 3),
        hooked(),
        exchanged(conv2=nn.Conv2d(32, 64, 3, padding=1, padding_mode="circular")),
        exchanged(bn1=nn.BatchNorm2d(32, momentum=None)),
        exchanged(bn2=nn.InstanceNorm2d(64)),
        exchanged(fc2=nn.Linear(256, 3, bias=False)),
        nn.utils.parametrizations.weight_norm(SimpleCNN(1, (8, 8), 3).conv1),
        exchanged(fc1=nn.utils.parametrizations.weight_norm(nn.Linear(256, 256))),
        SimpleCNN(1, (8, 8), 3).to("meta"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_other_model_is_left_as_it_is(model: nn.Module) -> None:
    assert training_forward(model) is model
    assert evaluation_forward(model) is model


def test_asking_draws_nothing() -> None:
    model = SimpleCNN(1, (8, 12), 3)
    state = torch.get_rng_state()
    assert training_forward(model) is not model
    assert evaluation_forward(model) is not model
    assert torch.equal(torch.get_rng_state(), state)


class Count(TorchDispatchMode):
    """Count torch's operators by name, and convolutions that sum up a bias's gradient."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's is untyped
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.calls[func.overloadpacket.__name__] += 1
        if func is torch.ops.aten.convolution_backward.default and args[-1][2]:
            self.calls["bias gradient"] += 1
        return func(*args, **(kwargs or {}))


def operators_a_step(**settings: Any) -> Counter[str]:
    """Return the operators of ten further steps of a run, evaluation and set-up left out."""
    short, long = Count(), Count()
    for steps, count in ((3, short), (13, long)):
        with count:
            run(make_spec(steps=steps, eval_interval=100, **settings), make_dataset(n_train=400))
    return long.calls - short.calls


def test_a_step_waits_for_nothing_and_calls_no_more_than_it_must() -> None:
    calls = operators_a_step()
    # No value is read back (`.item()`, `float()`, a comparison), and no gradient is copied.
    assert calls["_local_scalar_dense"] == 0
    # Two layers and fc1 as convolutions, one bias summed up; only fc2 is a product.
    assert calls["convolution"] == calls["convolution_backward"] == 30
    assert calls["bias gradient"] == 10
    assert calls["addmm"] == 10
    assert calls["native_batch_norm"] == calls["native_batch_norm_backward"] == 20
    assert calls["max_pool2d_with_indices"] == 20
    assert calls["_fused_adam_"] == 10
    # 106 operators a step when this was written, most of them on a handful of values.
    assert sum(calls.values()) <= 10 * 120
