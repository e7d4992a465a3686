"""name of an arm -> a small model, images, and what both were before. Shared by the arms' tests."""

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import arm_oracles
from warminit import InitReport, init_

BODY_METHODS = (
    "dirac", "mimetic", "impulse", "convcov", "zero-residual", "embed-scale", "sinusoidal",
)  # fmt: skip
"""Arms that need other models than those here; tests/initializers/bodies holds them to the same."""


def make_conv(
    channels: int = 2, filters: int = 8, kernel: int | tuple[int, int] = 3, seed: int = 0
) -> nn.Conv2d:
    """Build a convolution from a seed, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Conv2d(channels, filters, kernel)


class Calls(nn.Module):
    """A forward that calls a function, as in networks that keep their normalizations there."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor) -> Tensor:
        return self.function(features)


def make_net(channels: int = 2, filters: int = 8, kernel: int = 3) -> nn.Sequential:
    """Build a net with a second convolution and a head, for arms that reach beyond the first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(channels, filters, kernel), nn.ReLU(), nn.Conv2d(filters, 5, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
        )  # fmt: skip


def first(net: nn.Module) -> nn.Conv2d:
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d))


def make_images(*shape: int, seed: int = 1) -> Tensor:
    """Standardized images with neighbours that resemble each other."""
    draw = np.random.RandomState(seed)
    noise = draw.randn(*shape)
    smooth = noise + np.roll(noise, 1, -1) + np.roll(noise, 1, -2) + noise.mean(1, keepdims=True)
    return torch.from_numpy(smooth / smooth.std()).float()


def parameters_of(arm: str, **more: Any) -> dict[str, Any]:
    """Give the count of patches to arms that take patches, so that no pixel rule is asked."""
    from_rules = arm in {
        "prewarm", "norm-matched-random", "shuffled-prewarm", "random-patches", "whitening", "dct",
        "gabor", "coates-ng", "krahenbuhl", "whitening-small-head",
    }  # fmt: skip
    return {"patches_per_image": 9, **more} if from_rules else more


def run_stored(arm: str) -> tuple[np.ndarray[Any, np.dtype[np.float64]], dict[str, Any]]:
    """Apply an arm to the stored case; return the filters that it set, and the fixture."""
    stored = arm_oracles.read_fixture(arm)
    filters, channels, *kernel = stored["shape"]
    model = make_conv(channels, filters, (kernel[0], kernel[1]), seed=99)
    images = torch.from_numpy(arm_oracles.stored_images()).float()
    report = init_(model, images, arm, seed=stored["seed"], **stored["parameters"])
    return model.weight.detach()[: report.filters_set].double().numpy(), stored


def check_stored(arm: str) -> None:
    """Hold the arm and its plain statement against the stored numbers, in any order of clusters."""
    got, stored = run_stored(arm)
    stated = arm_oracles.STATEMENTS[arm]()
    if arm == "shuffled-prewarm":
        got = np.sort(got.reshape(len(got), -1), axis=1)
    if arm in arm_oracles.UNORDERED:
        got, stated = arm_oracles.by_first_value(got), arm_oracles.by_first_value(stated)
    expected = np.array(stored["expected"])
    # Stored to 6 digits; the arms work in float32, whose last digit here is 3e-8.
    np.testing.assert_allclose(stated.reshape(expected.shape), expected, rtol=0, atol=6e-7)
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=0, atol=2e-6)


def state_of_generators() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def all_bits(net: nn.Module) -> dict[str, bytes]:
    """Return the bits of every parameter and buffer that holds values."""
    return {name: bits(tensor) for name, tensor in net.state_dict().items()}


def set_filters(net: nn.Module, report: InitReport) -> Tensor:
    return first(net).weight.detach()[: report.filters_set].clone()
