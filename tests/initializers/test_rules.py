"""derive_rules against a brute-force Otsu, F.unfold and cases worked by hand."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from warminit import Hyperparameters, derive_rules
from warminit.errors import WarminitWarning


def brute_otsu(pixels: Any) -> tuple[float, float, float]:
    """Equation 4 tried at each of 255 thresholds: threshold, density, separability.

    Bin k of 256 over [0, 1] holds the 8-bit value k, and its center is (k + 0.5) / 256.
    """
    values = np.asarray(pixels, dtype=np.float64).ravel()
    binned = (np.minimum((values * 256).astype(int), 255) + 0.5) / 256
    best, threshold = -1.0, 0.0
    for k in range(255):
        low, high = binned[binned < (k + 1) / 256], binned[binned > (k + 1) / 256]
        if low.size and high.size:
            weight = low.size * high.size / binned.size**2
            between = weight * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-12):
                best, threshold = between, (k + 0.5) / 256
    return threshold, float((values > threshold).mean()), best / binned.var()


def bytes_of(values: Any, height: int, width: int, channels: int = 1) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.uint8)).view(-1, channels, height, width)


def standardize(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    return (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def natural(n: int = 20, channels: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    """Smooth random pixels in [0, 1], touching both ends: like photographs, not bimodal."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 5, 5, generator=generator)
    pixels = F.interpolate(coarse, size=(size, size + 3), mode="bilinear")
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 90), st.integers(120, 255), st.integers(1, 40))
def test_otsu_is_brute_force_otsu(seed: int, dark: int, bright: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    centers = np.where(rng.random(3 * 12 * 9) < rng.uniform(0.1, 0.9), dark, bright)
    values = np.clip(rng.normal(centers, spread), 0, 255).astype(np.uint8)
    threshold, density, separability = brute_otsu(values / 255)
    if abs(separability - 0.8) < 1e-6 or separability < 0.8:
        with pytest.warns(WarminitWarning):
            rules = derive_rules(bytes_of(values, 12, 9))
    else:
        rules = derive_rules(bytes_of(values, 12, 9))
        assert rules.n_patches == min(max(1, math.floor(8 / density)), 70)
    assert rules.otsu_threshold == pytest.approx(threshold, abs=1e-9)
    assert rules.foreground_density == pytest.approx(density, abs=1e-12)
    assert rules.separability == pytest.approx(separability, abs=1e-9)


def test_separability_of_known_histograms() -> None:
    uniform = np.repeat(np.arange(256), 4)
    with pytest.warns(WarminitWarning):
        assert derive_rules(bytes_of(uniform, 32, 32)).separability == pytest.approx(0.75, abs=1e-4)
    z = np.random.default_rng(0).normal(128, 25, 400_000).clip(0, 255)
    with pytest.warns(WarminitWarning):  # 2 / pi for a Gaussian cut at its mean
        separability = derive_rules(bytes_of(z, 400, 1000)).separability
    assert separability == pytest.approx(2 / math.pi, abs=0.003)
    assert f"{separability:.2f}" == "0.64"


def strokes(dtype: torch.dtype = torch.float32) -> Tensor:
    """Bimodal one-channel images whose pixels touch 0 and 1."""
    rng = np.random.default_rng(3)
    values = np.where(rng.random((6, 1, 10, 13)) < 0.3, 215, 12) + rng.integers(-12, 41, (10, 13))
    values.flat[:2] = 0, 255
    return torch.from_numpy(values / 255).to(dtype)


@pytest.mark.parametrize(("factor", "shift"), [(3.1, -0.4), (1 / 0.3081, -0.1307), (7.0, -2.0)])
def test_the_density_is_affine_invariant(factor: float, shift: float) -> None:
    images = strokes()
    raw, affine = derive_rules(images), derive_rules(images * factor + shift)
    assert affine.foreground_density == raw.foreground_density
    assert affine.n_patches == raw.n_patches
    assert affine.separability == pytest.approx(raw.separability, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_standardized_images_give_what_raw_ones_give(channels: int) -> None:
    raw = strokes() if channels == 1 else natural(channels=channels)
    mean, std = [0.4, 0.5, 0.6, 0.3][:channels], [0.2, 0.25, 0.3, 0.22][:channels]
    fed = standardize(raw, mean, std)
    wanted = derive_rules(raw)
    for rules in (
        derive_rules(fed, mean=mean, std=std),
        derive_rules(fed, mean=torch.tensor(mean), std=tuple(std)),
        derive_rules(fed, raw_images=raw),
    ):
        assert rules.n_patches == wanted.n_patches
        names = ("foreground_density", "otsu_threshold") if channels == 1 else ("patch_norm",)
        for name in names:
            assert getattr(rules, name) == pytest.approx(getattr(wanted, name), rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_give_what_their_floats_give(channels: int) -> None:
    floats = strokes() if channels == 1 else natural()
    images = (floats * 255).round().to(torch.uint8)
    wanted = derive_rules(images.float() / 255)
    assert derive_rules(images) == wanted
    # Bytes are raw whatever statistics come with them: these are for feeding the model.
    statistics: dict[str, Any] = {"mean": [0.4] * channels, "std": [0.2] * channels}
    assert derive_rules(images, **statistics) == wanted


def test_standardized_colour_without_its_statistics_gets_8192_patches_in_all_and_a_note() -> None:
    images = natural()
    fed = standardize(images, [0.5] * 3, [0.25] * 3)
    rules = derive_rules(fed)
    assert derive_rules(fed.repeat(2, 1, 1, 1)).n_patches == math.ceil(8192 / (2 * len(images)))
    assert rules.patch_norm is None
    for said in ("mean=", "std=", "8192"):
        assert said in rules.provenance["fallback"]
    few = derive_rules(fed[:1])
    assert few.n_patches == (fed.shape[2] - 2) * (fed.shape[3] - 2), "no more than positions"
    known = derive_rules(fed, mean=[0.5] * 3, std=[0.25] * 3)
    assert known.n_patches == derive_rules(images).n_patches
    assert "fallback" not in known.provenance
    rules = derive_rules(fed, n_patches=28)
    assert "fallback" not in rules.provenance
    assert (rules.n_patches, rules.scale, rules.patch_norm) == (28, 0.25, None)
    assert "given" in rules.provenance["n_patches"]


def test_patch_norm_by_hand() -> None:
    # Two channels, one dark and one bright: any 3 x 3 patch is nine zeros and nine ones, its mean
    # 1/2, its norm sqrt(18 / 4).
    flat = torch.zeros(2, 2, 20, 20)
    flat[:, 1] = 1
    rules = derive_rules(flat)
    assert rules.patch_norm == pytest.approx(math.sqrt(4.5), rel=1e-6)
    assert rules.n_patches == math.floor(8 * 6.65 * math.sqrt(4.5)) == 112
    # One position: (1, 0, 0, 0 | 0, 0, 0, 1) has mean 1/4 and norm sqrt(2 - 8 / 16).
    single = bytes_of([255, 0, 0, 0, 0, 0, 0, 255], 2, 2, channels=2)
    rules = derive_rules(single, kernel_size=2)
    assert rules.patch_norm == pytest.approx(math.sqrt(1.5), rel=1e-6)
    assert rules.n_patches == 1, "65 by the rule, and an image has one position"


@pytest.mark.parametrize("kernel", [3, (2, 5), (7, 1)])
def test_patch_norm_is_that_of_all_patches(kernel: int | tuple[int, int]) -> None:
    images = natural(n=40)
    patches = F.unfold(images, kernel).transpose(1, 2).flatten(0, 1)
    norms = (patches - patches.mean(1, keepdim=True)).norm(dim=1)
    rules = derive_rules(images, kernel_size=kernel)
    # 5 standard errors of a sample of 10,000, which the paper's two digits need at the least.
    assert rules.patch_norm == pytest.approx(float(norms.mean()), abs=5 * float(norms.std()) / 100)
    assert ("extrapolated" in rules.provenance["n_patches"]) is (kernel != 3)


def test_one_mean_is_removed_from_a_patch_not_one_a_channel() -> None:
    images = torch.full((4, 3, 8, 8), 0.2)
    images[:, 2] = 0.8
    # Values (0.2, 0.2, 0.8) nine times: deviations (-0.2, -0.2, 0.4) from the one mean 0.4.
    wanted = math.sqrt(9 * (0.04 + 0.04 + 0.16))
    assert derive_rules(images).patch_norm == pytest.approx(wanted, rel=1e-5)


def test_n_patches_is_at_least_1_and_at_most_the_number_of_positions() -> None:
    faint = torch.full((4, 3, 9, 9), 0.5)
    faint[0, 0, 4, 4] = 0.51
    assert derive_rules(faint).n_patches == 1
    bright = torch.ones(2, 1, 9, 9)
    bright[:, :, 0, :3] = 0
    assert derive_rules(bright, out_channels=2).n_patches == 1, "floor(0.5 / 0.963) is 0"
    stars = torch.zeros(2, 1, 9, 11)
    stars[:, :, 4, 4] = 1
    assert derive_rules(stars).n_patches == 7 * 9, "floor(8 * 99) is more than there are"
    assert derive_rules(stars, out_channels=2).n_patches == 49, "floor(0.5 * 99)"


@pytest.mark.parametrize(
    ("channels", "kernel", "scale"),
    [
        (1, 3, 0.20), (1, 7, 0.20), (1, 9, math.sqrt(2 / 81)), (2, 3, 0.25), (3, 3, 0.25),
        (3, 7, 0.1166), (3, (5, 3), math.sqrt(2 / 45)), (4, 3, math.sqrt(2 / 36)), (3, 1, 0.25),
    ],
)  # fmt: skip
def test_scale_is_capped_by_kaiming_parity(
    channels: int, kernel: int | tuple[int, int], scale: float
) -> None:
    images = natural(channels=channels)
    rules = derive_rules(images, kernel_size=kernel, n_patches=5)
    assert rules.scale == pytest.approx(scale, abs=5e-5)
    assert rules.patch_size == ((kernel, kernel) if isinstance(kernel, int) else kernel)


def test_every_hyperparameter_says_where_it_comes_from() -> None:
    rules = derive_rules(natural(), out_channels=33, seed=4)
    assert isinstance(rules, Hyperparameters)
    assert rules.n_clusters == 16
    assert set(rules.provenance) >= {"n_clusters", "n_patches", "patch_size", "scale"}
    assert all(isinstance(text, str) and len(text) > 5 for text in rules.provenance.values())
    assert "6.65" in rules.provenance["n_patches"]
    assert "Otsu" in derive_rules(strokes()).provenance["n_patches"]
    assert "extrapolated" not in derive_rules(strokes()).provenance["n_patches"]
    assert "parity" in derive_rules(natural(), kernel_size=7).provenance["scale"].lower()


def test_the_same_seed_gives_the_same_rules_and_the_global_generators_stay() -> None:
    states = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # type: ignore[index]
    images = natural()
    kept = images.clone()
    assert derive_rules(images, seed=1) == derive_rules(images, seed=1)
    assert derive_rules(images, seed=1).patch_norm != derive_rules(images, seed=2).patch_norm
    assert torch.equal(images, kept)
    after = random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert after == states
