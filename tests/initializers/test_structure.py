"""dct against SciPy's transform, gabor pixel by pixel, and both in a model."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch

import arm_oracles
from arm_cases import bits, check_stored, make_conv, make_images
from warminit import init_
from warminit.errors import WarminitError
from warminit.initializers.stems.structure import dct_directions, gabor_bank

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = [(1, 3, 3), (3, 3, 3), (2, 5, 4), (4, 1, 1), (3, 1, 7)]


def frequencies(direction: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The one frequency at which SciPy's orthonormal DCT-II finds the direction."""
    found = scipy.fft.dctn(direction.numpy().reshape(shape), norm="ortho")
    place = np.unravel_index(np.argmax(abs(found)), shape)
    expected = np.zeros(shape)
    expected[place] = 1
    np.testing.assert_allclose(found, expected, atol=1e-12)
    return tuple(int(k) for k in place)


@pytest.mark.parametrize("arm", ["dct", "gabor"])
def test_the_stored_numbers(arm: str) -> None:
    check_stored(arm)


@pytest.mark.parametrize("brightness", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_whole_basis_is_scipys(shape: tuple[int, ...], brightness: bool) -> None:
    values = math.prod(shape)
    m = values if brightness else values - 1
    basis = dct_directions(m, shape, brightness=brightness)
    assert basis.shape == (m, values)
    np.testing.assert_allclose(basis @ basis.T, np.eye(m), atol=1e-12)
    found = [frequencies(direction, shape) for direction in basis]
    assert len(set(found)) == m
    assert ((0, 0, 0) in found) == brightness
    order = [sum(Fraction(k, n) for k, n in zip(f, shape, strict=True)) for f in found]
    assert order == sorted(order)


@pytest.mark.parametrize(("asked", "got"), [(3, 3), (8, 8), (11, 11), (16, 16), (20, 16)])
def test_negatives_follow_where_there_are_no_more_directions(asked: int, got: int) -> None:
    directions = dct_directions(asked, (1, 3, 3))
    assert len(directions) == got
    assert torch.equal(directions[8:], -directions[: max(0, got - 8)])
    assert float(directions.sum(1).abs().max()) < 1e-12  # without brightness


def test_the_first_directions_by_hand() -> None:
    """2 x 2, one channel: rows, columns and the checkerboard, brightness before them."""
    expected = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    found = dct_directions(4, (1, 2, 2), brightness=True)
    np.testing.assert_allclose(found, np.array(expected) / 2, atol=1e-15)


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 3, 3), (3, 7, 7), (2, 5, 5)])
@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_gabor_is_its_formula_pixel_by_pixel(n: int, shape: tuple[int, int, int]) -> None:
    bank = gabor_bank(n, shape).numpy().reshape(n, *shape)
    expected = np.stack([arm_oracles.gabor(index, n, shape) for index in range(n)])
    np.testing.assert_allclose(bank, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 4, 4), (2, 7, 7), (1, 3, 5)])
def test_gabor_functions_have_zero_mean_and_unit_norm(shape: tuple[int, int, int]) -> None:
    for n in range(1, 17):
        bank = gabor_bank(n, shape).numpy()
        assert np.isfinite(bank).all(), (n, shape)
        np.testing.assert_allclose(bank.sum(1), 0, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(bank, axis=1), 1, rtol=1e-12)
        channels = bank.reshape(n, shape[0], -1)
        assert (channels == channels[:, :1]).all()


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 5, 5), (1, 7, 7)])
def test_edges_are_odd_bars_are_even_and_turn_evenly(shape: tuple[int, int, int]) -> None:
    bank = gabor_bank(16, shape).reshape(16, *shape[1:])
    turned = bank.flip(1, 2)
    torch.testing.assert_close(turned[:8], -bank[:8], rtol=0, atol=1e-12)
    torch.testing.assert_close(turned[8:], bank[8:], rtol=0, atol=1e-12)
    # A quarter turn of the kernel is a quarter of the edges' orders, and half of the bars'.
    quarter = bank.rot90(-1, (1, 2))
    torch.testing.assert_close(quarter[:8], bank[:8].roll(-2, 0), rtol=0, atol=1e-12)
    torch.testing.assert_close(quarter[8:], bank[8:].roll(-4, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("arm", ["dct", "gabor"])
@pytest.mark.parametrize("scale", [0.25, "parity", "match", "unit"])
def test_in_a_model(arm: str, scale: Any) -> None:
    """Count and scale are Pre-Warm's; images count only for scales that need patches."""
    model, images = make_conv(2, 16), make_images(16, 2, 12, 12)
    report = init_(model, images, arm, patches_per_image=10, scale=scale, seed=0)
    assert (report.method, report.filters_set) == (arm, 8)
    bank = model.weight.detach()[:8].flatten(1).double().numpy()
    stated = (
        arm_oracles.dct((2, 3, 3), False)[:8]
        if arm == "dct"
        else np.stack([arm_oracles.gabor(index, 8, (2, 3, 3)) for index in range(8)])
    ).reshape(8, -1)
    cosine = (bank * stated).sum(1) / np.linalg.norm(bank, axis=1)
    np.testing.assert_allclose(cosine, 1, rtol=1e-6)
    if scale in {0.25, "parity"}:
        wanted = 0.25 if scale == 0.25 else math.sqrt(2 / 18)
        assert np.std(bank) == pytest.approx(wanted, rel=1e-6)
        other = make_conv(2, 16)
        init_(other, images.flip(0, 3) * 2, arm, patches_per_image=10, scale=scale, seed=9)
        assert bits(other.weight) == bits(model.weight)


def test_brightness_adds_the_constant_direction_first() -> None:
    model = make_conv(1, 18)
    init_(model, make_images(8, 1, 9, 9), "dct", patches_per_image=9, n_filters=18, brightness=True)
    flat = model.weight.detach().flatten(1)
    torch.testing.assert_close(flat[0], flat[0, :1].expand(9))
    assert torch.equal(flat[9:], -flat[:9])


@pytest.mark.parametrize("arm", ["dct", "gabor"])
def test_a_kernel_that_leaves_nothing_is_an_error(arm: str) -> None:
    """One value a patch: no orientation, and no frequency besides the constant one."""
    model = make_conv(1, 8, 1)
    before = bits(model.weight)
    with pytest.raises(WarminitError, match=r"kernel|direction"):
        init_(model, make_images(8, 1, 9, 9), arm, patches_per_image=9)
    assert bits(model.weight) == before


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 1), (1, 3)])
def test_gabor_names_the_kernel(kernel: tuple[int, int]) -> None:
    text = rf"the layer's kernel is {kernel[0]} x {kernel[1]}: expected at least 3 x 3 for Gabor"
    with pytest.raises(WarminitError, match=text):
        gabor_bank(4, (3, *kernel))


@pytest.mark.parametrize(
    ("arm", "kernel"), [("dct", (2, 2)), ("dct", (1, 3)), ("dct", (4, 4)), ("gabor", (4, 4))]
)
def test_small_kernels_give_finite_filters(arm: str, kernel: tuple[int, int]) -> None:
    model = make_conv(2, 16, kernel)
    init_(model, make_images(8, 2, 9, 9), arm, patches_per_image=9)
    assert bool(torch.isfinite(model.weight).all())
    assert float(model.weight.detach()[:8].flatten(1).norm(dim=1).min()) > 0
