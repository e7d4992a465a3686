"""The arm prewarm: with no parameters prewarm_ itself; each ingredient against its statement."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import arm_oracles
from arm_cases import bits, check_stored, make_conv, make_images
from warminit import init_, prewarm_
from warminit.errors import WarminitError
from warminit.images.patches import sample_patches

pytestmark = pytest.mark.usefixtures("one_thread")

STORED = torch.from_numpy(arm_oracles.stored_images()).float()
IMAGES = make_images(32, 2, 12, 12)


def stored_filters(**parameters: Any) -> arm_oracles.Array:
    """Filters of the stored case, whose patches are whole images, ordered by first value."""
    model = make_conv(2, 8)
    init_(
        model,
        STORED,
        "prewarm",
        **{"n_filters": 4, "patches_per_image": 1, "scale": 0.25} | parameters,
    )
    return arm_oracles.by_first_value(model.weight.detach()[:4].double().numpy())


def test_the_stored_numbers() -> None:
    check_stored("prewarm")


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
@pytest.mark.parametrize("seed", [0, 3])
def test_without_parameters_it_is_prewarm_itself(algorithm: Any, seed: int) -> None:
    arm, function = make_conv(2, 16), make_conv(2, 16)
    said = init_(arm, IMAGES, "prewarm", seed=seed, patches_per_image=10, algorithm=algorithm)
    meant = prewarm_(function, IMAGES, seed=seed, patches_per_image=10, algorithm=algorithm)
    assert bits(arm.weight) == bits(function.weight)
    assert said.parameters == meant.parameters
    assert said.provenance == meant.provenance


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("centering", ["patch", "channel", "none"])
@pytest.mark.parametrize("algorithm", ["fast", "paper"])
def test_each_ingredient_against_its_statement(
    algorithm: str, centering: str, spatial: bool
) -> None:
    got = stored_filters(algorithm=algorithm, centering=centering, spatial=spatial)
    stated = arm_oracles.by_first_value(
        arm_oracles.prewarm(STORED.double().numpy(), centering, spatial)
    )
    # The minibatch algorithm's centroids are running means: off by a part of the noise, 0.1 of 3.
    np.testing.assert_allclose(got, stated, atol=2e-6 if algorithm == "fast" else 0.008)
    ablated = centering != "patch" or not spatial
    same = np.allclose(got, stored_filters(algorithm=algorithm), atol=0.01)
    assert same != ablated


def test_what_centering_leaves_out() -> None:
    plain = stored_filters(centering="none", spatial=False)
    channel = stored_filters(centering="channel", spatial=False)
    patch = stored_filters(spatial=False)
    np.testing.assert_allclose(channel.sum((2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(patch.sum((1, 2, 3)), 0, atol=1e-6)
    assert abs(patch.sum((2, 3))).max() > 0.05
    assert abs(plain.sum((1, 2, 3))).max() > 0.05


@pytest.mark.parametrize(
    ("fraction", "out_channels", "set_"),
    [(0.25, 32, 8), (0.5, 32, 16), (1.0, 32, 32), (1, 8, 8), (0.01, 8, 1), (0.3, 10, 3)],
)
def test_fraction_of_the_bank(fraction: float, out_channels: int, set_: int) -> None:
    model = make_conv(2, out_channels)
    before = model.weight.detach().clone()
    report = init_(model, IMAGES, "prewarm", patches_per_image=10, fraction=fraction)
    assert (report.filters_set, report.parameters["n_filters"]) == (set_, set_)
    changed = (model.weight != before).flatten(1).any(1)
    assert changed.tolist() == [True] * set_ + [False] * (out_channels - set_)


def test_the_default_fraction_is_a_half() -> None:
    default, half = make_conv(2, 10), make_conv(2, 10)
    init_(default, IMAGES, "prewarm", patches_per_image=10)
    init_(half, IMAGES, "prewarm", patches_per_image=10, fraction=0.5)
    assert bits(default.weight) == bits(half.weight)


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
@pytest.mark.parametrize("scale", [0.1, "parity"])
def test_global_and_per_filter_scaling(scale: Any, algorithm: str) -> None:
    wanted = math.sqrt(2 / 18) if scale == "parity" else scale
    whole = stored_filters(scale=scale, algorithm=algorithm)
    each = stored_filters(scale=scale, algorithm=algorithm, scaling="per-filter")
    assert np.std(whole) == pytest.approx(wanted, rel=1e-6)
    assert np.ptp(np.std(whole.reshape(4, -1), axis=1)) > 0.005
    np.testing.assert_allclose(np.std(each.reshape(4, -1), axis=1), wanted, rtol=1e-6)
    # The same directions, in another order, since the filters are ordered by first value.
    rows = [
        bank.reshape(4, -1) / np.linalg.norm(bank.reshape(4, -1), axis=1, keepdims=True)
        for bank in (whole, each)
    ]
    np.testing.assert_allclose((rows[0] @ rows[1].T).max(1), 1, rtol=1e-6)


@pytest.mark.parametrize("algorithm", ["fast", "paper"])
@pytest.mark.parametrize(("scale", "deviation"), [("match", None), ("unit", 1.0)])
def test_response_over_the_sampled_patches(
    scale: str, deviation: float | None, algorithm: str
) -> None:
    """Whole images as patches, so that the sample is known; not centered, as a layer sees them."""
    got = stored_filters(scale=scale, algorithm=algorithm).reshape(4, -1)
    patches = STORED.double().numpy().reshape(32, 18)
    if deviation is None:
        deviation = math.sqrt(np.trace(patches.T @ patches / 32) / (3 * 18))
    np.testing.assert_allclose(np.std(patches @ got.T, axis=0), deviation, rtol=1e-5)


def test_match_on_a_real_sample() -> None:
    """The sample is drawn again from the arm's seed: the same patches, in no other order."""
    model = make_conv(2, 16)
    init_(model, IMAGES, "prewarm", patches_per_image=10, scale="match", seed=6)
    patches = sample_patches(IMAGES, 10, (3, 3), torch.Generator().manual_seed(6)).double().numpy()
    target = math.sqrt((patches**2).sum(1).mean() / (3 * 18))
    bank = model.weight.detach()[:8].flatten(1).double().numpy()
    np.testing.assert_allclose(np.std(patches @ bank.T, axis=0), target, rtol=1e-5)


