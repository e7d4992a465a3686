"""The training loop against a plainly written one, torch's scheduler, and its own promises."""

import hashlib
import struct
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network_cases import plain_simplecnn
from training_cases import make_dataset, make_spec, run, same
from warminit.errors import WarminitError
from warminit.lab.data.load import ImageDataset
from warminit.lab.runs.rates import learning_rate
from warminit.lab.runs.weights import weights_digest
from warminit.lab.study.protocol import Protocol, learning_rates

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_losses(dataset: ImageDataset, seed: int, protocol: Protocol) -> list[float]:
    """Section 3.3 as anyone would write it: NCHW, ReLU before pooling, torch's own scheduler."""
    assert protocol.lr_start is not None
    assert protocol.lr_end is not None
    images = dataset.train_images.float() / 255
    images = (images - images.mean((0, 2, 3), keepdim=True)) / images.std(
        (0, 2, 3), keepdim=True, correction=0
    )
    torch.manual_seed(seed)
    height, width = dataset.image_size
    flat = 64 * (height // 4) * (width // 4)
    model = plain_simplecnn(dataset.in_channels, flat, dataset.n_classes, batch_norm=True)
    options: dict[str, Any] = {
        "lr": protocol.lr_start,
        "weight_decay": protocol.weight_decay,
        "foreach": False,
    }
    optimizer: torch.optim.Optimizer
    if protocol.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **options)
    elif protocol.optimizer == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), **options)
    else:
        optimizer = torch.optim.Adam(model.parameters(), **options)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=protocol.steps, eta_min=protocol.lr_end
    )
    generator = torch.Generator().manual_seed(seed)
    order: list[Tensor] = []
    losses = []
    for _ in range(protocol.steps):
        if not order:
            epoch = torch.randperm(len(images), generator=generator).split(protocol.batch_size)
            order = [batch for batch in epoch if len(batch) == protocol.batch_size]
        batch = order.pop(0)
        loss = F.cross_entropy(model(images[batch]), dataset.train_labels[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 8, 9), {"lr_start": 1e-3, "lr_end": 1e-5}),
        ((3, 12, 12), {"lr_start": 1e-3, "lr_end": 1e-5, "weight_decay": 0.1}),
        ((3, 8, 8), {"lr_start": 1e-3, "lr_end": 1e-4, "optimizer": "adamw", "weight_decay": 2.0}),
        ((1, 8, 8), {"lr_start": 0.02, "lr_end": 0, "optimizer": "sgd", "weight_decay": 0.01}),
    ],
    ids=["adam", "adam with decay", "adamw", "sgd"],
)
def test_twenty_steps_agree_with_a_plain_loop(
    shape: tuple[int, int, int], settings: dict[str, Any]
) -> None:
    dataset = make_dataset(shape=shape)
    spec = make_spec(**settings)
    result = run(spec, dataset)
    expected = plain_losses(dataset, spec.seed, spec.protocol)
    assert expected[-1] < 0.7 * expected[0]  # it learns, so that a wrong update would show
    # The same float32 sums in another order, 20 times on top of each other: 2e-6 was seen.
    np.testing.assert_allclose(result.train_loss, expected, rtol=1e-4)


def test_the_schedule_is_torchs_cosine_annealing_from_start_to_end() -> None:
    protocol = Protocol(steps=137)
    rates = (3e-3, 3e-5)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rates[0])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=137, eta_min=rates[1])
    expected = []
    for _ in range(138):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    got = [learning_rate(step, protocol, rates) for step in range(138)]
    np.testing.assert_allclose(got, expected, rtol=1e-9)  # torch's form is recursive
    assert got[0] == rates[0]
    assert got[137] == rates[1]
    assert all(later < earlier for earlier, later in pairwise(got))
    constant = Protocol(steps=137, schedule="constant")
    assert {learning_rate(step, constant, rates) for step in range(137)} == {rates[0]}


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("warmup", [2, 20, 136])
def test_a_warm_up_is_torchs_linear_one_before_the_schedule(warmup: int, schedule: Any) -> None:
    protocol = Protocol(steps=137, warmup=warmup, schedule=schedule)
    rates = (3e-3, 3e-5)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rates[0])
    climb = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1 / warmup, total_iters=warmup - 1
    )
    rest: Any = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    if schedule == "cosine":
        rest = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=137 - warmup, eta_min=rates[1]
        )
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [climb, rest], [warmup])
    expected = []
    for _ in range(137):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    got = [learning_rate(step, protocol, rates) for step in range(137)]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert got[warmup - 1] == rates[0]


def test_a_warm_up_of_one_step_is_none() -> None:
    one, none = Protocol(steps=5, warmup=1), Protocol(steps=4)
    rates = (3e-3, 3e-5)
    got = [learning_rate(step, one, rates) for step in range(1, 5)]
    assert got == [learning_rate(step, none, rates) for step in range(4)]


def test_a_warm_up_changes_a_run() -> None:
    assert not same(run(make_spec(steps=4, warmup=2)), run(make_spec(steps=4)))


