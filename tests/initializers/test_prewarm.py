"""prewarm_ and prewarm_filters: what is written, when it warns, and what it says it did."""

import itertools
import math
import warnings
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import arm_oracles
from arm_cases import bits, first, make_conv, make_images, make_net
from warminit import WarminitWarning, conditioned_init, prewarm_, prewarm_filters
from warminit.models.fresh import looks_trained

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(32, 2, 12, 12)


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_the_function_under_it_gives_what_is_written(algorithm: Any, kernel: int) -> None:
    model = make_conv(2, 10, kernel)
    prewarm_(model, IMAGES, patches_per_image=9, algorithm=algorithm, seed=3)
    filters = prewarm_filters(IMAGES, 10, kernel, patches_per_image=9, algorithm=algorithm, seed=3)
    assert bits(model.weight[:5]) == bits(filters)
    # The scale is the paper's for colour, but for large kernels parity's.
    wanted = min(0.25, math.sqrt(2 / (2 * kernel**2)))
    assert float(np.std(filters.double().numpy())) == pytest.approx(wanted, rel=1e-6)


def test_the_papers_algorithm_has_the_listings_bits() -> None:
    ours, theirs = nn.Module(), nn.Module()
    ours.conv1, theirs.conv1 = make_conv(2, 10), make_conv(2, 10)
    prewarm_(ours, IMAGES, patches_per_image=9, algorithm="paper", seed=42, scale=0.2)
    with torch.random.fork_rng(devices=[]):
        conditioned_init(theirs, IMAGES, n_clusters=5, n_patches=9, scale=0.2, seed=42)
    assert bits(ours.conv1.weight) == bits(theirs.conv1.weight)


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
def test_filters_of_larger_patches_are_their_center(algorithm: Any) -> None:
    options: dict[str, Any] = {"patches_per_image": 9, "algorithm": algorithm, "scale": 0.25}
    whole = prewarm_filters(IMAGES, 10, 5, **options)
    cropped = prewarm_filters(IMAGES, 10, 3, patch_size=5, **options)
    assert torch.equal(cropped, whole[:, :, 1:4, 1:4])


def test_each_filter_is_a_weighted_cluster_mean() -> None:
    """Undone scale and weights, the filters sum to zero: the patches were centered."""
    filters = prewarm_filters(IMAGES, 16, 3, patches_per_image=20).double().numpy()
    unweighted = filters.reshape(8, -1) / arm_oracles.manhattan_weights(2, 3)
    np.testing.assert_allclose(unweighted.sum(1), 0, atol=1e-5)
    assert abs(filters.reshape(8, -1).sum(1)).max() > 0.01  # the weighted ones do not


def test_more_clusters_than_filters() -> None:
    model = make_conv(2, 4)
    report = prewarm_(model, IMAGES, patches_per_image=9, n_filters=9)
    assert (report.filters_set, report.out_channels) == (4, 4)
    assert report.notes == ("the first 4 of 9 filters fit into the layer",)
    assert bits(model.weight) == bits(prewarm_filters(IMAGES, patches_per_image=9, n_filters=9)[:4])


@pytest.mark.parametrize("layer", ["2", "module"])
def test_another_layer(layer: str) -> None:
    net = make_net(2, 8)
    before = {name: bits(p) for name, p in net.named_parameters()}
    given = net[2] if layer == "module" else layer
    report = prewarm_(net, make_images(16, 8, 9, 9), patches_per_image=9, layers=given)
    changed = [name for name, p in net.named_parameters() if bits(p) != before[name]]
    assert (report.layer, report.filters_set, changed) == ("2", 2, ["2.weight"])


def test_the_report_prints_as_a_table() -> None:
    report = prewarm_(make_conv(2, 8), IMAGES, patches_per_image=9)
    lines = str(report).splitlines()
    assert lines[0] == "prewarm"
    rows = {line.split("  ")[0]: line for line in lines[1:]}
    assert "4 of 8" in rows["filters set"]
    assert "3 x 3" in rows["patch_size"]
    assert rows["patches_per_image"].endswith("given")
    assert rows["n_filters"].endswith("floor(F / 2) with F = 8")


# ---------------------------------------------------------------- fresh or trained


