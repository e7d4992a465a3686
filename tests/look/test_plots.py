"""filters -> pictures. Pixels by hand, and by NumPy from the weights; what cannot be drawn."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import warminit
from warminit.errors import WarminitError
from warminit.initializers.prewarm.method import prewarm_
from warminit.look.plot import BORDER, MARK, plot_filters
from warminit.report import InitReport

REPORT = InitReport("prewarm", "conv", "by hand", 4, 8, {}, 0, 0.0)


def pixels(*arguments: object, **options: object) -> np.ndarray:
    return np.asarray(plot_filters(*arguments, **options))  # type: ignore[arg-type]


def tile(picture: np.ndarray, row: int, column: int, size: tuple[int, int]) -> np.ndarray:
    """Cut one filter out of a mosaic, its border left out."""
    top = row * (size[0] + 2 * BORDER) + BORDER
    left = column * (size[1] + 2 * BORDER) + BORDER
    return picture[top : top + size[0], left : left + size[1]]


def test_a_gray_filter_fills_its_range_value_by_value() -> None:
    # -1 .. 3 in steps: (value + 1) / 4 * 255, by hand.
    weight = torch.tensor([[-1.0, 0.0], [1.0, 3.0]]).view(1, 1, 2, 2)
    drawn = tile(pixels(weight), 0, 0, (36, 36))
    assert drawn[0, 0].tolist() == [0, 0, 0]
    assert drawn[0, 35].tolist() == [64, 64, 64]
    assert drawn[35, 0].tolist() == [128, 128, 128]
    assert drawn[35, 35].tolist() == [255, 255, 255]
    assert (drawn[:18, :18] == 0).all(), "a value is one square"


def test_colour_filters_keep_their_colours_and_their_own_ranges() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(6, 3, 3, 3, generator=generator) * torch.arange(1, 7).view(6, 1, 1, 1)
    picture = pixels(weight, columns=3)
    for number in range(6):
        values = weight[number].numpy().transpose(1, 2, 0).astype(float)
        shades = np.rint((values - values.min()) / np.ptp(values) * 255)
        drawn = tile(picture, number // 3, number % 3, (36, 36))[6::12, 6::12]
        np.testing.assert_array_equal(drawn, shades)


def test_a_constant_filter_is_gray() -> None:
    drawn = tile(pixels(torch.full((1, 1, 3, 3), -7.0)), 0, 0, (36, 36))
    assert (drawn == 128).all()


@pytest.mark.parametrize(
    ("conditioned", "marked"),
    [(None, []), (2, [0, 1]), ([0, 5], [0, 5]), (REPORT, [0, 1, 2, 3])],
)
def test_conditioned_filters_have_a_border(conditioned: object, marked: list[int]) -> None:
    picture = pixels(torch.rand(8, 1, 3, 3), conditioned=conditioned, columns=4)
    side = 36 + 2 * BORDER
    corners = [picture[n // 4 * side + 1, n % 4 * side + 1] for n in range(8)]
    found = [number for number, corner in enumerate(corners) if tuple(corner) == MARK]
    assert found == marked


def test_each_group_has_its_conditioned_filters() -> None:
    report = replace(REPORT, parameters={"groups": 2}, filters_set=2)
    picture = pixels(torch.rand(8, 1, 3, 3), conditioned=report, columns=8)
    side = 36 + 2 * BORDER
    assert [n for n in range(8) if tuple(picture[1, n * side + 1]) == MARK] == [0, 4]


def test_a_model_a_layer_and_a_weight_give_the_same_picture() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3))
    conv = model.get_submodule("0")
    assert isinstance(conv, nn.Conv2d)
    by_weight = pixels(conv.weight)
    assert np.array_equal(pixels(model), by_weight)
    assert np.array_equal(pixels(conv), by_weight)
    assert np.array_equal(pixels(model, layers="0"), by_weight)
    assert not np.array_equal(pixels(model, layers="2").shape, by_weight.shape)


def test_a_parametrized_layer_is_drawn_as_it_computes() -> None:
    conv: Any = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3))
    with torch.no_grad():
        conv.parametrizations.weight.original0.mul_(-1)  # every filter turns over
    expected = pixels(conv.weight)
    assert np.array_equal(pixels(conv), expected)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((4, 3, 5), (3 * 12, 5 * 12)),  # 1-D: channels below one another
        ((4, 5, 3, 3), (3 * 12, 15 * 12)),  # five channels side by side
        ((4, 1, 2, 3, 3), (3 * 12, 6 * 12)),  # 3-D: two slices side by side
        ((4, 3, 7, 7), (7 * 5, 7 * 5)),
    ],
)
def test_every_kind_of_convolution_has_a_picture(
    shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    picture = plot_filters(torch.rand(shape), columns=2)
    height, width = (side + 2 * BORDER for side in size)
    assert picture.size == (2 * width, 2 * height)
    assert picture.mode == "RGB"


def test_the_report_of_prewarm_marks_what_it_set() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3))
    images = torch.rand(16, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    report = prewarm_(model, images, patches_per_image=4)
    picture = pixels(model, conditioned=report)
    assert (picture == MARK).all(2).any()


def weight(*shape: int) -> Tensor:
    return torch.rand(shape)


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        (weight(4, 4), {}, r"the weight has shape \(4, 4\): expected filters \(F, C, \*K\)"),
        (weight(4, 0, 3, 3), {}, "Pass the weight of a convolution"),
        (weight(1, 1, 2, 2) / 0, {}, "4 values of 4 that are not finite"),
        (weight(4, 1, 3, 3), {"conditioned": 5}, "names filter 4, and there are 4"),
        (weight(4, 1, 3, 3), {"conditioned": [-1]}, "names filter -1, and there are 4"),
        (weight(4, 1, 3, 3), {"conditioned": REPORT}, "a report on 8 filters of conv"),
        (weight(4, 1, 3, 3), {"columns": 0}, "columns=0"),
        (weight(4, 1, 3, 3), {"layers": "conv1"}, "expected None with a weight"),
        (nn.Linear(3, 4), {}, "has no convolution"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    given: object, options: dict[str, object], text: str
) -> None:
    with pytest.raises(WarminitError, match=text):
        pixels(given, **options)


def test_nothing_of_the_model_or_the_random_state_changes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    plot_filters(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_pillow_is_imported_when_called_and_its_absence_explained() -> None:
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "import torch, warminit\n"
        "draw = warminit.plot_filters\n"
        "try: draw(torch.rand(4, 1, 3, 3))\n"
        "except warminit.WarminitError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install pillow" in done.stdout


def test_the_name_is_public() -> None:
    assert "plot_filters" in warminit.__all__
    assert warminit.plot_filters is plot_filters