def test_the_report_names_what_is_ablated_and_nothing_else() -> None:
    def parameters(**options: Any) -> set[str]:
        report = init_(make_conv(2, 8), IMAGES, "prewarm", patches_per_image=10, **options)
        return set(report.parameters) - {
            "n_filters", "patches_per_image", "patch_size", "scale", "algorithm",
        }  # fmt: skip

    assert parameters() == set()
    assert parameters(spatial=False) == {"spatial"}
    assert parameters(centering="none", scaling="per-filter") == {"centering", "scaling"}


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"fraction": 0.5, "n_filters": 4},
            r"fraction=0\.5 and n_filters=4: expected one of the two\. Leave one",
        ),
        (
            {"fraction": 0.0},
            r"fraction=0\.0: expected a number above 0 and at most 1.*The paper's is 0\.5",
        ),
        ({"fraction": 1.5}, r"fraction=1\.5: expected a number above 0 and at most 1"),
        ({"fraction": float("nan")}, r"fraction=nan: expected a number above 0"),
        ({"fraction": "half"}, r"fraction='half': expected a number above 0"),
        ({"centering": "image"}, r"centering='image': expected one of patch, channel, none"),
        ({"scaling": "both"}, r"scaling='both': expected one of global, per-filter"),
        ({"algorithm": "slow"}, r"algorithm='slow': expected one of fast, paper"),
        ({"scale": "he"}, r"scale='he': expected a finite number above 0.*parity, match, unit"),
    ],
)
def test_errors_say_what_is_wrong(parameters: dict[str, Any], text: str) -> None:
    model = make_conv(2, 8)
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=text):
        init_(model, IMAGES, "prewarm", patches_per_image=10, **parameters)
    assert bits(model.weight) == before