def lecun_truncated(weight: Tensor) -> Tensor:
    """As timm and Flax draw: a normal cut at two deviations, widened to keep its own."""
    std = math.sqrt(1 / weight[0].numel()) / 0.87962566
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


FRESH: dict[str, Callable[[Tensor], Any]] = {
    "torch's default": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "ResNet": lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "He": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "He, uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "ConvNeXt": lambda w: nn.init.trunc_normal_(w, std=0.02),
    "ViT": lecun_truncated,
    "AlexNet": lambda w: nn.init.normal_(w, std=0.01),
    "Glorot": nn.init.xavier_uniform_,
    "Glorot, normal": nn.init.xavier_normal_,
}
SHAPES = [(32, 1, 3, 3), (32, 3, 3, 3), (64, 3, 7, 7), (48, 3, 4, 4)]


@pytest.mark.parametrize("kind", FRESH)
def test_a_fresh_layer_is_never_called_trained(kind: str) -> None:
    """200 seeds; at the stated rate of 1 in 10,000 all nine kinds expect 0.18 alarms in all."""
    alarms = []
    with torch.random.fork_rng(devices=[]):
        for seed, shape in zip(range(200), itertools.cycle(SHAPES), strict=False):
            torch.manual_seed(seed)
            weight = torch.empty(shape)
            FRESH[kind](weight)
            if looks_trained(weight):
                alarms.append((seed, shape))
    assert not alarms


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounding_is_no_training(dtype: torch.dtype) -> None:
    for seed in range(20):
        assert not looks_trained(make_conv(3, 64, 7, seed=seed).weight.to(dtype))


def test_orthogonal_filters_are_known_where_their_size_is_a_usual_one() -> None:
    """Entries of variance 1 / max(F, D): LeCun's where F <= D; elsewhere they may look trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide = [nn.init.orthogonal_(torch.empty(16, 3, 3, 3)) for _ in range(50)]
        tall = nn.init.orthogonal_(torch.empty(256, 3, 3, 3))
    assert not any(looks_trained(weight) for weight in wide)
    assert looks_trained(tall)


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(32, 3, 3, 3),
        torch.full((32, 3, 3, 3), 0.1),
        torch.ones(8, 1, 1, 1),
        torch.full((32, 3, 3, 3), math.nan),
        make_conv(3, 32).weight.detach() * 3,
        make_conv(3, 32).weight.detach() + 0.1,
        make_conv(3, 32).weight.detach().abs(),
    ],
    ids=["zeros", "constant", "few ones", "NaN", "three times", "shifted", "positive"],
)
def test_what_no_initializer_draws_looks_trained(weight: Tensor) -> None:
    assert looks_trained(weight)


def trained_net() -> nn.Sequential:
    """200 quick steps of SGD on the embedded part of Fashion-MNIST."""
    with np.load(str(files("warminit") / "data" / "fashion_mini.npz")) as stored:
        pixels = torch.from_numpy(stored["train_images"][:1600, None] / 255.0).float()
        labels = torch.from_numpy(stored["train_labels"][:1600].astype(np.int64))
    inputs = (pixels - pixels.mean()) / pixels.std()
    head = nn.Linear(32 * 36, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    net = nn.Sequential(make_conv(1, 32, 5), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), head)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for step in range(200):
        batch = slice(32 * (step % 50), 32 * (step % 50) + 32)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    return net


def test_200_quick_steps_of_sgd_look_trained_and_only_warn() -> None:
    net, images = trained_net(), make_images(32, 1, 12, 12)
    with pytest.warns(WarminitWarning, match=r"0 looks trained: .*train from scratch") as caught:
        report = prewarm_(net, images, patches_per_image=9)
    assert report.filters_set == 16
    assert any("looks trained" in note for note in report.notes)
    assert bits(first(net).weight[:16]) == bits(prewarm_filters(images, 32, 5, patches_per_image=9))
    assert len(caught) == 1


def test_a_warning_as_an_error_leaves_the_model_alone() -> None:
    model = make_conv(2, 32)
    nn.init.constant_(model.weight, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WarminitWarning):
            prewarm_(model, IMAGES, patches_per_image=9)
    assert torch.equal(model.weight, torch.full_like(model.weight, 0.1))
