"""zero, constant and broken filters -> figures that are finite or None, tables and error texts."""

import json
import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from diagnosis_cases import (
    IMAGES,
    broken_conv,
    degenerate,
    make_conv,
    outputs_of,
    with_bank,
)
from warminit.errors import WarminitError
from warminit.look.diagnose import diagnose
from warminit.look.diagnosis import Diagnosis


def test_zero_and_constant_filters_are_reported_and_left_out() -> None:
    images = IMAGES.clone()
    images[:, 1] = 0.7  # a channel that never varies
    images[:, 2] = 0.0  # a channel without a signal
    rows = torch.zeros(5, 3, 3, 3)
    rows[0, 0] = 1.0
    rows[1, 1] = 1.0  # answers 6.3 to every patch
    rows[2, 2] = 1.0  # answers 0 to every patch
    rows[4, 0, 1, 1] = -1.0
    conv = with_bank(rows.flatten(1), 3, 3)
    found = diagnose(conv, images)
    assert found.dead_filters == (2, 3)
    assert found.constant_filters == (1,)
    assert [found.response_variances[i] for i in (1, 2, 3)] == [0.0, 0.0, 0.0]
    assert found.relu_dead_channels == (2, 3)
    outputs = outputs_of(conv, images)[:, [0, 4]]
    assert found.white_distance == pytest.approx(abs(np.corrcoef(outputs.T)[0, 1]), rel=1e-9)
    spread = scipy.stats.variation(np.var(outputs, axis=0))
    assert found.response_spread == pytest.approx(spread, rel=1e-9)


def test_rounding_is_no_response() -> None:
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in float64: on flat patches the filter in truth answers 0.
    conv = with_bank([[0, 0, 0], [0, 0, 0]], 3, 1).double()
    rows = torch.tensor([[0.1, 0.2, -0.3], [0.1, 0.2, 0.3]], dtype=torch.float64)
    conv.weight.data[:] = rows.view(2, 3, 1, 1)
    flat = torch.linspace(0, 1, 50, dtype=torch.float64).view(5, 1, 10, 1).expand(5, 3, 10, 1)
    assert (0.1 + 0.2) - 0.3 != 0
    found = diagnose(conv, flat)
    assert found.dead_filters == (0,)
    assert found.response_variances[0] == 0
    assert found.response_variances[1] > 0
    assert found.response_spread is None


def test_duplicates_that_float32_has_rounded_still_count_as_rank_deficient() -> None:
    conv = make_conv(filters=4)
    conv.weight.data[3] = conv.weight.data[0] / 3  # not exactly parallel: about 1e-8 apart
    found = diagnose(conv, IMAGES)
    assert (found.rank, found.condition_number) == (3, None)
    assert found.duplicate_pairs == ((0, 3),)


@pytest.mark.parametrize("name", degenerate())
def test_every_figure_is_finite_or_none(name: str) -> None:
    conv, images = degenerate()[name]
    found = diagnose(conv, images)
    values = found.to_dict()
    # JSON without NaN and infinity, and nothing lost on the way.
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(Diagnosis.__slots__)
    for share in ("energy_captured", "relu_dead_share", "nonpositive_share", "white_distance"):
        assert values[share] is None or 0 <= values[share] <= 1
    assert found.effective_rank is None or 1 - 1e-9 <= found.effective_rank <= found.out_channels
    assert "nan" not in str(found)
    assert found.compare(found)


def test_what_cannot_be_computed_is_none_and_a_note_says_why() -> None:
    cases = degenerate()
    found = diagnose(*cases["all filters zero"])
    assert (found.rank, found.effective_rank, found.condition_number) == (0, None, None)
    assert (found.response_spread, found.white_distance) == (None, None)
    assert found.energy_captured == 0
    assert found.dead_filters == found.relu_dead_channels == (0, 1, 2)
    assert found.duplicate_pairs == ()
    assert "rank 0 of 3" in str(found)
    assert "no response spread and no distance from white" in str(found)
    alive = diagnose(*cases["all filters zero, biased"])
    assert (alive.dead_filters, alive.relu_dead_channels) == ((0, 1, 2), ())
    flat = diagnose(*cases["flat patches"])
    assert flat.energy_captured is None
    assert "every patch is flat" in str(flat)
    assert diagnose(*cases["one patch"]).constant_filters == tuple(range(8))