@pytest.mark.parametrize(
    ("name", "rates"),
    [  # Table 1
        ("mnist", (3e-3, 3e-5)),
        ("fashion-mnist", (3e-3, 3e-5)),
        ("cifar10+validation", (3e-3, 3e-5)),
        ("svhn", (5e-4, 3e-6)),
        ("svhn+validation", (5e-4, 3e-6)),
        ("cifar100", (2e-3, 3e-5)),
        ("owner/any", (3e-3, 3e-5)),
    ],
)
def test_learning_rates_are_the_data_sets_unless_the_protocol_names_them(
    name: str, rates: tuple[float, float]
) -> None:
    assert learning_rates(Protocol(), name) == rates
    assert learning_rates(Protocol(lr_start=0.5), name) == (0.5, rates[1])
    assert learning_rates(Protocol(lr_start=0.5, lr_end=0), name) == (0.5, 0)


def test_the_data_sets_learning_rate_is_what_the_run_takes() -> None:
    spec = make_spec(steps=4)
    named = run(spec, make_dataset(name="svhn"))
    assert same(named, run(make_spec(steps=4, lr_start=5e-4, lr_end=3e-6)))
    assert not same(named, run(spec))


def test_evaluations_stand_at_their_steps_and_measure_the_model_of_that_step() -> None:
    dataset = make_dataset(n_classes=12, n_train=240, n_test=132)
    settings: dict[str, Any] = {
        "schedule": "constant",
        "lr_start": 2e-3,
        "steps": 23,
        "eval_interval": 10,
    }
    long = run(make_spec(**settings), dataset)
    assert long.eval_steps == (10, 20, 23)
    assert set(long.metrics) == {"accuracy", "balanced_accuracy", "loss", "top5_accuracy"}
    assert all(len(values) == 3 for values in long.eval_metrics.values())
    assert {name: values[-1] for name, values in long.eval_metrics.items()} == long.metrics
    assert long.calibration_error is not None
    assert 0 < long.calibration_error < 1
    # Without a schedule, a run of 10 steps is the first 10 of 23.
    short = run(make_spec(**(settings | {"steps": 10})), dataset)
    assert {name: values[0] for name, values in long.eval_metrics.items()} == short.metrics
    assert short.train_loss == long.train_loss[:10]
    assert "top5_accuracy" not in run(make_spec(steps=1)).metrics


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_what_can_be_learned(precision: str) -> None:
    result = run(make_spec(steps=40, precision=precision))
    assert result.finite
    assert result.metrics["accuracy"] > 0.95
    assert result.metrics["loss"] < 0.2
    assert result.init_seconds >= 0
    assert result.train_seconds > 0


def test_bfloat16_is_another_arithmetic_on_the_same_run() -> None:
    exact, rough = (run(make_spec(precision=name)) for name in ("float32", "bfloat16"))
    assert exact.train_loss != rough.train_loss
    # 8 bits of significand: the first loss, before any update, agrees to about 1 %.
    assert rough.train_loss[0] == pytest.approx(exact.train_loss[0], rel=0.02)


def test_a_run_that_diverges_returns_its_nan() -> None:
    result = run(make_spec(optimizer="sgd", lr_start=1e30, lr_end=1e30))
    assert not result.finite
    assert np.isnan(result.train_loss[-1])
    assert np.isnan(result.metrics["loss"])
    assert len(result.train_loss) == 20


def test_the_digest_is_sha256_over_names_types_shapes_and_bytes() -> None:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.5, -2.0]]))
        model.bias.fill_(0.25)
    text = b"bias torch.float32 (1,)\n" + struct.pack("<f", 0.25)
    text += b"weight torch.float32 (1, 2)\n" + struct.pack("<2f", 1.5, -2.0)
    assert weights_digest(model) == hashlib.sha256(text).hexdigest()
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(torch.bfloat16)
    before = weights_digest(other)
    assert weights_digest(other.to(memory_format=torch.channels_last)) == before  # type: ignore[call-overload]  # torch's stubs
    other.get_buffer("1.num_batches_tracked").add_(1)  # a buffer counts too
    assert weights_digest(other) != before


@pytest.mark.parametrize(
    ("changes", "device", "text"),
    [
        ({"batch_size": 76}, "cpu", r"batch_size=76 is larger than the 75 training .*=75 or less"),
        ({"seed": -1}, "cpu", r"seed=-1: expected a whole number from 0 to 2\*\*32 - 1"),
        ({"seed": 2**32}, "cpu", r"seed=4294967296: expected a whole number from 0"),
        ({"model": "resnet"}, "cpu", r"model='resnet': expected one of.*'resnet20'"),
        ({}, "cuda:99", r"device='cuda:99' is not available: expected cpu"),
        ({}, "abacus", r"device='abacus' is not available.*Choose device='cpu'"),
        (
            {"model": "training_cases:one_value_too_many"},
            "cpu",
            r"model returned \(16, 4\): expected logits of shape \(16, 3\), one value a class",
        ),
    ],
)
def test_runs_that_cannot_be(changes: dict[str, Any], device: str, text: str) -> None:
    with pytest.raises(WarminitError, match=text):
        run(make_spec(**changes), device=device)


@pytest.mark.gpu
def test_a_run_on_a_gpu_repeats_bit_for_bit_and_agrees_with_the_cpu() -> None:
    spec = make_spec()
    first = run(spec, device="cuda")
    assert same(first, run(spec, device="cuda"))
    # float32 on both, other orders of the sums: as between the two CPU loops above.
    np.testing.assert_allclose(first.train_loss, run(spec).train_loss, rtol=2e-3, atol=2e-4)
