"""probabilities and labels -> calibration error, worked by hand and by its definition."""

import numpy as np
import pytest

from warminit.errors import WarminitError
from warminit.lab.verdict.calibration import calibration_error


def test_four_images_in_two_bins_by_hand() -> None:
    p = [[0.9, 0.1], [0.45, 0.55], [0.3, 0.7], [0.8, 0.2]]
    # By confidence: 0.55 wrong and 0.7 right: |0.5 - 0.625|; 0.8 right and 0.9 wrong: |0.5 - 0.85|.
    assert calibration_error(p, [1, 0, 1, 0], bins=2) == pytest.approx((0.125 + 0.35) / 2)
    assert calibration_error(p, [1, 0, 1, 0], bins=1) == pytest.approx(abs(0.5 - 0.7375))
    # More bins than images: each image is a bin.
    assert calibration_error(p, [1, 0, 1, 0]) == pytest.approx((0.9 + 0.55 + 0.3 + 0.2) / 4)


def test_bins_of_unequal_numbers_weigh_by_their_images() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 47)
    y = rng.integers(0, 5, 47)
    order = np.argsort(p.max(axis=1))
    expected = 0.0
    for bin_ in (order[:16], order[16:32], order[32:]):  # 47 = 16 + 16 + 15
        accuracy = np.mean([p[i].argmax() == y[i] for i in bin_])
        expected += len(bin_) / 47 * abs(accuracy - p[bin_].max(axis=1).mean())
    assert calibration_error(p, y, bins=3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "y", "bins", "text"),
    [
        ([0.5, 0.5], [0], 15, "expected (images, classes)"),
        ([[0.5, 0.5]], [0, 1], 15, "expected (images, classes)"),
        ([[3.0, 1.0]], [0], 15, "a row sums to 4"),
        ([[1.5, -0.5]], [0], 15, "probabilities"),
        ([[0.5, 0.5]], [2], 15, "whole numbers from 0 to 1"),
        ([[0.5, 0.5]], [0.5], 15, "whole numbers from 0 to 1"),
        ([[0.5, 0.5]], [0], 0, "bins=0"),
    ],
)
def test_bad_input_is_one_clear_error(p: object, y: object, bins: int, text: str) -> None:
    with pytest.raises(WarminitError) as caught:
        calibration_error(p, y, bins=bins)  # type: ignore[arg-type]
    assert text in str(caught.value)