def test_the_table_shows_the_figures() -> None:
    conv = make_conv()
    assert conv.bias is not None
    conv.bias.data[2] = -50.0
    found = diagnose(nn.Sequential(conv), IMAGES)
    lines = {line[:21].strip(): line[21:] for line in str(found).splitlines()[1:]}
    assert lines["layer"].split()[0] == "0"
    assert lines["patches"].split("  ")[0] == "378"
    assert lines["effective rank"].split()[0] == f"{found.effective_rank:.4g}"
    assert lines["condition number"].split()[0] == f"{found.condition_number:.4g}"
    assert lines["response variance"].split()[0] == f"{np.mean(found.response_variances):.4g}"
    assert lines["energy captured"].split()[0] == f"{found.energy_captured:.4g}"
    assert lines["ReLU-dead channels"].startswith("1 of 8 ")
    assert lines["distance from white"].split()[0] == f"{found.white_distance:.4g}"
    with pytest.raises(FrozenInstanceError):
        found.rank = 3  # type: ignore[misc]


def test_two_models_side_by_side() -> None:
    first = diagnose(make_conv(), IMAGES)
    second = diagnose(with_bank(torch.zeros(8, 27), 3, 3), IMAGES)
    text = first.compare(second, names=("default", "zeros"))
    head, *lines = text.splitlines()
    assert head.split() == ["default", "zeros"]
    row = next(line for line in lines if line.startswith("effective rank"))
    assert row.split()[2:] == [f"{first.effective_rank:.4g}", "-"]
    row = next(line for line in lines if line.startswith("dead filters"))
    assert row.split()[2:] == ["0", "of", "8", "8", "of", "8"]
    assert "note on zeros: no condition number: the bank has rank 0 of 8" in lines
    assert "note on default" not in text
    assert "not measured on the same patches" not in text
    third = diagnose(make_conv(), IMAGES[:3])
    assert "not measured on the same patches" in first.compare(third)


@pytest.mark.parametrize(
    ("model", "images", "arguments", "fragments"),
    [
        (broken_conv(math.nan), IMAGES, {}, ("weight has 2 values out of 216", "initialize")),
        (broken_conv(math.inf, "bias"), IMAGES, {}, ("bias has 2 values out of 8", "finite")),
        (
            make_conv(),
            IMAGES.double() * 1e70,
            {},
            ("sampled images has", "1e+60", "normalization"),
        ),
        (make_conv(), IMAGES[:, :1], {}, ("1 channels", "3 channels", "Pass the batch")),
        (make_conv(kernel=5, dilation=2), IMAGES[:, :, :8], {}, ("8 x 9", "9 x 9", "Pass")),
        (make_conv(), IMAGES * math.nan, {}, ("NaN", "finite", "Check")),
        (make_conv(), IMAGES, {"seed": -1}, ("seed=-1", "2**32")),
        (make_conv(), IMAGES, {"mean": 0.5}, ("mean was given", "std")),
        (make_conv(), IMAGES, {"layers": "stem"}, ("layers='stem'", "missing")),
        (nn.Linear(2, 2), IMAGES, {}, ("Linear", "no convolution")),
        (make_conv(), IMAGES[0], {}, ("3 dimensions", "(N, C, H, W)")),
        (make_conv(), 255 * (IMAGES > 0).byte(), {"mean": 0.0, "std": 1e-39}, ("NaN, infinite",)),
    ],
)
def test_the_error_says_what_is_wrong(
    model: nn.Module, images: Tensor, arguments: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    with pytest.raises(WarminitError) as caught:
        diagnose(model, images, **arguments)
    absent = [fragment for fragment in fragments if fragment not in str(caught.value)]
    assert not absent, f"{absent} not in: {caught.value}"
