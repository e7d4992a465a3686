"""norm-matched-random, shuffled-prewarm and random-patches: what each shares with Pre-Warm."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from arm_cases import bits, check_stored, make_conv, make_images
from warminit import init_
from warminit.errors import WarminitError

pytestmark = pytest.mark.usefixtures("one_thread")

CONTROLS = ("norm-matched-random", "shuffled-prewarm", "random-patches")
IMAGES = make_images(32, 2, 12, 12)


def filters(arm: str, seed: int = 0, out_channels: int = 32, **parameters: Any) -> Tensor:
    model = make_conv(2, out_channels)
    report = init_(model, IMAGES, arm, seed=seed, **{"patches_per_image": 10, **parameters})
    assert report.method == arm
    return model.weight.detach()[: report.filters_set].double()


@pytest.mark.parametrize("arm", CONTROLS)
def test_the_stored_numbers(arm: str) -> None:
    check_stored(arm)


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
@pytest.mark.parametrize("scale", [0.25, "parity", "match"])
def test_global_matching(algorithm: str, scale: Any) -> None:
    options: dict[str, Any] = {"algorithm": algorithm, "scale": scale}
    wanted = filters("prewarm", **options).numpy()
    random = filters("norm-matched-random", **options).numpy()
    patches = filters("random-patches", **options).numpy()
    assert random.shape == patches.shape == wanted.shape
    assert np.std(random) == pytest.approx(np.std(wanted), rel=1e-6)
    assert np.linalg.norm(patches) == pytest.approx(np.linalg.norm(wanted), rel=1e-6)
    norms = [np.linalg.norm(bank.reshape(16, -1), axis=1) for bank in (wanted, random, patches)]
    assert not np.allclose(norms[1], norms[0], rtol=0.01)
    assert not np.allclose(norms[2], norms[0], rtol=0.01)


@pytest.mark.parametrize("arm", ["norm-matched-random", "random-patches"])
def test_per_filter_matching(arm: str) -> None:
    wanted = filters("prewarm").flatten(1).norm(dim=1)
    found = filters(arm, matching="per-filter").flatten(1).norm(dim=1)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def test_norm_matched_content_is_gaussian() -> None:
    """2,304 values, Kolmogorov-Smirnov: a right sampler fails once in a million seeds."""
    bank = filters("norm-matched-random", out_channels=256, n_filters=128).numpy()
    assert bank.size == 2304
    assert scipy.stats.kstest(bank.ravel() / np.std(bank), "norm").pvalue > 1e-6
    # It would see uniform values of the same deviation.
    bound = math.sqrt(3)
    flat = np.random.RandomState(0).uniform(-bound, bound, 2304)
    assert scipy.stats.kstest(flat, "norm").pvalue < 1e-6
    wanted = filters("prewarm", out_channels=256, n_filters=128).numpy()
    assert abs(np.corrcoef(bank.ravel(), wanted.ravel())[0, 1]) < 5 / math.sqrt(2304)


def test_shuffled_filters_hold_prewarms_values_in_other_places() -> None:
    wanted = filters("prewarm").flatten(1).numpy()
    shuffled = filters("shuffled-prewarm").flatten(1).numpy()
    assert np.array_equal(np.sort(shuffled, axis=1), np.sort(wanted, axis=1))
    moved = (shuffled != wanted).mean(1)
    assert moved.min() > 0.5  # of 18 values a random order leaves 1 in place on average
    orders = {
        tuple(np.argsort(w, kind="stable")[np.argsort(np.argsort(s, kind="stable"))])
        for w, s in zip(wanted, shuffled, strict=True)
    }
    assert len(orders) == 16  # each filter has an order of its own


@pytest.mark.parametrize("matching", ["global", "per-filter"])
def test_random_patches_stand_in_the_images(matching: str) -> None:
    """Every position of every image is searched: one patch is parallel to each filter."""
    found = filters("random-patches", matching=matching).flatten(1).numpy()
    rows = F.unfold(IMAGES.double(), 3).transpose(1, 2).reshape(-1, 18).numpy()
    cosine = (found @ rows.T) / np.outer(
        np.linalg.norm(found, axis=1), np.linalg.norm(rows, axis=1)
    )
    best = cosine.argmax(1)
    # The filters are rounded to float32.
    np.testing.assert_allclose(cosine[np.arange(16), best], 1, rtol=0, atol=1e-12)
    assert (np.sort(cosine, axis=1)[:, -2] < 0.999).all()  # no other patch is
    factors = np.linalg.norm(found, axis=1) / np.linalg.norm(rows[best], axis=1)
    if matching == "global":
        np.testing.assert_allclose(factors, factors[0], rtol=1e-6)
    assert len(set(best // 100)) > 8  # from many images (100 positions each), not from one


def test_random_patches_are_cropped_to_no_other_size() -> None:
    # patch_size is Pre-Warm's; the raw patches always have the kernel's size.
    found = filters("random-patches", patch_size=5)
    assert found.shape == (16, 2, 3, 3)
    assert np.linalg.norm(found) == pytest.approx(
        float(filters("prewarm", patch_size=5).norm()), rel=1e-6
    )


def test_a_bank_of_flat_patches() -> None:
    """Images of zeros but for one corner: most raw patches are zero, and none becomes NaN."""
    images = torch.zeros(32, 2, 12, 12)
    images[:, :, :4, :4] = make_images(32, 2, 4, 4)
    for arm in CONTROLS:
        for matching in ["global", "per-filter"] if arm != "shuffled-prewarm" else [None]:
            model = make_conv(2, 32)
            options: dict[str, Any] = {"matching": matching} if matching else {}
            init_(model, images, arm, patches_per_image=10, **options)
            assert bool(torch.isfinite(model.weight).all()), (arm, matching)


@pytest.mark.parametrize("arm", ["norm-matched-random", "random-patches"])
def test_an_unknown_matching(arm: str) -> None:
    model = make_conv(2, 32)
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=r"matching='norm': expected one of global, per-filter"):
        init_(model, IMAGES, arm, patches_per_image=10, matching="norm")
    assert bits(model.weight) == before


@pytest.mark.parametrize("arm", CONTROLS)
def test_an_unknown_algorithm(arm: str) -> None:
    with pytest.raises(WarminitError, match=r"algorithm='slow': expected one of fast, paper"):
        filters(arm, algorithm="slow")
